"""Connections of slow, numerous, malformed and pipelining clients."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.server.connection import (
    KEEPALIVE_HINT_S,
    KEEPALIVE_TIMEOUT_S,
    MAX_PIPELINED_BYTES,
    READ_BYTES,
    ClientConnection,
    ConnectionLimiter,
)
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, Harness

CANARY = b"canary-0123456789-canary-0123456789"


@pytest.mark.parametrize(
    "request_bytes",
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
async def test_malformed_bytes_get_a_bare_response_and_one_log_line(harness: Harness, request_bytes: bytes) -> None:
    """aiohttp's own error page and traceback would repeat the key that is among the bytes."""
    written = harness.written.tell()

    reply = await harness.send_raw(request_bytes)

    assert reply.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert reply.endswith(b"\r\n\r\n")
    assert CANARY not in reply
    assert b"aiohttp" not in reply
    lines = harness.written.getvalue()[written:].splitlines()
    assert len(lines) == 1
    assert '"request.malformed"' in lines[0]
    assert CANARY.decode() not in lines[0]


async def test_pipelined_requests_are_checked_one_by_one(harness: Harness) -> None:
    """A valid key of one request does not count for the next, and a refused request does not stop the others."""
    template = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n"
    key = b"X-Bridge-Key: " + KEY.encode() + b"\r\n"
    last = key + b"Connection: close\r\n"

    reply = await harness.send_raw(
        template % (b"/portfolio/accounts", key)
        + template % (b"/portfolio/accounts", b"")
        + template % (b"/portfolio/accounts", last)
    )

    assert re.findall(rb"HTTP/1.1 (\d+)", reply) == [b"200", b"401", b"200"]


async def test_an_upgrade_on_other_paths_is_ignored(harness: Harness) -> None:
    """RFC 9110: a server may ignore Upgrade; the bytes that follow are read as requests."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
    template = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n"

    reply = await harness.send_raw(template % upgrade + template % b"Connection: close\r\n")

    assert reply.count(b"HTTP/1.1 200 OK") == 2


async def test_expect_is_answered_only_after_the_key_was_checked(harness: Harness, sim: Simulator) -> None:
    """The bridge asks for a body only if the request has a valid key."""
    head = (
        b"POST /iserver/secdef/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 17\r\nExpect: 100-continue\r\n%s\r\n"
    )

    without_key = await harness.send_raw(head % b"")
    with_key = await harness.send_raw(head % (b"X-Bridge-Key: " + KEY.encode() + b"\r\n"), b'{"symbol":"AAPL"}')

    assert without_key.startswith(b"HTTP/1.1 401 ")
    assert with_key.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


async def test_a_target_above_the_limit_is_refused(harness: Harness, sim: Simulator) -> None:
    """The Gateway accepts request lines of 4096 bytes; the error of the bridge is clearer than its own."""
    fits = await harness.get("/portfolio/accounts?x=" + "a" * (4000 - 22))
    too_long = await harness.get("/portfolio/accounts?x=" + "a" * (4000 - 21))
    far_too_long = await harness.get("/portfolio/accounts?x=" + "a" * 30_000)

    assert fits.status == 200
    assert [(reply.status, reply.code) for reply in (too_long, far_too_long)] == [(414, "uri_too_long")] * 2


class LimitedServer:
    """A server with limits that a test chooses; its handler waits for `may_answer`."""

    def __init__(self, max_connections: int, head_timeout_s: float) -> None:
        self.events_seen: list[events.Event] = []
        self.may_answer = asyncio.Event()
        self.entered = asyncio.Event()
        bus = events.Bus()
        bus.subscribe(self.events_seen.append)
        self.limiter = ConnectionLimiter(bus, max_connections)
        self._head_timeout_s = head_timeout_s
        self.port = 0

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.entered.set()
        await self.may_answer.wait()
        return web.Response(text="served")

    async def run(self) -> AsyncIterator[LimitedServer]:
        """Listen until the test ends."""
        loop = asyncio.get_running_loop()
        http_server = web.Server(self._answer)
        connection = functools.partial(
            ClientConnection, http_server, self.limiter, loop, head_timeout_s=self._head_timeout_s
        )
        listener = await loop.create_server(connection, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        yield self
        self.may_answer.set()
        listener.close()
        await http_server.shutdown(1.0)


OpenConnection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[LimitedServer]:
    """A server with the limits that the test names."""
    max_connections, head_timeout_s = request.param
    async for server in LimitedServer(max_connections, head_timeout_s).run():
        yield server


async def connect(server: LimitedServer, request_bytes: bytes = b"") -> OpenConnection:
    """Open a connection and send bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_bytes)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("server", [(10, 0.05)], indirect=True)
@pytest.mark.parametrize("first_bytes", [b"", b"GET / HTTP/1.1\r\nHost: 127."])
async def test_a_head_that_does_not_come_ends_the_connection(server: LimitedServer, first_bytes: bytes) -> None:
    """A client cannot hold connections without sending requests."""
    reader, writer = await connect(server, first_bytes)

    await wait_until_closed(reader)
    writer.close()

    assert [type(event) for event in server.events_seen] == [events.RequestMalformed]


@pytest.mark.parametrize("server", [(10, 0.05)], indirect=True)
async def test_the_head_of_the_next_request_has_a_deadline_too(server: LimitedServer) -> None:
    """A connection may be idle between requests, but a head that has begun must be completed."""
    server.may_answer.set()
    reader, writer = await connect(server, REQUEST)
    await reader.readuntil(b"served")

    writer.write(b"GET / HT")
    await wait_until_closed(reader)
    writer.close()

    assert [type(event) for event in server.events_seen] == [events.RequestMalformed]


@pytest.mark.parametrize("server", [(10, 0.05)], indirect=True)
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_websocket_outlives_the_deadline_of_its_head(server: LimitedServer, pieces: int) -> None:
    """A connection that opens later and sends nothing is closed first; the websocket is still open then."""
    upgrade = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    cut = len(upgrade) // pieces
    reader, writer = await connect(server, upgrade[:cut])
    writer.write(upgrade[cut:])
    await asyncio.wait_for(server.entered.wait(), 5)
    later = await connect(server)
    await wait_until_closed(later[0])

    server.may_answer.set()

    assert (await asyncio.wait_for(reader.readuntil(b"served"), 5)).startswith(b"HTTP/1.1 200")
    writer.close()
    later[1].close()


@pytest.mark.parametrize("server", [(3, 30.0)], indirect=True)
async def test_at_the_limit_the_oldest_idle_connection_is_closed(server: LimitedServer) -> None:
    """/health remains reachable, however many connections are open."""
    busy = await connect(server, REQUEST)
    await server.entered.wait()
    oldest, younger = await connect(server), await connect(server, b"GET / HT")

    newest = await connect(server, REQUEST)

    await wait_until_closed(oldest[0])
    server.may_answer.set()
    assert (await newest[0].readuntil(b"served")).startswith(b"HTTP/1.1 200")
    assert (await busy[0].readuntil(b"served")).startswith(b"HTTP/1.1 200")
    for _, writer in (busy, oldest, younger, newest):
        writer.close()


@pytest.mark.parametrize("server", [(2, 30.0)], indirect=True)
async def test_a_new_connection_is_closed_if_all_others_are_being_served(server: LimitedServer) -> None:
    """No request that is being served loses its response."""
    served = [await connect(server, REQUEST), await connect(server, REQUEST)]
    await server.entered.wait()
    await asyncio.wait_for(_wait_until_busy(server, 2), 5)

    newest = await connect(server, REQUEST)

    await wait_until_closed(newest[0])
    server.may_answer.set()
    for reader, writer in served:
        assert (await reader.readuntil(b"served")).startswith(b"HTTP/1.1 200")
        writer.close()
    newest[1].close()


async def wait_until_closed(reader: asyncio.StreamReader) -> None:
    """Wait until the bridge closes the connection; no byte may come before."""
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def _wait_until_busy(server: LimitedServer, count: int) -> None:
    while sum(not connection.is_idle for connection in server.limiter.connections) < count:
        await asyncio.sleep(0)


async def test_clients_are_told_to_close_before_the_bridge_does(harness: Harness) -> None:
    """A request on a connection that is just being closed fails, and an order must not be repeated."""
    persistent = await harness.get("/health")
    closing = await harness.send_raw(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")

    assert persistent.headers["Keep-Alive"] == f"timeout={KEEPALIVE_HINT_S:.0f}"
    assert KEEPALIVE_HINT_S < KEEPALIVE_TIMEOUT_S
    assert b"Keep-Alive" not in closing


def head_of(size: int, path: bytes = b"/health") -> bytes:
    """A complete head of exactly this size, in headers of 4 KB."""
    start = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    rest, lines = size - len(start) - len(b"\r\n"), list[bytes]()
    while rest:
        length = rest if rest <= 4096 else min(4096, rest - 100)
        lines.append(b"X-%04d: " % len(lines) + b"a" * (length - 10) + b"\r\n")
        rest -= length
    return start + b"".join(lines) + b"\r\n"


def post_with_body(size: int) -> bytes:
    """A request whose body is read before the next head."""
    head = b"POST /iserver/notify HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Bridge-Key: " + KEY.encode()
    return head + b"\r\nContent-Length: %d\r\n\r\n" % size + b"[" + b" " * (size - 2) + b"]"


@pytest.mark.parametrize(("size", "status"), [(30 * 1024, b"200"), (34 * 1024, b"431"), (200 * 1024, b"431")])
@pytest.mark.parametrize("chunk", [1 << 20, 1000])
async def test_a_head_is_limited_as_a_whole(harness: Harness, size: int, status: bytes, chunk: int) -> None:
    """128 headers of 8 KB each would be a megabyte that anybody can make the bridge hold."""
    head = head_of(size)

    reply = await harness.send_raw(*(head[at : at + chunk] for at in range(0, size, chunk)))

    assert reply.split(b" ")[1] == status
    assert CANARY not in reply


@pytest.mark.parametrize(
    "before", [b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", post_with_body(200), post_with_body(9000)]
)
@pytest.mark.parametrize(("size", "status"), [(30 * 1024, b"200"), (34 * 1024, b"431")])
@pytest.mark.parametrize("chunk", [1 << 20, 7000, 900])
async def test_a_head_behind_another_request_is_limited_too(
    harness: Harness, before: bytes, size: int, status: bytes, chunk: int
) -> None:
    """Its first bytes may come in one piece with the end of a body."""
    sent = before + head_of(size)

    replies = await harness.send_raw(*(sent[at : at + chunk] for at in range(0, len(sent), chunk)))

    assert re.findall(rb"HTTP/1\.[01] (\d{3}) ", replies)[1:] == [status]


@pytest.mark.parametrize("server", [(10, 30.0)], indirect=True)
@pytest.mark.parametrize(("size", "status"), [(30_000, b"200"), (60_000, b"431")])
async def test_a_head_behind_a_declined_upgrade_is_limited_too(server: LimitedServer, size: int, status: bytes) -> None:
    """aiohttp keeps what follows an upgrade, and reads it as a request once the upgrade is declined."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
    reader, writer = await connect(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + upgrade + b"\r\n")
    await server.entered.wait()
    (connection,) = server.limiter.connections
    head = head_of(size)

    async with asyncio.timeout(10):
        for at in range(0, size, 4000):
            writer.write(head[at : at + 4000])
            while len(connection._message_tail) < min(at + 4000, size):
                await asyncio.sleep(0)
        server.may_answer.set()
        replies = await reader.read()

    assert re.findall(rb"HTTP/1\.[01] (\d{3}) ", replies) == [b"200", status]
    writer.close()


async def test_a_head_that_never_ends_is_refused_at_its_limit(harness: Harness) -> None:
    """The refusal does not wait for the end of the head, which may never come."""
    reply = await harness.send_raw(head_of(60_000)[:40_000])

    assert reply.startswith(b"HTTP/1.0 431 ")
    assert len(await harness.wait_for_events(events.RequestMalformed)) == 1


@pytest.mark.parametrize("server", [(10, 30.0)], indirect=True)
async def test_what_is_pipelined_behind_a_request_is_limited(server: LimitedServer) -> None:
    """A client that sends on and on while its first request waits fills the kernel's buffers and no memory of ours."""
    reader, writer = await connect(server, REQUEST)
    await server.entered.wait()
    (connection,) = server.limiter.connections
    transport = connection.transport
    assert transport is not None

    writer.write(REQUEST * (8 * 1024 * 1024 // len(REQUEST)))
    await asyncio.wait_for(_wait_until(lambda: not transport.is_reading()), 5)

    assert len(REQUEST) * connection._request_count <= MAX_PIPELINED_BYTES + READ_BYTES
    server.may_answer.set()
    for _ in range(2000):
        assert (await reader.readuntil(b"served")).startswith(b"HTTP/1.1 200")
    writer.transport.abort()


@pytest.mark.parametrize("server", [(10, 30.0)], indirect=True)
async def test_bodies_that_are_pipelined_count_too(server: LimitedServer) -> None:
    """Each of them is small; together they are not."""
    request = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n\r\n" + b"b" * 50000
    reader, writer = await connect(server, REQUEST)
    await server.entered.wait()
    (connection,) = server.limiter.connections
    transport = connection.transport
    assert transport is not None

    writer.write(request * 100)
    await asyncio.wait_for(_wait_until(lambda: not transport.is_reading()), 5)

    assert connection._request_count <= 1 + (MAX_PIPELINED_BYTES + READ_BYTES) // 50000 + 1
    server.may_answer.set()
    for _ in range(101):
        assert (await reader.readuntil(b"served")).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("server", [(10, 30.0)], indirect=True)
async def test_the_body_of_the_request_itself_is_read_to_its_end(server: LimitedServer) -> None:
    """It does not count as pipelined, also when the request was answered before it came."""
    server.may_answer.set()
    reader, writer = await connect(server, b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
    await reader.readuntil(b"served")

    writer.write(b"b" * 1000000 + REQUEST)

    assert (await reader.readuntil(b"served")).startswith(b"HTTP/1.1 200")
    writer.close()


async def _wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0)
