"""Streams over time: silence, quotes and tokens that expire, subscribers that stop reading."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import socket as sockets
import struct
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.api import stream_sse
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.market import sessions
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.streaming import subscriber, upstream_feed
from tests.conftest import OpenHarness
from tests.harness import FAST_OPTIONS, KEY, TEST_TIMEOUT_S, Harness, Placement, settings_for, with_timeout
from tests.stream_clients import open_sse, open_websocket

AAPL = 265598
QUOTES = f"/stream/quotes?conids={AAPL}&fields=31,84"


UPGRADE = (
    f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


NOON_IN_NEW_YORK = datetime(2026, 6, 17, 16, tzinfo=UTC)


class FastBridgeClock(FastClock):
    """A fast clock for both the bridge and the simulator."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        try:
            async with asyncio.timeout(max(seconds, 0.0) / self._rate):
                await event.wait()
        except TimeoutError:
            return False
        return True


@pytest.fixture
def patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """No login ends and no websocket is given up because this machine pauses for a moment."""
    monkeypatch.setattr(sessions, "LOGIN_IDLE_TTL_S", 1e6)
    monkeypatch.setattr(upstream_feed, "CONNECT_TIMEOUT_S", 3600.0)


@contextlib.asynccontextmanager
async def run_fast(
    tmp_path: Path, rate: float, profile_options: ProfileOptions = FAST_OPTIONS, **options: Any
) -> AsyncIterator[tuple[Harness, Simulator]]:
    """A bridge and a simulator whose clock is `rate` times as fast as real time.

    On a busy machine a pause of this process is a long time: the deadlines that are not tested here are out of reach.
    """
    clock = FastBridgeClock(rate, NOON_IN_NEW_YORK)  # far from the midnight that ends every session
    async with (
        asyncio.timeout(4 * TEST_TIMEOUT_S),  # a lost session would let the stream go on without what is waited for
        Simulator(clock=clock, **options) as sim,
        Harness(
            settings_for(sim.url, tmp_path / "state", IBKR_GATEWAY_TIMEOUT="5"), clock, options=profile_options
        ) as harness,
    ):
        await harness.wait_until(SessionState.READY)
        await harness.wait_for_events(events.FeedUp)
        yield harness, sim


@pytest.mark.slow
@pytest.mark.usefixtures("patient_connections")
async def test_quotes_do_not_stop_after_fifteen_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IBKR ends them then without a message; the bridge subscribes again before that."""
    monkeypatch.setattr(upstream_feed, "SILENCE_TIMEOUT_S", 3600.0)
    async with run_fast(tmp_path, 60.0, quote_interval_s=30.0) as (harness, sim), open_sse(harness, QUOTES) as quotes:
        first = await quotes.receive()
        received = await quotes.receive_until(lambda event: _minutes(event) - _minutes(first) > 20)
        subscribed = [text for text in sim.market.stream.received if text.startswith(f"smd+{AAPL}")]

    assert all(event.name == "message" for event in received)
    assert len(subscribed) >= 3


def _minutes(event: Any) -> float:
    return float(event.data["_updated"]) / 60_000


async def test_a_silent_feed_is_closed_and_opened_again(tmp_path: Path) -> None:
    """The socket is open and answers pings, but sends nothing: subscribers get `stale`, and later `fresh`."""
    async with run_fast(tmp_path, 50.0) as (harness, sim), open_sse(harness, QUOTES) as quotes:
        await quotes.receive()

        sim.faults.add("stream-silent")
        stale = await quotes.receive("stale")
        await harness.wait_for_events(events.FeedLost, 4)
        sim.faults.clear("stream-silent")
        await quotes.receive("fresh")
        await quotes.receive_until(lambda event: "31" in event.data)

    lost = [event for event in harness.events_seen if isinstance(event, events.FeedLost)]
    assert stale.data["reason"] == "stream_timeout"
    assert [event.next_try_s for event in lost[:4]] == sorted(event.next_try_s for event in lost[:4])
    assert lost[0].next_try_s < lost[3].next_try_s
    assert (
        len([change for change in harness.session_changes if change[0] != "ready"]) == 0
    )  # the session was ready all the time


@pytest.mark.usefixtures("patient_connections")
async def test_a_comment_keeps_an_idle_stream_open(tmp_path: Path) -> None:
    """It is sent every fifteen seconds."""
    async with run_fast(tmp_path, 100.0) as (harness, _), open_sse(harness, "/stream/session") as session:
        await session.receive()
        reading = asyncio.ensure_future(session.receive())
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while session.comments < 3:
                await asyncio.sleep(0)
        reading.cancel()


@pytest.mark.usefixtures("patient_connections")
async def test_sockets_have_a_heartbeat_of_their_own(tmp_path: Path) -> None:
    """IBKR's sockets have one, whatever is subscribed."""
    async with run_fast(tmp_path, 100.0) as (harness, _), open_websocket(harness) as client:
        beats = [await client.receive_until(lambda message: "hb" in message) for _ in range(2)]

    assert 9_000 <= beats[1]["hb"] - beats[0]["hb"] <= 20_000


@pytest.mark.usefixtures("patient_connections")
async def test_the_feed_sends_keep_alives(tmp_path: Path) -> None:
    """IBKR wants one at least once a minute."""
    async with run_fast(tmp_path, 100.0) as (_, sim):
        await with_timeout(sim.market.stream.wait_for_message("tic"))
        assert upstream_feed.TIC_INTERVAL_S < 60


class ShiftedClock(SystemClock):
    """Real time, with a wall clock that a test moves."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def utc(self) -> Any:
        """See `Clock.utc`."""
        return super().utc() + self.shift


async def test_a_stream_ends_with_its_token(sim: Simulator, tmp_path: Path) -> None:
    """The token was valid when the stream was opened; the stream ends when the token expires."""
    clock = ShiftedClock()
    async with Harness(settings_for(sim.url, tmp_path / "state"), clock) as harness:
        await harness.wait_until(SessionState.READY)
        token = (await harness.post("/auth/token", {"expires_in": 60})).json["token"]
        async with open_sse(harness, f"/stream/session?token={token}", key=None) as session:
            await session.receive()
            clock.shift = timedelta(seconds=61)
            end = await session.receive("end")

    assert end.data == {"reason": "token_expired"}


# -- subscribers that do not read


@contextlib.contextmanager
def open_unread(harness: Harness, target: str) -> Iterator[sockets.socket]:
    """Open a stream without reading from it; the receive buffer is as small as the system allows."""
    sock = sockets.socket()
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1)
    sock.connect(("127.0.0.1", harness.port))
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n".encode())
    try:
        yield sock
    finally:
        sock.close()


UNKNOWN_CONID = 999  # the simulated market sends nothing about it


def quote(number: int, size: int = 2_000) -> str:
    """A long quote whose price is its number."""
    return json.dumps({"topic": f"smd+{UNKNOWN_CONID}", "conid": UNKNOWN_CONID, "31": str(number), "7051": "x" * size})


async def test_a_subscriber_that_stops_reading_delays_no_other(harness: Harness, sim: Simulator) -> None:
    """When it reads again it gets the latest quote and none of those in between."""
    await harness.wait_for_events(events.FeedUp)
    target = f"/stream/quotes?conids={UNKNOWN_CONID}&fields=31,7051"
    hub = harness.bridge.profile.streaming.hub
    with open_unread(harness, target) as sock:
        async with open_sse(harness, target) as quotes:
            for number in range(240):
                await sim.market.stream.send_to_all(quote(number, 10_000))
                received = await quotes.receive_until(lambda event, number=number: event.data.get("31") == str(number))  # type: ignore[misc]
            assert received[-1].data["31"] == "239"
        assert hub.counts["behind"] == 1

        data = await asyncio.to_thread(_read_until, sock, b'"31":"239"')

    assert data.count(b"data: ") < 200
    assert b"event: " not in data


def _read_until(sock: sockets.socket, end: bytes) -> bytes:
    sock.settimeout(TEST_TIMEOUT_S)
    data = b""
    while end not in data:
        chunk = sock.recv(65536)
        assert chunk, "the stream has ended"
        assert len(data) < 50_000_000, "the end does not come"
        data += chunk
    return data


async def test_orders_are_never_dropped_unreported(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber to orders that does not read is disconnected, with a reason; the others get every order."""
    await harness.wait_for_events(events.FeedUp)
    monkeypatch.setattr(subscriber, "MAX_EVENTS", 50)
    with open_unread(harness, "/stream/orders"):
        async with open_sse(harness, "/stream/orders") as orders:
            await with_timeout(sim.market.stream.wait_for_message("sor+{}"))
            for number in range(1200):
                row = {"orderId": number, "acct": "DU1234567", "status": "Submitted", "note": "x" * 2000}
                await sim.market.stream.send_to_all(json.dumps({"topic": "sor", "args": [row]}))
                if number % 25 == 24:
                    received = await orders.receive_until(lambda event, number=number: event.data["orderId"] == number)  # type: ignore[misc]
                    assert len(received) == 25
            (closed,) = await harness.wait_for_events(events.StreamClosed)

    assert closed.reason == "slow_client"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("patient_connections")
async def test_a_subscriber_that_reads_nothing_for_a_minute_is_disconnected(tmp_path: Path) -> None:
    """Even if little data waits for it."""
    async with run_fast(tmp_path, 50.0) as (harness, sim):
        with open_unread(harness, f"/stream/quotes?conids={UNKNOWN_CONID}&fields=31,7051"):
            async with asyncio.timeout(TEST_TIMEOUT_S):
                number = 0
                while not harness.bridge.profile.streaming.hub.counts["behind"]:
                    number += 1
                    await sim.market.stream.send_to_all(quote(number, 20_000))
                    await asyncio.sleep(0)  # nothing is sent while the bridge opens its websocket again
            (closed,) = await harness.wait_for_events(events.StreamClosed)

    assert closed.reason == "slow_client"  # type: ignore[attr-defined]


async def test_an_order_reaches_sockets_and_streams(harness: Harness, sim: Simulator) -> None:
    """Each gets it in its own form."""
    await harness.wait_for_events(events.FeedUp)
    async with open_websocket(harness) as client, open_sse(harness, "/stream/orders") as orders:
        await client.send("sor+{}")
        await client.receive("sor")
        placed = await harness.post(Placement().target, Placement().body)
        number = int(placed.json[0]["order_id"])
        update = await client.receive_until(
            lambda message: any(row["orderId"] == number for row in message.get("args", ()) if isinstance(row, dict))
        )
        event = await orders.receive_until(lambda event: event.data["orderId"] == number)

    assert update["topic"] == "sor"
    assert event[-1].data["acct"] == "DU1234567"


async def test_subscribers_that_do_not_read_do_not_delay_the_end(open_harness: OpenHarness, sim: Simulator) -> None:
    """The last event of a stream may take half a second, but not longer when the bridge ends."""
    harness = await open_harness()
    await harness.wait_for_events(events.FeedUp)
    with open_unread(harness, "/stream/orders"):
        async with open_sse(harness, "/stream/orders"):
            await with_timeout(sim.market.stream.wait_for_message("sor+{}"))
            async with asyncio.timeout(TEST_TIMEOUT_S):
                number = 0
                while not harness.bridge.profile.streaming.hub.counts["behind"]:
                    number += 1
                    row = {"orderId": number, "acct": "DU1234567", "note": "x" * 50_000}
                    await sim.market.stream.send_to_all(json.dumps({"topic": "sor", "args": [row]}))
        began = asyncio.get_running_loop().time()
        unfinished = await with_timeout(harness.finish())

    assert unfinished == 0
    assert asyncio.get_running_loop().time() - began < stream_sse.CLOSING_TIMEOUT_S


async def test_a_key_is_rotated_while_a_socket_is_failing(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not answer the close frame disturbs nobody and ends no loop."""
    await harness.wait_for_events(events.FeedUp)

    def fail(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(harness.bridge.profile.streaming.hub, "subscribe", fail)
    with sockets.create_connection(("127.0.0.1", harness.port)) as sock:
        sock.sendall(UPGRADE)
        sock.sendall(b"\x81\x86\0\0\0\0sor+{}")
        await harness.wait_for_events(events.RequestFailed)
        harness.bridge.keys.replace(
            dataclasses.replace(harness.bridge.settings, key="another-key-for-tests-0123456789-abcd")
        )
        harness.bridge.profile.streaming.hub.close_invalid()
        harness.bridge.profile.streaming.hub.close_all("shutting_down")

    assert harness.bridge.failed is False


async def test_a_ping_followed_by_a_hang_up_is_not_logged_as_a_failure(harness: Harness, sim: Simulator) -> None:
    """aiohttp notices the hang-up while it answers the ping."""
    await harness.wait_for_events(events.FeedUp)
    for _ in range(20):
        with sockets.create_connection(("127.0.0.1", harness.port)) as sock:
            sock.sendall(UPGRADE)
            assert b" 101 " in await asyncio.to_thread(sock.recv, 1000)
            sock.sendall(b"\x89\x80\0\0\0\0" * 50)
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    await harness.wait_for_events(events.RequestServed, 20)

    assert [event for event in harness.events_seen if isinstance(event, events.RequestFailed)] == []


async def test_an_http_1_0_stream_ends_with_its_connection(harness: Harness, sim: Simulator) -> None:
    """HTTP/1.0 has no chunks, so `keep-alive` must not be granted."""
    await harness.wait_for_events(events.FeedUp)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    head = f"Host: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nConnection: keep-alive\r\n\r\n"
    writer.write(f"GET /stream/session HTTP/1.0\r\n{head}".encode())
    await with_timeout(reader.readuntil(b'"ready"'))
    harness.bridge.profile.streaming.hub.close_all("shutting_down")
    rest = await with_timeout(reader.read())
    writer.close()

    assert b"event: end" in rest
    assert b"keep-alive" not in rest.lower()


async def test_orders_and_trades_come_from_calls_when_their_topics_are_silent(tmp_path: Path) -> None:
    """IBKR's socket is healthy and quotes come, but `sor` and `str` are never answered: an empty stream would say that
    nothing happened.
    """
    async with run_fast(tmp_path, 40.0) as (harness, sim):
        sim.faults.add("topic-silent", path="^s[ot]r")
        async with open_sse(harness, "/stream/orders") as orders, open_sse(harness, "/stream/trades") as trades:
            placement = Placement(quantity=3)
            await harness.post(placement.target, placement.body)
            order, trade = await orders.receive("message"), await trades.receive("message")

    assert (order.data["acct"], order.data["totalSize"], trade.data["size"]) == ("DU1234567", 3, 3)


async def test_a_silent_topic_is_stale_for_streams_and_websockets(tmp_path: Path) -> None:
    """Only for those that read it. It is fresh again when IBKR answers a repeated request."""
    async with run_fast(tmp_path, 40.0) as (harness, sim):
        sim.faults.add("topic-silent", path="spl")
        async with open_sse(harness, "/stream/pnl") as pnl, open_websocket(harness, "/ws") as websocket:
            await websocket.send("spl+{}")
            stale = await pnl.receive("stale")
            message = await websocket.receive_until(lambda data: isinstance(data, dict) and "stale" in data)
            async with open_sse(harness, "/stream/pnl") as later:
                first = await later.receive()
            sim.faults.clear("topic-silent")
            fresh, row = await pnl.receive("fresh"), await pnl.receive()

    assert (stale.data["reason"], stale.data["topic"]) == ("topic_silent", "spl")
    assert message["stale"]["reason"] == "topic_silent"
    assert (first.name, first.data) == ("stale", stale.data)
    assert (fresh.data["topic"], row.name) == ("spl", "message")


async def test_orders_are_stale_when_the_calls_fail_as_well(tmp_path: Path) -> None:
    """Neither source knows what has happened."""
    async with run_fast(tmp_path, 40.0) as (harness, sim):
        sim.faults.add("topic-silent", path="sor")
        sim.faults.add("status", path="/iserver/account/orders", status=500, body='{"error":"x"}')
        async with open_sse(harness, "/stream/orders") as orders:
            stale = await orders.receive()

    assert (stale.name, stale.data["reason"], stale.data["topic"]) == ("stale", "topic_silent", "sor")


async def test_the_second_source_keeps_ibkrs_limits_and_shares_its_calls_with_callers(tmp_path: Path) -> None:
    """One call in five seconds for each list, however many streams and callers there are; callers are answered."""
    async with run_fast(tmp_path, 20.0, ProfileOptions(), pacing=True) as (harness, sim):
        sim.faults.add("topic-silent")
        clock = sim.clock
        async with contextlib.AsyncExitStack() as stack:
            for target in ("/stream/orders", "/stream/trades") * 3:
                await stack.enter_async_context(open_sse(harness, target))
            begun, statuses = clock.now(), set()
            while clock.now() - begun < 60.0:
                statuses.add((await harness.get("/iserver/account/orders")).status)
                await clock.sleep(2.5)
            lasted = clock.now() - begun
        times = {path: [call.at for call in sim.calls(f"/iserver/account/{path}")] for path in ("orders", "trades")}
        counts = {path: len(called_at) for path, called_at in times.items()}

    assert statuses == {200}
    for called_at in times.values():
        assert min(later - sooner for sooner, later in itertools.pairwise(called_at)) >= 5.0
    assert counts["trades"] >= 4
    assert max(counts.values()) <= lasted / 5.0 + 3
