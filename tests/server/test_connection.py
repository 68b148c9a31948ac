"""The door against rude callers: slow, many, malformed, pipelined."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.server.connection import KEEPALIVE_HINT_S, KEEPALIVE_TIMEOUT_S, ClientConnection, ConnectionLimiter
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, Harness

CANARY = b"canary-0123456789-canary-0123456789"


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + CANARY,  # TLS on the plain port
        b"GET /health HTTP/9.9\r\nX-Bridge-Key: " + CANARY + b"\r\n\r\n",
        b"NONSENSE " + CANARY + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key " + CANARY + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CANARY,
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n" + CANARY,
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + CANARY * 400 + b"\r\n\r\n",
    ],
)
async def test_malformed_bytes_get_a_bare_answer_and_one_quiet_line(harness: Harness, bytes_: bytes) -> None:
    """aiohttp's own page and its traceback would repeat the key among them."""
    written = harness.written.tell()

    reply = await harness.send_raw(bytes_)

    assert reply.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert reply.endswith(b"\r\n\r\n")
    assert CANARY not in reply
    assert b"aiohttp" not in reply
    lines = harness.written.getvalue()[written:].splitlines()
    assert len(lines) == 1
    assert '"request.malformed"' in lines[0]
    assert CANARY.decode() not in lines[0]


async def test_pipelined_requests_are_judged_one_by_one(harness: Harness) -> None:
    """A good request must not carry a bad one in on its back, nor be lost behind it."""
    ask = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n"
    key = b"X-Bridge-Key: " + KEY.encode() + b"\r\n"
    last = key + b"Connection: close\r\n"

    reply = await harness.send_raw(
        ask % (b"/portfolio/accounts", key) + ask % (b"/portfolio/accounts", b"") + ask % (b"/portfolio/accounts", last)
    )

    assert re.findall(rb"HTTP/1.1 (\d+)", reply) == [b"200", b"401", b"200"]


async def test_an_upgrade_elsewhere_is_answered_as_if_nobody_had_asked(harness: Harness) -> None:
    """RFC 9110: a server may ignore Upgrade; what follows on the connection is read as requests again."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
    ask = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n"

    reply = await harness.send_raw(ask % upgrade + ask % b"Connection: close\r\n")

    assert reply.count(b"HTTP/1.1 200 OK") == 2


async def test_expect_is_answered_only_once_the_key_was_seen(harness: Harness, sim: Simulator) -> None:
    """A body is invited from those who may come in."""
    head = (
        b"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 17\r\nExpect: 100-continue\r\n%s\r\n"
    )

    stranger = await harness.send_raw(head % b"")
    friend = await harness.send_raw(head % (b"X-Bridge-Key: " + KEY.encode() + b"\r\n"), b'{"symbol":"AAPL"}')

    assert stranger.startswith(b"HTTP/1.1 401 ")
    assert friend.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


async def test_a_target_above_the_limit_is_refused_in_words(harness: Harness, sim: Simulator) -> None:
    """The Gateway takes request lines of 4096 bytes; ours is the clearer answer."""
    fits = await harness.get("/portfolio/accounts?x=" + "a" * (4000 - 22))
    too_long = await harness.get("/portfolio/accounts?x=" + "a" * (4000 - 21))
    far_too_long = await harness.get("/portfolio/accounts?x=" + "a" * 30_000)

    assert fits.status == 200
    assert [(reply.status, reply.code) for reply in (too_long, far_too_long)] == [(414, "uri_too_long")] * 2


class Room:
    """A door with limits of the test's own, in front of a handler that never ends until told."""

    def __init__(self, most: int, head_timeout_s: float) -> None:
        self.events_seen: list[events.Event] = []
        self.answer = asyncio.Event()
        self.entered = asyncio.Event()
        bus = events.Bus()
        bus.subscribe(self.events_seen.append)
        self.keeper = ConnectionLimiter(bus, most)
        self._head_timeout_s = head_timeout_s
        self.port = 0

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.entered.set()
        await self.answer.wait()
        return web.Response(text="served")

    async def run(self) -> AsyncIterator[Room]:
        """Open, and close again."""
        loop = asyncio.get_running_loop()
        server = web.Server(self._answer)
        connection = functools.partial(ClientConnection, server, self.keeper, loop, head_timeout_s=self._head_timeout_s)
        listening = await loop.create_server(connection, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        yield self
        self.answer.set()
        listening.close()
        await server.shutdown(1.0)


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    """A small room: as many connections and seconds as the test says."""
    most, head_timeout_s = request.param
    async for opened in Room(most, head_timeout_s).run():
        yield opened


async def visit(room: Room, bytes_: bytes = b"") -> Opened:
    """One more connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
    writer.write(bytes_)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("room", [(10, 0.05)], indirect=True)
@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: 127."])
async def test_a_head_that_does_not_come_ends_the_connection(room: Room, said: bytes) -> None:
    """Whoever opens connections and says nothing holds none of them."""
    reader, writer = await visit(room, said)

    await closed(reader)
    writer.close()

    assert [type(event) for event in room.events_seen] == [events.RequestMalformed]


@pytest.mark.parametrize("room", [(10, 0.05)], indirect=True)
async def test_the_head_of_the_next_request_has_a_deadline_too(room: Room) -> None:
    """A kept connection may rest; one that has begun to speak must go on."""
    room.answer.set()
    reader, writer = await visit(room, ASK)
    await reader.readuntil(b"served")

    writer.write(b"GET / HT")
    await closed(reader)
    writer.close()

    assert [type(event) for event in room.events_seen] == [events.RequestMalformed]


@pytest.mark.parametrize("room", [(3, 30.0)], indirect=True)
async def test_at_the_cap_the_oldest_idle_connection_makes_room(room: Room) -> None:
    """Health never starves, however many hold connections open."""
    busy = await visit(room, ASK)
    await room.entered.wait()
    oldest, younger = await visit(room), await visit(room, b"GET / HT")

    newcomer = await visit(room, ASK)

    await closed(oldest[0])
    room.answer.set()
    assert (await newcomer[0].readuntil(b"served")).startswith(b"HTTP/1.1 200")
    assert (await busy[0].readuntil(b"served")).startswith(b"HTTP/1.1 200")
    for _, writer in (busy, oldest, younger, newcomer):
        writer.close()


@pytest.mark.parametrize("room", [(2, 30.0)], indirect=True)
async def test_where_all_are_being_served_the_newcomer_goes(room: Room) -> None:
    """Nobody's answer is taken away."""
    served = [await visit(room, ASK), await visit(room, ASK)]
    await room.entered.wait()
    await asyncio.wait_for(_all_inside(room, 2), 5)

    newcomer = await visit(room, ASK)

    await closed(newcomer[0])
    room.answer.set()
    for reader, writer in served:
        assert (await reader.readuntil(b"served")).startswith(b"HTTP/1.1 200")
        writer.close()
    newcomer[1].close()


async def closed(reader: asyncio.StreamReader) -> None:
    """The bridge has ended this connection, without a word."""
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def _all_inside(room: Room, count: int) -> None:
    while sum(not connection.is_idle for connection in room.keeper.connections) < count:
        await asyncio.sleep(0)


async def test_clients_are_told_to_let_go_before_the_bridge_does(harness: Harness) -> None:
    """A request that meets a connection just being closed fails, and nobody may send an order again."""
    kept = await harness.get("/health")
    ended = await harness.send_raw(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")

    assert kept.headers["Keep-Alive"] == f"timeout={KEEPALIVE_HINT_S:.0f}"
    assert KEEPALIVE_HINT_S < KEEPALIVE_TIMEOUT_S
    assert b"Keep-Alive" not in ended
