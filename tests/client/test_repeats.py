"""What is asked again and when, and what is never sent twice."""

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
from tests.client.asking import GOOD, ORDER, READ, SHORT, asked, client_of
from tests.client.stranger import HANG, OURS, HandClock, answer, problem, stranger
from tests.harness import KEY

NO_READS = [
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
PACKED = gzip.compress(b"[" + b"1," * 99_999 + b"1]")
BROKEN = [
    b"",
    b"HTTP/1.1 2",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Ty",
    b"HTTP/1.1 200 OK\r\nX-Bridge-Mode: paper\r\nX-Bridge-Source: gatew",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"\r\n[1]",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: -3\r\n\r\n[1]",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: three\r\n\r\n[1]",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: 9\r\n\r\n[1,",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    answer("200 OK", b"no gzip", "Content-Encoding: gzip"),
    answer("200 OK", b"no deflate", "Content-Encoding: deflate"),
    answer("200 OK", PACKED[:-9], "Content-Encoding: gzip"),
    answer("200 OK", PACKED[:-1], "Content-Encoding: x-gzip"),
    answer("200 OK", PACKED + PACKED[:12], "Content-Encoding: GZIP"),
    answer("200 OK", zlib.compress(b"[1]" * 99)[:-1], "Content-Encoding: deflate"),
    answer("200 OK", gzip.compress(PACKED)[:-1], "Content-Encoding: gzip, gzip"),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_read_whose_answer_breaks_off_is_asked_again_at_once(broken: bytes) -> None:
    """It can do no harm, and a restart of the bridge is not the caller's business."""
    clock = HandClock()
    with stranger(broken, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]

        assert asked(there) == 2
    assert clock.slept == [0.0]


@pytest.mark.parametrize("broken", BROKEN)
def test_it_is_asked_three_times_and_no_more(broken: bytes) -> None:
    """Then somebody has to be told."""
    with stranger(broken) as there, client_of(there.url) as client:
        with pytest.raises(BridgeConnectionLost) as told:
            client.get(READ)

        assert asked(there) == 3
    assert (told.value.code, told.value.retryable) == ("bridge_connection_lost", True)


@pytest.mark.parametrize(("method", "path"), NO_READS)
def test_whatever_may_have_an_effect_is_sent_once(method: str, path: str) -> None:
    """Neither a broken connection nor a Retry-After sends it again."""
    for said in (b"", problem("busy", "503 Service Unavailable", "Retry-After: 1", retryable=True)):
        clock = HandClock()
        with stranger(said, GOOD) as there, client_of(there.url, clock) as client:
            with pytest.raises(ClientError):
                client.request(method, path, {} if method in ("POST", "PUT") else None)

            assert (asked(there), clock.slept) == (1, [])


@pytest.mark.parametrize("broken", [*BROKEN, HANG])
@pytest.mark.parametrize(("method", "path"), NO_READS[:3])
def test_a_change_whose_answer_is_lost_is_unknown(broken: bytes, method: str, path: str) -> None:
    """It may have happened. That is a class of its own, so that nobody sends it again."""
    timeout = SHORT if broken == HANG else None
    with stranger(broken) as there, BridgeClient(there.url, KEY, timeout=timeout) as client:
        with pytest.raises(OrderUnknown, match="may have happened") as told:
            client.request(method, path)

        assert asked(there) == 1
    assert not isinstance(told.value, NoResponse)
    assert (told.value.code, told.value.retryable, told.value.retry_after) == ("order_unknown", False, None)
    assert told.value.hint.startswith("do not send it again")
    assert f"X-Request-ID: {told.value.request_id}\r\n".encode() in there.asked[0]


def test_a_read_that_cannot_be_harmful_but_is_not_listed_as_safe_is_cut_off_not_unknown() -> None:
    """Only what changes something can be unknown."""
    with stranger(b"") as there, client_of(there.url) as client, pytest.raises(BridgeConnectionLost):
        client.post("/iserver/secdef/search", {"symbol": "AAPL"})


# -- Retry-After


def test_a_read_waits_as_long_as_it_is_told() -> None:
    """And is asked again then."""
    clock = HandClock()
    busy = problem("busy", "503 Service Unavailable", "Retry-After: 3", retryable=True)
    with stranger(busy, busy, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]

        assert asked(there) == 3
    assert clock.slept == [3.0, 3.0]


def test_a_date_is_a_time_to_wait_until() -> None:
    """HTTP allows both; one that has passed means now."""
    past = problem(
        "rate_limited", "429 Too Many Requests", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", retryable=True
    )
    clock = HandClock()
    with stranger(past, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]
    assert clock.slept == [0.0]


@pytest.mark.parametrize(
    ("header", "told_as"),
    [("99999", 99999.0), ("9" * 400, 1e9), ("soon", None), ("-1", None), ("1.5", None), ("²", None), ("", None)],
)
def test_a_time_that_does_not_fit_is_told_not_slept(header: str, told_as: float | None) -> None:
    """The caller's deadline counts, and what cannot be read is no time at all."""
    clock = HandClock()
    paced = problem("rate_limited", "429 Too Many Requests", f"Retry-After: {header}", retryable=True)
    with stranger(paced, GOOD) as there, client_of(there.url, clock) as client:
        with pytest.raises(TemporarilyUnavailable) as told:
            client.get(READ)

        assert (asked(there), clock.slept) == (1, [])
    assert (told.value.retry_after, told.value.retryable) == (told_as, True)


def test_the_deadline_counts_all_attempts_and_pauses() -> None:
    """A pause that would end after it is not begun."""
    clock = HandClock()
    busy = problem("busy", "503 Service Unavailable", "Retry-After: 6", retryable=True)
    with stranger(busy) as there, client_of(there.url, clock, timeout=10) as client:
        with pytest.raises(TemporarilyUnavailable):
            client.get(READ)

        assert (asked(there), clock.slept) == (2, [6.0])


def test_a_refusal_that_no_waiting_mends_is_told_at_once() -> None:
    """Even with a Retry-After."""
    clock = HandClock()
    bad = problem("bad_path", "400 Bad Request", "Retry-After: 1")
    with stranger(bad, GOOD) as there, client_of(there.url, clock) as client:
        with pytest.raises(InvalidRequest):
            client.get(READ)

        assert asked(there) == 1


def test_what_ibkr_asks_to_wait_for_is_waited_for_too() -> None:
    """A 503 with a Retry-After, whoever says it."""
    clock = HandClock()
    down = answer("503 Service Unavailable", b'{"error":"DU1234567 is busy"}', "Retry-After: 2", source="gateway")
    with stranger(down, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]
    with stranger(down) as there, client_of(there.url, repeats=0) as client, pytest.raises(IbkrError) as told:
        client.get(READ)

    assert clock.slept == [2.0]
    assert told.value.body == b'{"error":"DU1234567 is busy"}'
    assert "DU*****67 is busy" in str(told.value)


def test_whoever_wants_no_repeats_gets_none() -> None:
    """A person at a terminal, a web page."""
    with stranger(b"", GOOD) as there, client_of(there.url, repeats=0) as client:
        with pytest.raises(BridgeConnectionLost):
            client.get(READ)

        assert asked(there) == 1
