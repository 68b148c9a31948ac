"""Whether a response reached its caller, with real sockets that are closed in different ways."""

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
from ibkr_bridge.server.delivery import deliver, is_connected, is_open, unread_check, watch_reset
from tests.harness import with_timeout

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def connect_to(handler: Handler) -> AsyncIterator[socket.socket]:
    """Run a server with the connections of the bridge, and yield the socket of a caller that has sent a request."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    connection = functools.partial(ClientConnection, runner.server, ConnectionLimiter(events.Bus()), loop)
    server = await loop.create_server(connection, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as caller:
        caller.setblocking(False)
        caller.sendall(REQUEST)
        yield caller
    server.close()
    await runner.cleanup()


class DeliveringHandler:
    """A handler that delivers a response and then watches whether it is read."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.reset = asyncio.Event()
        self.is_delivered: bool | None = None
        self.was_reset: Callable[[], bool] = lambda: False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(text="an answer")
        self.is_delivered = await deliver(request, response)
        watch_reset(request, lambda _: self.reset.set())
        self.was_reset = unread_check(request)
        self.done.set()
        return response


async def read_until(caller: socket.socket, end: bytes) -> bytes:
    """Read until the bytes end with `end`, and return them all."""
    data = b""
    while not data.endswith(end):
        chunk = await with_timeout(asyncio.get_running_loop().sock_recv(caller, 65536))
        assert chunk, data
        data += chunk
    return data


async def test_a_response_is_written_once_and_reaches_a_caller_that_waits() -> None:
    """`deliver` writes it before the server would, and the server does not write it again."""
    handler = DeliveringHandler()

    async with connect_to(handler.handle) as caller:
        first = await read_until(caller, b"an answer")
        caller.sendall(REQUEST)
        second = await read_until(caller, b"an answer")

    assert handler.is_delivered is True
    assert first.count(b"HTTP/1.1 200") == second.count(b"HTTP/1.1 200") == 1


async def test_a_caller_that_left_before_the_response_is_not_written_to() -> None:
    """The response is known to be undelivered before the event loop notices the end of the connection."""
    entered, has_left = asyncio.Event(), asyncio.Event()
    results: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        entered.set()
        await has_left.wait()
        response = web.Response(text="an answer")
        results.extend([is_connected(request), await deliver(request, response), response.prepared])
        return response

    async with connect_to(handler) as caller:
        await with_timeout(entered.wait())
        caller.close()
        has_left.set()
        while not results:
            await asyncio.sleep(0)

    assert results == [False, False, False]


async def test_a_response_is_undelivered_if_the_caller_leaves_while_it_is_prepared() -> None:
    """This is the last moment at which the bridge can notice it."""
    results: list[bool] = []

    class ResettingResponse(web.Response):
        async def prepare(self, request: web.BaseRequest) -> None:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError

    async def handler(request: web.Request) -> web.StreamResponse:
        results.append(await deliver(request, ResettingResponse(text="an answer")))
        return web.Response()

    async with connect_to(handler):
        while not results:
            await asyncio.sleep(0)

    assert results == [False]


async def test_the_event_loop_learns_of_a_disconnection_after_one_round() -> None:
    """A read is checked without a system call: whatever it waited for, the event loop had a round since then."""
    entered, results = asyncio.Event(), list[bool]()

    async def handler(request: web.Request) -> web.StreamResponse:
        entered.set()
        try:
            results.append(is_open(request))
            while is_open(request):
                await asyncio.sleep(0)
        finally:
            results.append(is_open(request))
        return web.Response()

    async with connect_to(handler) as caller:
        await with_timeout(entered.wait())
        caller.close()
        while len(results) < 2:
            await asyncio.sleep(0)

    assert results == [True, False]


async def test_a_caller_that_waits_is_connected() -> None:
    """A caller that reads slowly is connected too."""
    results: list[bool] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        results.append(is_connected(request))
        return web.Response(text="an answer")

    async with connect_to(handler) as caller:
        await read_until(caller, b"an answer")

    assert results == [True]


async def test_an_unread_response_is_noticed_before_the_loop_notices_the_reset() -> None:
    """The caller's next order may arrive before the loop notices that the last response was lost."""
    handler = DeliveringHandler()

    async with connect_to(handler.handle) as caller:
        await with_timeout(handler.done.wait())
        before = handler.was_reset()
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        caller.close()

        assert (before, handler.was_reset(), handler.reset.is_set()) == (False, True, False)
        await with_timeout(handler.reset.wait())


async def test_a_response_is_delivered_if_the_caller_reads_it_and_closes() -> None:
    """Many clients close their connection after one response."""
    handler = DeliveringHandler()

    async with connect_to(handler.handle) as caller:
        await read_until(caller, b"an answer")
        caller.close()

        assert not handler.was_reset()
    assert not handler.reset.is_set()


async def test_a_caller_that_sends_another_request_has_read_the_response() -> None:
    """A reset after that concerns the second response only."""
    handler, entered, may_answer = DeliveringHandler(), asyncio.Event(), asyncio.Event()

    async def handle_then_wait(request: web.Request) -> web.StreamResponse:
        if handler.done.is_set():
            entered.set()
            await may_answer.wait()
            return web.Response()
        return await handler.handle(request)

    async with connect_to(handle_then_wait) as caller:
        await read_until(caller, b"an answer")
        caller.sendall(REQUEST)
        await with_timeout(entered.wait())
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        caller.close()

        assert not handler.was_reset()
        may_answer.set()
    assert not handler.reset.is_set()
