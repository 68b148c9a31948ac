"""Responses of the bridge and of other programs at its address."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ibkr_bridge.client import (
    BridgeConnectionLost,
    BridgeUnreachable,
    ClientError,
    NotJson,
    NotThisBridge,
    OrderUnknown,
)
from tests.cli.command_runner import free_port
from tests.client.fast_client import GOOD, ORDER, READ, client_of, request_count
from tests.client.scripted_server import BRIDGE_HEADERS, OTHER_PROGRAMS, problem, response, scripted_server

# -- good responses

MANY = b"[" + b"1," * 99_999 + b"1]"


@pytest.mark.parametrize(
    ("script", "parsed"),
    [
        (response("200 OK", b'{"a": 1}'), {"a": 1}),
        (response("200 OK", b"[]"), []),
        (response("200 OK", b'"text"'), "text"),
        (response("200 OK", b"null"), None),
        (response("204 No Content", b""), None),
        (response("200 OK", b""), None),
        (response("200 OK", gzip.compress(MANY), "Content-Encoding: gzip"), [1] * 100_000),
        (response("200 OK", gzip.compress(b"[1,") + gzip.compress(b"1]"), "Content-Encoding: x-gzip"), [1, 1]),
        (response("200 OK", zlib.compress(MANY), "Content-Encoding: Deflate"), [1] * 100_000),
        (response("200 OK", zlib.compress(MANY)[2:-4], "Content-Encoding: deflate"), [1] * 100_000),
        (response("200 OK", gzip.compress(zlib.compress(b"[1]")), "Content-Encoding: deflate, gzip"), [1]),
        (response("200 OK", b"", "Content-Encoding: gzip"), None),
        (response("200 OK", b"[1]", "Content-Encoding: identity"), [1]),
        (response("200 OK", b"[1]", "Content-Encoding: rot13"), [1]),
        (
            b"HTTP/1.1 200 OK\r\n"
            + BRIDGE_HEADERS
            + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n",
            [1],
        ),
    ],
)
def test_a_good_response_is_parsed_in_every_encoding(script: bytes, parsed: object) -> None:
    """Empty, not an object, compressed, chunked."""
    with scripted_server(script) as server, client_of(server.url) as client:
        assert client.get(READ) == parsed


def test_a_good_response_that_is_not_json_has_its_own_error() -> None:
    """The error has the body, for a program that can read it."""
    page = response("200 OK", b"<html>", "Content-Type: text/html", source="gateway")
    with scripted_server(page) as server, client_of(server.url) as client:
        assert client.request("GET", READ).body == b"<html>"

        with pytest.raises(NotJson, match=r"not JSON \(text/html\)") as caught:
            client.get(READ)

    assert (caught.value.code, caught.value.status, caught.value.body) == ("not_json", 200, b"<html>")


def test_json_nested_too_deeply_is_not_json() -> None:
    """The parser's RecursionError is handled."""
    with (
        scripted_server(response("200 OK", b"[" * 200_000)) as server,
        client_of(server.url) as client,
        pytest.raises(NotJson),
    ):
        client.get(READ)


# -- no response of this bridge


def test_a_missing_bridge_is_reported() -> None:
    """Nothing was sent, so an order may be sent again later."""
    with client_of(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(BridgeUnreachable) as caught:
        client.post(ORDER, {})

    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("bridge_unreachable", None, True)
    assert "start the bridge" in caught.value.hint
    assert caught.value.request_id


@pytest.mark.parametrize("script", OTHER_PROGRAMS)
def test_another_program_on_the_port_is_reported(script: bytes) -> None:
    """Many programs use port 8000. The call is not repeated there."""
    with scripted_server(script) as server, client_of(server.url) as client:
        with pytest.raises(NotThisBridge, match="is not this bridge") as caught:
            client.get(READ)

        assert request_count(server) == 1
    assert (caught.value.code, caught.value.retryable, caught.value.status) == ("not_this_bridge", False, None)


@pytest.mark.parametrize("script", OTHER_PROGRAMS)
def test_a_change_that_another_program_took_may_have_happened(script: bytes) -> None:
    """The program may be a proxy in front of the bridge. The message still says that it is not the bridge."""
    with scripted_server(script) as server, client_of(server.url) as client:
        with pytest.raises(OrderUnknown, match="is not this bridge; what was requested may have happened"):
            client.post(ORDER, {})

        assert request_count(server) == 1


COMPLETE = {
    "a length": GOOD,
    "chunks": b"HTTP/1.1 200 OK\r\n"
    + BRIDGE_HEADERS
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n",
    "compressed": response("200 OK", gzip.compress(b"[1]" * 9), "Content-Encoding: gzip"),
    "a refusal": problem("trading_paused", "403 Forbidden"),
}


@pytest.mark.parametrize("complete", COMPLETE.values(), ids=COMPLETE)
def test_a_truncated_response_never_counts_as_complete(complete: bytes) -> None:
    """At whatever byte it ends. A read has lost its connection, an order is unknown."""
    beginnings = [complete[:end] for end in range(len(complete)) for _ in range(2)]
    with scripted_server(*beginnings) as server, client_of(server.url, repeats=0) as client:
        for beginning in beginnings[::2]:
            with pytest.raises(BridgeConnectionLost):
                client.get(READ)
            with pytest.raises(OrderUnknown):
                client.post(ORDER, {})
            assert server.sent[-2:] == [beginning, beginning]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
@pytest.mark.parametrize("headers", [BRIDGE_HEADERS, b"Connection: close\r\n"])
@pytest.mark.parametrize("location_format", ["{}/elsewhere", "http://[", "//\x80"])
def test_no_redirect_is_followed(status: str, headers: bytes, location_format: str) -> None:
    """The key is sent to one address only."""
    with scripted_server(GOOD) as elsewhere:
        location = location_format.format(elsewhere.url).encode("latin-1")
        redirect = b"HTTP/1.1 %s\r\n%sLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status.encode(), headers, location)
        with scripted_server(redirect) as server, client_of(server.url) as client:
            with pytest.raises(ClientError):
                client.get(READ)

            assert request_count(server) == 1
        assert request_count(elsewhere) == 0
