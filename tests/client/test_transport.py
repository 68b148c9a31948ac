"""Whatever stands at the bridge's address: a caller is told what it is."""

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
from tests.cli.typed import free_port
from tests.client.asking import GOOD, ORDER, READ, asked, client_of
from tests.client.stranger import OURS, STRANGE, answer, problem, stranger

# -- a good answer


MANY = b"[" + b"1," * 99_999 + b"1]"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (answer("200 OK", b'{"a": 1}'), {"a": 1}),
        (answer("200 OK", b"[]"), []),
        (answer("200 OK", b'"text"'), "text"),
        (answer("200 OK", b"null"), None),
        (answer("204 No Content", b""), None),
        (answer("200 OK", b""), None),
        (answer("200 OK", gzip.compress(MANY), "Content-Encoding: gzip"), [1] * 100_000),
        (answer("200 OK", gzip.compress(b"[1,") + gzip.compress(b"1]"), "Content-Encoding: x-gzip"), [1, 1]),
        (answer("200 OK", zlib.compress(MANY), "Content-Encoding: Deflate"), [1] * 100_000),
        (answer("200 OK", zlib.compress(MANY)[2:-4], "Content-Encoding: deflate"), [1] * 100_000),
        (answer("200 OK", gzip.compress(zlib.compress(b"[1]")), "Content-Encoding: deflate, gzip"), [1]),
        (answer("200 OK", b"", "Content-Encoding: gzip"), None),
        (answer("200 OK", b"[1]", "Content-Encoding: identity"), [1]),
        (answer("200 OK", b"[1]", "Content-Encoding: rot13"), [1]),
        (b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n", [1]),
    ],
)
def test_a_good_answer_is_read_however_it_is_written(said: bytes, read: object) -> None:
    """Nothing, no object, packed, in pieces."""
    with stranger(said) as there, client_of(there.url) as client:
        assert client.get(READ) == read


def test_a_good_answer_that_is_no_json_is_an_error_of_its_own() -> None:
    """With the answer in it, for whoever can read it."""
    page = answer("200 OK", b"<html>", "Content-Type: text/html", source="gateway")
    with stranger(page) as there, client_of(there.url) as client:
        assert client.request("GET", READ).body == b"<html>"

        with pytest.raises(NotJson, match=r"no JSON \(text/html\)") as told:
            client.get(READ)

    assert (told.value.code, told.value.status, told.value.body) == ("not_json", 200, b"<html>")


def test_a_json_bomb_is_no_json() -> None:
    """A parser that gives up is no reason to fall."""
    with stranger(answer("200 OK", b"[" * 200_000)) as there, client_of(there.url) as client, pytest.raises(NotJson):
        client.get(READ)


# -- no answer of this bridge


def test_nobody_there_is_said_and_not_asked_again() -> None:
    """Nothing was sent, so an order may be sent again later."""
    with client_of(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(BridgeUnreachable) as told:
        client.post(ORDER, {})

    assert (told.value.code, told.value.status, told.value.retryable) == ("bridge_unreachable", None, True)
    assert "start the bridge" in told.value.hint
    assert told.value.request_id


@pytest.mark.parametrize("said", STRANGE)
def test_another_program_on_the_port_is_said(said: bytes) -> None:
    """Port 8000 is popular. It is asked once: what it says is not about us."""
    with stranger(said) as there, client_of(there.url) as client:
        with pytest.raises(NotThisBridge, match="is not this bridge") as told:
            client.get(READ)

        assert asked(there) == 1
    assert (told.value.code, told.value.retryable, told.value.status) == ("not_this_bridge", False, None)


@pytest.mark.parametrize("said", STRANGE)
def test_a_change_that_another_program_took_may_have_happened(said: bytes) -> None:
    """It may stand between us and the bridge; who it is is said all the same."""
    with stranger(said) as there, client_of(there.url) as client:
        with pytest.raises(OrderUnknown, match="is not this bridge; what was asked for may have happened"):
            client.post(ORDER, {})

        assert asked(there) == 1


WHOLE = {
    "a length": GOOD,
    "pieces": b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n",
    "packed": answer("200 OK", gzip.compress(b"[1]" * 9), "Content-Encoding: gzip"),
    "a refusal": problem("trading_paused", "403 Forbidden"),
}


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
def test_no_beginning_of_an_answer_passes_for_the_answer(whole: bytes) -> None:
    """Wherever it is cut off: a read is cut off, an order unknown."""
    beginnings = [whole[:end] for end in range(len(whole)) for _ in range(2)]
    with stranger(*beginnings) as there, client_of(there.url, repeats=0) as client:
        for beginning in beginnings[::2]:
            with pytest.raises(BridgeConnectionLost):
                client.get(READ)
            with pytest.raises(OrderUnknown):
                client.post(ORDER, {})
            assert there.sent[-2:] == [beginning, beginning]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
@pytest.mark.parametrize("ours", [OURS, b"Connection: close\r\n"])
@pytest.mark.parametrize("place", ["{}/elsewhere", "http://[", "//\x80"])
def test_no_redirect_is_followed(status: str, ours: bytes, place: str) -> None:
    """The key goes to one address alone."""
    with stranger(GOOD) as elsewhere:
        to = place.format(elsewhere.url).encode("latin-1")
        moved = b"HTTP/1.1 %s\r\n%sLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status.encode(), ours, to)
        with stranger(moved) as there, client_of(there.url) as client:
            with pytest.raises(ClientError):
                client.get(READ)

            assert asked(there) == 1
        assert asked(elsewhere) == 0
