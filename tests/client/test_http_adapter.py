"""A call ends by its deadline, however its response arrives."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from ibkr_bridge.client import BridgeClient, BridgeTimeout, ClientError, OrderUnknown
from tests.client.fast_client import GOOD, ORDER, READ, SHORT_S, client_of, request_count
from tests.client.scripted_server import BRIDGE_HEADERS, HANG, TIMEOUT_S, SleepClock, scripted_server, send_slowly
from tests.harness import KEY


def test_a_wait_is_sent_and_added_to_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge may wait so long before it sends the call; the client must wait longer."""
    timeouts: list[float] = []
    original_send = HTTPAdapter.send

    def send(*args: Any, **options: Any) -> Any:
        timeouts.append(options["timeout"][1])
        return original_send(*args, **options)

    monkeypatch.setattr(HTTPAdapter, "send", send)
    monkeypatch.setenv("IBKR_BRIDGE_MAX_WAIT", "7")
    monkeypatch.setenv("IBKR_GATEWAY_TIMEOUT", "20")
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        client.get(READ)
        client.get(READ, wait=20)
        client.get(READ, wait=900)

        heads = [b"X-Bridge-Wait: 20.000\r\n" in head for head in server.requests]
        capped = b"X-Bridge-Wait: 60.000\r\n" in server.requests[2]
    assert timeouts == [
        117.0,
        137.0,
        177.0,
    ]  # 7 for the slot, 5 to connect, 20 for the head, 80 for the body, and a margin of 5
    assert (heads, capped) == ([False, True, False], True)


def test_a_read_without_a_response_ends_at_its_deadline() -> None:
    """Not after a timeout of the system."""
    with scripted_server(HANG) as server, BridgeClient(server.url, KEY, timeout=SHORT_S) as client:
        with pytest.raises(BridgeTimeout, match="does not answer in time") as caught:
            client.get(READ)

        assert request_count(server) == 1
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("bridge_timeout", None, True)


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Content-Length: 9\r\n\r\n[1,"]
)
def test_a_response_that_stops_in_the_middle_ends_at_the_deadline(beginning: bytes) -> None:
    """It stops in its head or in its body."""
    with (
        scripted_server(beginning + HANG) as server,
        BridgeClient(server.url, KEY, timeout=SHORT_S) as client,
        pytest.raises(BridgeTimeout),
    ):
        client.get(READ)


HEAD_START = b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS
SLOW_RESPONSES = {
    "head": (b"HTTP/1.1 200 OK\r\n", *[b"X-More: a\r\n"] * 12),
    "only provisional responses": (b"HTTP/1.1 100 Continue\r\n\r\n",) * 12,
    "line": (b"HTTP/1.1 200 OK\r\nX-Long: ", *[b"a"] * 12),
    "body": (HEAD_START + b"Content-Length: 20\r\n\r\n", *[b"x"] * 12),
    "chunked body": (HEAD_START + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 12),
}


@pytest.mark.parametrize("chunks", SLOW_RESPONSES.values(), ids=SLOW_RESPONSES)
@pytest.mark.parametrize(("method", "path", "kind"), [("GET", READ, BridgeTimeout), ("POST", ORDER, OrderUnknown)])
def test_chunks_that_each_come_in_time_do_not_extend_the_deadline(
    chunks: tuple[bytes, ...], method: str, path: str, kind: type[ClientError]
) -> None:
    """One chunk a second; the deadline is after ten seconds."""
    clock = SleepClock()
    with (
        scripted_server(send_slowly(clock, 1.0, *chunks)) as server,
        client_of(server.url, clock, timeout=10) as client,
        pytest.raises(kind, match="does not answer in time"),
    ):
        client.request(method, path)


@pytest.mark.parametrize(
    "chunk", [SLOW_RESPONSES["head"][0], SLOW_RESPONSES["body"][0], SLOW_RESPONSES["chunked body"][0]]
)
def test_silence_after_a_chunk_ends_at_the_deadline(chunk: bytes) -> None:
    """The timeout does not start again with the chunk."""
    clock = SleepClock()
    started_at = time.monotonic()
    with (
        scripted_server(send_slowly(clock, 100 - SHORT_S, chunk + HANG)) as server,
        client_of(server.url, clock, timeout=100) as client,
        pytest.raises(BridgeTimeout),
    ):
        client.get(READ)

    assert time.monotonic() - started_at < TIMEOUT_S


def test_a_request_body_that_is_not_read_ends_at_the_deadline() -> None:
    """The connection is open, and the other side does not read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with BridgeClient(url, KEY, timeout=SHORT_S) as client, pytest.raises(OrderUnknown, match="does not answer"):
            client.post(ORDER, b"x" * 30_000_000)


def test_an_endless_body_ends_at_the_deadline() -> None:
    """Each chunk comes in time; the complete body would not."""
    clock = SleepClock()

    def ticking_clock() -> float:
        clock.now += 30.0
        return clock.now

    endless = b"HTTP/1.1 200 OK\r\n" + BRIDGE_HEADERS + b"Content-Length: 4000000\r\n\r\n" + b"x" * 3_000_000
    with (
        scripted_server(endless) as server,
        BridgeClient(server.url, KEY, clock=ticking_clock, sleep=clock.sleep) as client,
        pytest.raises(BridgeTimeout),
    ):
        client.get(READ)


def test_the_default_clock_is_that_of_the_machine() -> None:
    """By default the client really sleeps."""
    with BridgeClient("http://127.0.0.1:1", KEY) as client:
        assert (client._clock, client._sleep) == (time.monotonic, time.sleep)
