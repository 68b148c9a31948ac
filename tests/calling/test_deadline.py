"""A call ends in the time its caller gave it, whatever comes in between."""

from __future__ import annotations

import time
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from ibkr_bridge.client import BridgeClient, BridgeSilent
from tests.calling.asking import GOOD, READ, SHORT, asked, client_of
from tests.calling.stranger import HANG, OURS, HandClock, stranger
from tests.house import KEY


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
        with pytest.raises(BridgeSilent, match="does not answer in time") as told:
            client.get(READ)

        assert asked(there) == 1
    assert (told.value.code, told.value.status, told.value.retryable) == ("bridge_silent", None, True)


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: 9\r\n\r\n[1,"]
)
def test_an_answer_that_stops_in_the_middle_ends_too(begun: bytes) -> None:
    """In its head, in its body."""
    with (
        stranger(begun + HANG) as there,
        BridgeClient(there.url, KEY, timeout=SHORT) as client,
        pytest.raises(BridgeSilent),
    ):
        client.get(READ)


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
        pytest.raises(BridgeSilent),
    ):
        client.get(READ)


def test_time_is_the_machines_where_nobody_says_otherwise() -> None:
    """The defaults sleep and count for real."""
    with BridgeClient("http://127.0.0.1:1", KEY) as client:
        assert (client._clock, client._sleep) == (time.monotonic, time.sleep)
