"""Replies that nobody reads are cut after a while, and before they take too much memory; readers keep theirs."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.server.connection import ClientConnection, ConnectionLimiter
from ibkr_bridge.server.unread_replies import MAX_UNREAD_BYTES, UNREAD_TIMEOUT_S, Unread, UnreadReplies
from tests.harness import with_timeout

MIB = 1024 * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
BODY_BYTES = 16 * MIB  # more than all buffers of a connection


@pytest.fixture
def replies() -> UnreadReplies[str]:
    """A budget of 100 bytes, and ten seconds."""
    return UnreadReplies(timeout_s=10.0, max_bytes=100)


def test_a_reply_without_progress_is_cut(replies: UnreadReplies[str]) -> None:
    """When its time is over, and not before."""
    assert replies.to_close({"a": Unread(50, 0)}, 0.0) == []
    assert replies.to_close({"a": Unread(50, 0)}, 9.9) == []
    assert replies.to_close({"a": Unread(50, 0)}, 10.0) == ["a"]


@pytest.mark.parametrize("progress", [Unread(49, 0), Unread(50, 1), Unread(60, 1)])
def test_progress_gives_more_time(replies: UnreadReplies[str], progress: Unread) -> None:
    """Bytes were read, even if more were written meanwhile."""
    replies.to_close({"a": Unread(50, 0)}, 0.0)

    assert replies.to_close({"a": progress}, 9.0) == []
    assert replies.to_close({"a": progress}, 18.9) == []
    assert replies.to_close({"a": progress}, 19.0) == ["a"]


def test_more_bytes_are_no_progress(replies: UnreadReplies[str]) -> None:
    """A client that sends requests without end and reads nothing gets no more time."""
    for second in range(10):
        assert replies.to_close({"a": Unread(1 + second, 0)}, float(second)) == []

    assert replies.to_close({"a": Unread(20, 0)}, 10.0) == ["a"]


def test_a_client_that_has_read_everything_begins_anew(replies: UnreadReplies[str]) -> None:
    """Its next reply has its own time."""
    replies.to_close({"a": Unread(50, 0)}, 0.0)
    replies.to_close({"a": Unread(0, 0)}, 9.0)
    replies.to_close({"a": Unread(50, 0)}, 9.5)

    assert replies.to_close({"a": Unread(50, 0)}, 15.0) == []


def test_above_the_budget_the_largest_are_cut(replies: UnreadReplies[str]) -> None:
    """As few as necessary."""
    unread = {"small": Unread(10, 0), "largest": Unread(60, 0), "large": Unread(50, 0)}

    assert replies.to_close(unread, 0.0) == ["largest"]


class UnreadServer:
    """A server of large replies, with a clock that the test moves."""

    def __init__(self, max_bytes: int) -> None:
        self.now = 0.0
        self.cut: list[events.Event] = []
        bus = events.Bus()
        bus.subscribe(self.cut.append)
        unread: UnreadReplies[ClientConnection] = UnreadReplies(max_bytes=max_bytes)
        self.limiter = ConnectionLimiter(bus, unread=unread, now=lambda: self.now)
        self.port = 0

    async def _answer(self, _: web.BaseRequest) -> web.Response:
        return web.Response(body=bytes(BODY_BYTES))

    async def run(self) -> AsyncIterator[UnreadServer]:
        """Listen until the test ends."""
        loop = asyncio.get_running_loop()
        http_server = web.Server(self._answer)
        connection = functools.partial(ClientConnection, http_server, self.limiter, loop)
        listener = await loop.create_server(connection, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        yield self
        listener.close()
        await http_server.shutdown(1.0)

    async def connect(self) -> socket.socket:
        """A client that has requested a reply, and of which some bytes have come."""
        client = socket.create_connection(("127.0.0.1", self.port))
        client.setblocking(False)
        count = len(self.limiter.connections)
        client.sendall(REQUEST)
        await wait_until(lambda: len(self.limiter.connections) > count or bool(self.cut))
        await wait_until(lambda: any(each.unread.bytes for each in self.limiter.connections) or bool(self.cut))
        return client


async def wait_until(holds: Callable[[], bool]) -> None:
    """Let the event loop run until something is so."""

    async def wait() -> None:
        while not holds():
            await asyncio.sleep(0)

    await with_timeout(wait())


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[UnreadServer]:
    """A server with the usual time and the budget that the test names."""
    async for server in UnreadServer(getattr(request, "param", MAX_UNREAD_BYTES)).run():
        yield server


async def test_a_client_that_reads_nothing_is_cut_off(server: UnreadServer) -> None:
    """Its reply would stay in memory for ever: aiohttp waits until a closing connection has sent everything."""
    with await server.connect():
        server.limiter.close_unread()
        server.now = UNREAD_TIMEOUT_S - 1
        server.limiter.close_unread()
        assert server.cut == []

        server.now = UNREAD_TIMEOUT_S
        server.limiter.close_unread()

        await wait_until(lambda: not server.limiter.connections)
    assert [type(event) for event in server.cut] == [events.ReplyUnread]


async def test_a_client_that_reads_slowly_gets_everything(server: UnreadServer) -> None:
    """However long it takes, as long as it reads on."""
    received, loop = 0, asyncio.get_running_loop()
    with await server.connect() as client:
        while received < BODY_BYTES:
            received += len(await with_timeout(loop.sock_recv(client, MIB)))
            server.now += UNREAD_TIMEOUT_S / 20
            server.limiter.close_unread()

    assert server.cut == []


@pytest.mark.parametrize("server", [40 * MIB], indirect=True)
async def test_many_unread_replies_are_cut_at_their_budget(server: UnreadServer) -> None:
    """At once, not at the next check; the others are kept."""
    clients = [await server.connect() for _ in range(4)]

    await wait_until(lambda: len(server.cut) >= 2)

    assert sum(each.unread.bytes for each in server.limiter.connections) <= 40 * MIB
    assert len(server.limiter.connections) >= 1
    for client in clients:
        client.close()


async def test_the_kernel_holds_little_for_one_connection(server: UnreadServer) -> None:
    """By default its buffer grows to megabytes, which no limit of ours would see."""
    with await server.connect():
        (connection,) = server.limiter.connections
        assert connection.transport is not None
        size = connection.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    assert size <= 256 * 1024


async def test_a_connection_that_is_being_closed_is_cut_too(server: UnreadServer) -> None:
    """The server has given it up and only waits for the client to read."""
    with await server.connect():
        (connection,) = server.limiter.connections
        connection.force_close()
        server.limiter.close_unread()

        server.now = UNREAD_TIMEOUT_S
        server.limiter.close_unread()

        await wait_until(lambda: not server.limiter.connections)
