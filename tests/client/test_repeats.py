"""Which calls are repeated and when, and which are never sent twice."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ibkr_bridge.client import (
    BridgeClient,
    BridgeConnectionLost,
    ClientError,
    IbkrError,
    InvalidRequest,
    NoResponse,
    OrderUnknown,
    TemporarilyUnavailable,
)
from tests.client.fast_client import GOOD, ORDER, READ, SHORT_S, client_of, request_count
from tests.client.scripted_server import BRIDGE_HEADERS, HANG, SleepClock, problem, response, scripted_server
from tests.harness import KEY

UNSAFE_CALLS = [
    ("POST", ORDER),
    ("DELETE", "/iserver/account/DU1234567/order/1"),
    ("PUT", "/iserver/account/allocation/group"),
    ("POST", "/iserver/secdef/search"),
    ("POST", "/gateway/reconnect"),
    ("GET", "/iserver/reauthenticate"),
    ("GET", "/iserver/marketdata/unsubscribeall"),
    ("GET", "/v1/api/iserver/marketdata/unsubscribeall/"),
    ("GET", "/marketdata/265598/unsubscribe"),
    ("GET", "/md/regsnapshot?conid=265598"),
    ("GET", "/logout"),
    ("GET", "/iserver/something/nobody/knows"),
]
COMPRESSED = gzip.compress(b"[" + b"1," * 99_999 + b"1]")
TRUNCATED = [
    b"",
    b"HTTP/1.1 2",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Ty",
    b"HTTP/1.1 200 OK\r\nX-Bridge-Mode: paper\r\nX-Bridge-Source: gatew",
    b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"\r\n[1]",
    b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Content-Length: -3\r\n\r\n[1]",
    b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Content-Length: three\r\n\r\n[1]",
    b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Content-Length: 9\r\n\r\n[1,",
    b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2",
    b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    response("200 OK", b"no gzip", "Content-Encoding: gzip"),
    response("200 OK", b"no deflate", "Content-Encoding: deflate"),
    response("200 OK", COMPRESSED[:-9], "Content-Encoding: gzip"),
    response("200 OK", COMPRESSED[:-1], "Content-Encoding: x-gzip"),
    response("200 OK", COMPRESSED + COMPRESSED[:12], "Content-Encoding: GZIP"),
    response("200 OK", zlib.compress(b"[1]" * 99)[:-1], "Content-Encoding: deflate"),
    response("200 OK", gzip.compress(COMPRESSED)[:-1], "Content-Encoding: gzip, gzip"),
]


@pytest.mark.parametrize("truncated", TRUNCATED)
def test_a_read_with_a_truncated_response_is_repeated_at_once(truncated: bytes) -> None:
    """It does no harm, and the caller need not notice a restart of the bridge."""
    clock = SleepClock()
    with scripted_server(truncated, GOOD) as server, client_of(server.url, clock) as client:
        assert client.get(READ) == [1]

        assert request_count(server) == 2
    assert clock.slept == [0.0]


@pytest.mark.parametrize("truncated", TRUNCATED)
def test_a_read_is_sent_three_times_at_most(truncated: bytes) -> None:
    """Then the error is raised."""
    with scripted_server(truncated) as server, client_of(server.url) as client:
        with pytest.raises(BridgeConnectionLost) as caught:
            client.get(READ)

        assert request_count(server) == 3
    assert (caught.value.code, caught.value.retryable) == ("bridge_connection_lost", True)


@pytest.mark.parametrize(("method", "path"), UNSAFE_CALLS)
def test_a_call_that_may_have_an_effect_is_sent_once(method: str, path: str) -> None:
    """Neither a broken connection nor a Retry-After sends it again."""
    for script in (b"", problem("busy", "503 Service Unavailable", "Retry-After: 1", retryable=True)):
        clock = SleepClock()
        with scripted_server(script, GOOD) as server, client_of(server.url, clock) as client:
            with pytest.raises(ClientError):
                client.request(method, path, {} if method in ("POST", "PUT") else None)

            assert (request_count(server), clock.slept) == (1, [])


@pytest.mark.parametrize("truncated", [*TRUNCATED, HANG])
@pytest.mark.parametrize(("method", "path"), UNSAFE_CALLS[:3])
def test_a_change_without_a_response_is_unknown(truncated: bytes, method: str, path: str) -> None:
    """It may have happened. The error has its own class, so that no program sends the change again."""
    timeout = SHORT_S if truncated == HANG else None
    with scripted_server(truncated) as server, BridgeClient(server.url, KEY, timeout=timeout) as client:
        with pytest.raises(OrderUnknown, match="may have happened") as caught:
            client.request(method, path)

        assert request_count(server) == 1
    assert not isinstance(caught.value, NoResponse)
    assert (caught.value.code, caught.value.retryable, caught.value.retry_after) == ("order_unknown", False, None)
    assert caught.value.hint.startswith("do not send it again")
    assert f"X-Request-ID: {caught.value.request_id}\r\n".encode() in server.requests[0]


def test_a_harmless_post_without_a_response_is_not_unknown() -> None:
    """It is not repeated, since the catalogue does not list it as a safe read; only a change can be unknown."""
    with scripted_server(b"") as server, client_of(server.url) as client, pytest.raises(BridgeConnectionLost):
        client.post("/iserver/secdef/search", {"symbol": "AAPL"})


# -- Retry-After


def test_a_read_waits_as_long_as_retry_after_says() -> None:
    """It is repeated after that."""
    clock = SleepClock()
    busy = problem("busy", "503 Service Unavailable", "Retry-After: 3", retryable=True)
    with scripted_server(busy, busy, GOOD) as server, client_of(server.url, clock) as client:
        assert client.get(READ) == [1]

        assert request_count(server) == 3
    assert clock.slept == [3.0, 3.0]


def test_retry_after_may_be_a_date() -> None:
    """A date in the past means at once."""
    past = problem(
        "rate_limited", "429 Too Many Requests", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", retryable=True
    )
    clock = SleepClock()
    with scripted_server(past, GOOD) as server, client_of(server.url, clock) as client:
        assert client.get(READ) == [1]
    assert clock.slept == [0.0]


@pytest.mark.parametrize(
    ("header", "retry_after"),
    [("99999", 99999.0), ("9" * 400, 1e9), ("soon", None), ("-1", None), ("1.5", None), ("²", None), ("", None)],
)
def test_a_retry_after_beyond_the_deadline_is_reported_without_waiting(header: str, retry_after: float | None) -> None:
    """A value that cannot be parsed counts as absent."""
    clock = SleepClock()
    refusal = problem("rate_limited", "429 Too Many Requests", f"Retry-After: {header}", retryable=True)
    with scripted_server(refusal, GOOD) as server, client_of(server.url, clock) as client:
        with pytest.raises(TemporarilyUnavailable) as caught:
            client.get(READ)

        assert (request_count(server), clock.slept) == (1, [])
    assert (caught.value.retry_after, caught.value.retryable) == (retry_after, True)


def test_the_deadline_counts_all_attempts_and_pauses() -> None:
    """The client does not start a pause that would end after the deadline."""
    clock = SleepClock()
    busy = problem("busy", "503 Service Unavailable", "Retry-After: 6", retryable=True)
    with scripted_server(busy) as server, client_of(server.url, clock, timeout=10) as client:
        with pytest.raises(TemporarilyUnavailable):
            client.get(READ)

        assert (request_count(server), clock.slept) == (2, [6.0])


def test_a_refusal_that_is_not_retryable_is_raised_at_once() -> None:
    """Even with a Retry-After."""
    clock = SleepClock()
    bad = problem("bad_path", "400 Bad Request", "Retry-After: 1")
    with scripted_server(bad, GOOD) as server, client_of(server.url, clock) as client:
        with pytest.raises(InvalidRequest):
            client.get(READ)

        assert request_count(server) == 1


def test_a_retry_after_of_ibkr_counts_too() -> None:
    """A 503 with a Retry-After may come from IBKR or from the bridge."""
    clock = SleepClock()
    down = response("503 Service Unavailable", b'{"error":"DU1234567 is busy"}', "Retry-After: 2", source="gateway")
    with scripted_server(down, GOOD) as server, client_of(server.url, clock) as client:
        assert client.get(READ) == [1]
    with (
        scripted_server(down) as server,
        client_of(server.url, repeats=0) as client,
        pytest.raises(IbkrError) as caught,
    ):
        client.get(READ)

    assert clock.slept == [2.0]
    assert caught.value.body == b'{"error":"DU1234567 is busy"}'
    assert "DU*****67 is busy" in str(caught.value)


def test_repeats_can_be_switched_off() -> None:
    """For a person at a terminal or a web page."""
    with scripted_server(b"", GOOD) as server, client_of(server.url, repeats=0) as client:
        with pytest.raises(BridgeConnectionLost):
            client.get(READ)

        assert request_count(server) == 1
