"""Whether a response reached its caller, through real sockets that are closed in every way."""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.server.connection import ClientConnection, ConnectionLimiter
from ibkr_bridge.server.delivery import deliver, is_connected, unread_check, watch_reset
from tests.harness import within

ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def caller_of(handler: Handler) -> AsyncIterator[socket.socket]:
    """A server of the bridge's own connections, and a caller who has asked it something."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    connection = functools.partial(ClientConnection, runner.server, ConnectionLimiter(events.Bus()), loop)
    listening = await loop.create_server(connection, "127.0.0.1", 0)
    with socket.create_connection(listening.sockets[0].getsockname()) as caller:
        caller.setblocking(False)
        caller.sendall(ASK)
        yield caller
    listening.close()
    await runner.cleanup()


class Delivered:
    """A handler that delivers a reply, and then watches whether it was read."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.reset = asyncio.Event()
        self.reached: bool | None = None
        self.was_reset: Callable[[], bool] = lambda: False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(text="an answer")
        self.reached = await deliver(request, response)
        watch_reset(request, lambda _: self.reset.set())
        self.was_reset = unread_check(request)
        self.done.set()
        return response


async def read_until(caller: socket.socket, end: bytes) -> bytes:
    """What a caller is told, up to this."""
    found = b""
    while not found.endswith(end):
        chunk = await within(asyncio.get_running_loop().sock_recv(caller, 65536))
        assert chunk, found
        found += chunk
    return found


async def test_a_reply_is_written_once_and_reaches_who_waits_for_it() -> None:
    """It is written before the server would write it, and the server then leaves it alone."""
    answers = Delivered()

    async with caller_of(answers.answer) as caller:
        first = await read_until(caller, b"an answer")
        caller.sendall(ASK)
        second = await read_until(caller, b"an answer")

    assert answers.reached is True
    assert first.count(b"HTTP/1.1 200") == second.count(b"HTTP/1.1 200") == 1


async def test_a_caller_who_left_before_the_reply_is_not_written_to() -> None:
    """Their order is known to be untold, whatever the event loop has heard."""
    entered, left = asyncio.Event(), asyncio.Event()
    found: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        entered.set()
        await left.wait()
        response = web.Response(text="an answer")
        found.extend([is_connected(request), await deliver(request, response), response.prepared])
        return response

    async with caller_of(handler) as caller:
        await within(entered.wait())
        caller.close()
        left.set()
        while not found:
            await asyncio.sleep(0)

    assert found == [False, False, False]


async def test_a_caller_who_leaves_while_the_reply_is_prepared_has_not_got_it() -> None:
    """It is the last moment at which it can be noticed here."""
    found: list[bool] = []

    class Parting(web.Response):
        async def prepare(self, request: web.BaseRequest) -> None:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError

    async def handler(request: web.Request) -> web.StreamResponse:
        found.append(await deliver(request, Parting(text="an answer")))
        return web.Response()

    async with caller_of(handler):
        while not found:
            await asyncio.sleep(0)

    assert found == [False]


async def test_while_a_caller_waits_they_are_connected() -> None:
    """Somebody who is slow to read is still there."""
    found: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        found.append(is_connected(request))
        return web.Response(text="an answer")

    async with caller_of(handler) as caller:
        await read_until(caller, b"an answer")

    assert found == [True]


async def test_a_reply_that_was_never_read_is_noticed_before_the_loop_tells_it() -> None:
    """The caller's next order may be quicker than the news that the last answer was lost."""
    answers = Delivered()

    async with caller_of(answers.answer) as caller:
        await within(answers.done.wait())
        before = answers.was_reset()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        caller.close()

        assert (before, answers.was_reset(), answers.reset.is_set()) == (False, True, False)
        await within(answers.reset.wait())


async def test_a_caller_who_reads_and_closes_in_good_order_has_got_it() -> None:
    """Most close their connection after the one answer that they wanted."""
    answers = Delivered()

    async with caller_of(answers.answer) as caller:
        await read_until(caller, b"an answer")
        caller.close()

        assert not answers.was_reset()
    assert not answers.reset.is_set()


async def test_who_asks_again_has_read_what_came_before() -> None:
    """A reset after that says something of the second reply only."""
    answers, entered, never = Delivered(), asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if answers.done.is_set():
            entered.set()
            await never.wait()
            return web.Response()
        return await answers.answer(request)

    async with caller_of(handler) as caller:
        await read_until(caller, b"an answer")
        caller.sendall(ASK)
        await within(entered.wait())
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        caller.close()

        assert not answers.was_reset()
        never.set()
    assert not answers.reset.is_set()
