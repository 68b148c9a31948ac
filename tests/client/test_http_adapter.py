"""A call ends in the time its caller gave it, whatever comes in between."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from ibkr_bridge.client import BridgeClient, BridgeTimeout, ClientError, OrderUnknown
from tests.client.asking import GOOD, ORDER, READ, SHORT, asked, client_of
from tests.client.stranger import HANG, OURS, PATIENCE, HandClock, slowly, stranger
from tests.harness import KEY


def test_a_wait_is_asked_for_and_added_to_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge waits so long before it sends anything; we must not hang up before."""
    told: list[float] = []
    really = HTTPAdapter.send

    def send(*args: Any, **how: Any) -> Any:
        told.append(how["timeout"][1])
        return really(*args, **how)

    monkeypatch.setattr(HTTPAdapter, "send", send)
    monkeypatch.setenv("IBKR_BRIDGE_MAX_WAIT", "7")
    monkeypatch.setenv("IBKR_GATEWAY_TIMEOUT", "20")
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.get(READ)
        client.get(READ, wait=20)
        client.get(READ, wait=900)

        heads = [b"X-Bridge-Wait: 20.000\r\n" in head for head in there.asked]
        capped = b"X-Bridge-Wait: 60.000\r\n" in there.asked[2]
    assert told == [117.0, 137.0, 177.0]  # 7 for the turn, 5 to connect, 20 for the head, 80 for the body, and 5
    assert (heads, capped) == ([False, True, False], True)


def test_a_read_that_gets_no_answer_ends_with_its_deadline() -> None:
    """In the caller's time, not in the system's."""
    with stranger(HANG) as there, BridgeClient(there.url, KEY, timeout=SHORT) as client:
        with pytest.raises(BridgeTimeout, match="does not answer in time") as told:
            client.get(READ)

        assert asked(there) == 1
    assert (told.value.code, told.value.status, told.value.retryable) == ("bridge_timeout", None, True)


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: 9\r\n\r\n[1,"]
)
def test_an_answer_that_stops_in_the_middle_ends_too(begun: bytes) -> None:
    """In its head, in its body."""
    with (
        stranger(begun + HANG) as there,
        BridgeClient(there.url, KEY, timeout=SHORT) as client,
        pytest.raises(BridgeTimeout),
    ):
        client.get(READ)


BEGUN = b"HTTP/1.1 200 OK\r\n" + OURS
SLOW = {
    "head": (b"HTTP/1.1 200 OK\r\n", *[b"X-More: a\r\n"] * 12),
    "a head of nothing but hopes": (b"HTTP/1.1 100 Continue\r\n\r\n",) * 12,
    "line": (b"HTTP/1.1 200 OK\r\nX-Long: ", *[b"a"] * 12),
    "body": (BEGUN + b"Content-Length: 20\r\n\r\n", *[b"x"] * 12),
    "body in pieces": (BEGUN + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 12),
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize(("method", "path", "kind"), [("GET", READ, BridgeTimeout), ("POST", ORDER, OrderUnknown)])
def test_pieces_that_each_come_in_time_do_not_stretch_it(
    pieces: tuple[bytes, ...], method: str, path: str, kind: type[ClientError]
) -> None:
    """One a second, ten seconds in all."""
    clock = HandClock()
    with (
        stranger(slowly(clock, 1.0, *pieces)) as there,
        client_of(there.url, clock, timeout=10) as client,
        pytest.raises(kind, match="does not answer in time"),
    ):
        client.request(method, path)


@pytest.mark.parametrize("chunk", [SLOW["head"][0], SLOW["body"][0], SLOW["body in pieces"][0]])
def test_silence_after_a_piece_is_borne_for_what_is_left_of_it(chunk: bytes) -> None:
    """Not for all of it again."""
    clock = HandClock()
    began = time.monotonic()
    with (
        stranger(slowly(clock, 100 - SHORT, chunk + HANG)) as there,
        client_of(there.url, clock, timeout=100) as client,
        pytest.raises(BridgeTimeout),
    ):
        client.get(READ)

    assert time.monotonic() - began < PATIENCE


def test_a_body_that_nobody_takes_ends_too() -> None:
    """The connection stands, and the other side does not read."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with BridgeClient(url, KEY, timeout=SHORT) as client, pytest.raises(OrderUnknown, match="does not answer"):
            client.post(ORDER, b"x" * 30_000_000)


def test_a_body_that_flows_for_ever_ends_with_the_deadline() -> None:
    """Each piece came in time; all of it would not."""
    clock = HandClock()

    def ticking() -> float:
        clock.now += 30.0
        return clock.now

    endless = b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: 4000000\r\n\r\n" + b"x" * 3_000_000
    with (
        stranger(endless) as there,
        BridgeClient(there.url, KEY, clock=ticking, sleep=clock.sleep) as client,
        pytest.raises(BridgeTimeout),
    ):
        client.get(READ)


def test_time_is_the_machines_where_nobody_says_otherwise() -> None:
    """The defaults sleep and count for real."""
    with BridgeClient("http://127.0.0.1:1", KEY) as client:
        assert (client._clock, client._sleep) == (time.monotonic, time.sleep)
