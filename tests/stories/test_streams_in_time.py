"""What time does to streams: silence, quotes that expire, keys that do, readers that stop reading."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
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
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.streaming import subscriber, upstream_feed
from tests.conftest import Open
from tests.harness import KEY, PATIENCE, Harness, Placed, settings_for, within
from tests.stream_clients import open_sse, open_websocket

AAPL = 265598
QUOTES = f"/stream/quotes?conids={AAPL}&fields=31,84"


UPGRADE = (
    f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


NOON_IN_NEW_YORK = datetime(2026, 6, 17, 16, tzinfo=UTC)


class Quick(FastClock):
    """The machine's time, run fast, for the bridge and the simulator alike."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        try:
            async with asyncio.timeout(max(seconds, 0.0) / self._rate):
                await event.wait()
        except TimeoutError:
            return False
        return True


@contextlib.asynccontextmanager
async def quick(tmp_path: Path, rate: float, **how: Any) -> AsyncIterator[tuple[Harness, Simulator]]:
    """A bridge and a simulator in a time that runs so fast."""
    clock = Quick(rate, NOON_IN_NEW_YORK)  # far from the midnight that ends every session
    async with (
        Simulator(clock=clock, **how) as sim,
        Harness(settings_for(sim.url, tmp_path / "state", IBKR_GATEWAY_TIMEOUT="5"), clock) as harness,
    ):
        await harness.wait_until(SessionState.READY)
        await harness.wait_for_events(events.FeedUp)
        yield harness, sim


async def test_quotes_do_not_stop_after_fifteen_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IBKR forgets them then, without a word; the bridge asks anew before that."""
    monkeypatch.setattr(
        upstream_feed, "SILENCE_TIMEOUT_S", 3600.0
    )  # else a breath of this machine would be a silence of IBKR's
    async with quick(tmp_path, 300.0, quote_interval_s=30.0) as (harness, sim), open_sse(harness, QUOTES) as quotes:
        first = await quotes.receive()
        late = await quotes.receive_until(lambda told: _minutes(told) - _minutes(first) > 20)
        asked = [text for text in sim.market.stream.received if text.startswith(f"smd+{AAPL}")]

    assert all(told.name == "message" for told in late)
    assert len(asked) >= 3


def _minutes(told: Any) -> float:
    return float(told.data["_updated"]) / 60_000


async def test_a_silent_source_is_given_up(tmp_path: Path) -> None:
    """Open, and answering pings, and nothing is said: readers hear `stale`; when IBKR speaks again, `fresh`."""
    async with quick(tmp_path, 50.0) as (harness, sim), open_sse(harness, QUOTES) as quotes:
        await quotes.receive()

        sim.faults.add("stream-silent")
        stale = await quotes.receive("stale")
        await harness.wait_for_events(events.FeedLost, 4)
        sim.faults.clear("stream-silent")
        await quotes.receive("fresh")
        await quotes.receive_until(lambda told: "31" in told.data)

    lost = [event for event in harness.events_seen if isinstance(event, events.FeedLost)]
    assert stale.data["reason"] == "stream_timeout"
    assert [event.next_try_s for event in lost[:4]] == sorted(event.next_try_s for event in lost[:4])
    assert lost[0].next_try_s < lost[3].next_try_s
    assert (
        len([told for told in harness.session_changes if told[0] != "ready"]) == 0
    )  # the session was never in doubt for long


async def test_a_comment_keeps_the_way_open(tmp_path: Path) -> None:
    """Every fifteen seconds, on a stream where nothing happens."""
    async with quick(tmp_path, 100.0) as (harness, _), open_sse(harness, "/stream/session") as session:
        await session.receive()
        reading = asyncio.ensure_future(session.receive())
        async with asyncio.timeout(PATIENCE):
            while session.comments < 3:
                await asyncio.sleep(0)
        reading.cancel()


async def test_sockets_have_a_heartbeat_of_their_own(tmp_path: Path) -> None:
    """As IBKR's do, whoever reads what."""
    async with quick(tmp_path, 100.0) as (harness, _), open_websocket(harness) as client:
        beats = [await client.receive_until(lambda told: "hb" in told) for _ in range(2)]

    assert 9_000 <= beats[1]["hb"] - beats[0]["hb"] <= 20_000


async def test_ibkr_hears_that_we_live(tmp_path: Path) -> None:
    """At least once a minute."""
    async with quick(tmp_path, 100.0) as (_, sim):
        await within(sim.market.stream.wait_for_message("tic"))
        assert upstream_feed.TIC_INTERVAL_S < 60


class Shifted(SystemClock):
    """The machine's time, and a wall clock that a test moves."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def utc(self) -> Any:
        """See `Clock.utc`."""
        return super().utc() + self.shift


async def test_a_stream_ends_with_its_token(sim: Simulator, tmp_path: Path) -> None:
    """The stream was opened in time; that does not make it last for ever."""
    clock = Shifted()
    async with Harness(settings_for(sim.url, tmp_path / "state"), clock) as harness:
        await harness.wait_until(SessionState.READY)
        token = (await harness.post("/auth/token", {"expires_in": 60})).json["token"]
        async with open_sse(harness, f"/stream/session?token={token}", key=None) as session:
            await session.receive()
            clock.shift = timedelta(seconds=61)
            end = await session.receive("end")

    assert end.data == {"reason": "token_expired"}


# -- readers that do not read


@contextlib.contextmanager
def deaf(harness: Harness, target: str) -> Iterator[sockets.socket]:
    """Opens a stream, and never reads a byte of it; its buffers are as small as the system allows."""
    talk = sockets.socket()
    talk.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1)
    talk.connect(("127.0.0.1", harness.port))
    talk.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n".encode())
    try:
        yield talk
    finally:
        talk.close()


QUIET = 999  # a contract the simulated market does not know, and says nothing about


def quote(number: int, size: int = 2_000) -> str:
    """A quote that can be told from the others, and is long."""
    return json.dumps({"topic": f"smd+{QUIET}", "conid": QUIET, "31": str(number), "7051": "x" * size})


async def test_a_reader_that_stops_reading_delays_nobody(harness: Harness, sim: Simulator) -> None:
    """It gets the newest picture when it reads again, and nothing of what lay between."""
    await harness.wait_for_events(events.FeedUp)
    target = f"/stream/quotes?conids={QUIET}&fields=31,7051"
    hub = harness.bridge.profile.streaming.hub
    with deaf(harness, target) as talk:
        async with open_sse(harness, target) as quotes:
            for number in range(240):
                await sim.market.stream.send_to_all(quote(number, 10_000))
                told = await quotes.receive_until(lambda told, number=number: told.data.get("31") == str(number))  # type: ignore[misc]
            assert told[-1].data["31"] == "239"
        assert hub.counts["behind"] == 1

        heard = await asyncio.to_thread(_read_until, talk, b'"31":"239"')

    assert heard.count(b"data: ") < 200
    assert b"event: " not in heard


def _read_until(talk: sockets.socket, end: bytes) -> bytes:
    talk.settimeout(PATIENCE)
    heard = b""
    while end not in heard:
        chunk = talk.recv(65536)
        assert chunk, "the stream has ended"
        assert len(heard) < 50_000_000, "it comes never"
        heard += chunk
    return heard


async def test_orders_are_never_dropped_without_a_word(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of orders who takes no more is cut off, with a reason; the others have every one."""
    await harness.wait_for_events(events.FeedUp)
    monkeypatch.setattr(subscriber, "MAX_EVENTS", 50)
    with deaf(harness, "/stream/orders"):
        async with open_sse(harness, "/stream/orders") as orders:
            await within(sim.market.stream.wait_for_message("sor+{}"))
            for number in range(1200):
                row = {"orderId": number, "acct": "DU1234567", "status": "Submitted", "note": "x" * 2000}
                await sim.market.stream.send_to_all(json.dumps({"topic": "sor", "args": [row]}))
                if number % 25 == 24:
                    told = await orders.receive_until(lambda told, number=number: told.data["orderId"] == number)  # type: ignore[misc]
                    assert len(told) == 25
            (ended,) = await harness.wait_for_events(events.StreamClosed)

    assert ended.reason == "slow_client"  # type: ignore[attr-defined]


async def test_who_takes_nothing_for_a_minute_is_let_go(tmp_path: Path) -> None:
    """However little waits for it."""
    async with quick(tmp_path, 50.0) as (harness, sim):
        with deaf(harness, f"/stream/quotes?conids={QUIET}&fields=31,7051"):
            async with asyncio.timeout(PATIENCE):
                number = 0
                while not harness.bridge.profile.streaming.hub.counts["behind"]:
                    number += 1
                    await sim.market.stream.send_to_all(quote(number, 20_000))
            (ended,) = await harness.wait_for_events(events.StreamClosed)

    assert ended.reason == "slow_client"  # type: ignore[attr-defined]


async def test_one_order_at_a_time_reaches_everybody(harness: Harness, sim: Simulator) -> None:
    """Sockets and events, each in its own form."""
    await harness.wait_for_events(events.FeedUp)
    async with open_websocket(harness) as client, open_sse(harness, "/stream/orders") as orders:
        await client.send("sor+{}")
        await client.receive("sor")
        placed = await harness.post(Placed().target, Placed().body)
        number = int(placed.json[0]["order_id"])
        update = await client.receive_until(
            lambda told: any(row["orderId"] == number for row in told.get("args", ()) if isinstance(row, dict))
        )
        event = await orders.receive_until(lambda told: told.data["orderId"] == number)

    assert update["topic"] == "sor"
    assert event[-1].data["acct"] == "DU1234567"


async def test_readers_who_do_not_read_delay_no_stop(open_harness: Open, sim: Simulator) -> None:
    """A last word is worth half a second, and no more where the bridge itself is ending."""
    harness = await open_harness()
    await harness.wait_for_events(events.FeedUp)
    with deaf(harness, "/stream/orders"):
        async with open_sse(harness, "/stream/orders"):
            await within(sim.market.stream.wait_for_message("sor+{}"))
            async with asyncio.timeout(PATIENCE):
                number = 0
                while not harness.bridge.profile.streaming.hub.counts["behind"]:
                    number += 1
                    row = {"orderId": number, "acct": "DU1234567", "note": "x" * 50_000}
                    await sim.market.stream.send_to_all(json.dumps({"topic": "sor", "args": [row]}))
        began = asyncio.get_running_loop().time()
        unfinished = await within(harness.finish())

    assert unfinished == 0
    assert asyncio.get_running_loop().time() - began < stream_sse.CLOSING_TIMEOUT_S


async def test_a_key_is_rotated_while_a_socket_of_ours_is_failing(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not answer the close is in nobody's way, and no loop stumbles over it."""
    await harness.wait_for_events(events.FeedUp)

    def fail(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(harness.bridge.profile.streaming.hub, "subscribe", fail)
    with sockets.create_connection(("127.0.0.1", harness.port)) as talk:
        talk.sendall(UPGRADE)
        talk.sendall(b"\x81\x86\0\0\0\0sor+{}")
        await harness.wait_for_events(events.RequestFailed)
        harness.bridge.keys.replace(
            dataclasses.replace(harness.bridge.settings, key="another-key-for-tests-0123456789-abcd")
        )
        harness.bridge.profile.streaming.hub.close_invalid()
        harness.bridge.profile.streaming.hub.close_all("shutting_down")

    assert harness.bridge.failed is False


async def test_a_ping_and_a_hang_up_are_no_fault_of_ours(harness: Harness, sim: Simulator) -> None:
    """aiohttp notices the second while it answers the first."""
    await harness.wait_for_events(events.FeedUp)
    for _ in range(20):
        with sockets.create_connection(("127.0.0.1", harness.port)) as talk:
            talk.sendall(UPGRADE)
            assert b" 101 " in await asyncio.to_thread(talk.recv, 1000)
            talk.sendall(b"\x89\x80\0\0\0\0" * 50)
            talk.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    await harness.wait_for_events(events.RequestServed, 20)

    assert [event for event in harness.events_seen if isinstance(event, events.RequestFailed)] == []


async def test_an_old_client_knows_the_end_by_the_end_of_its_connection(harness: Harness, sim: Simulator) -> None:
    """HTTP/1.0 has no chunks, whatever it says of keeping connections."""
    await harness.wait_for_events(events.FeedUp)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    head = f"Host: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\nConnection: keep-alive\r\n\r\n"
    writer.write(f"GET /stream/session HTTP/1.0\r\n{head}".encode())
    await within(reader.readuntil(b'"ready"'))
    harness.bridge.profile.streaming.hub.close_all("shutting_down")
    rest = await within(reader.read())
    writer.close()

    assert b"event: end" in rest
    assert b"keep-alive" not in rest.lower()
