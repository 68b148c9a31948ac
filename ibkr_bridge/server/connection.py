"""The connection of one caller, and the limit of all connections.

aiohttp's server has no deadline for the head of a request. It limits each line of a head, but not the head as a whole.
It limits neither the bytes that are pipelined behind a head nor the number of connections. It answers malformed bytes
with a page and a traceback that repeat them, the key included. A subclass of its protocol corrects all of that. The
subclass uses private parts of aiohttp, so the version is pinned. `tests/server/test_connection.py` checks those parts.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import chain
from typing import Any

from aiohttp import StreamReader, hdrs, web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from ibkr_bridge import events
from ibkr_bridge.calls.messages import noop
from ibkr_bridge.server.peer_socket import is_reset, unread_bytes
from ibkr_bridge.server.unread_replies import CHECK_INTERVAL_S, Unread, UnreadReplies

HEAD_TIMEOUT_S = 5.0  # seconds from a request's first byte, or from the connection, to the end of its head
KEEPALIVE_TIMEOUT_S = 75.0  # how long an idle connection is kept; longer than common clients keep theirs
KEEPALIVE_HINT_S = 70.0
"""What the Keep-Alive header says: clients close first, so that no request arrives while the bridge closes."""
LINGER_TIMEOUT_S = 1.0  # how long the rest of a refused body is read, so that the refusal arrives
MAX_CONNECTIONS = 512
PENDING_HEADS_TIMEOUT_S = 1.0  # how long a stopping bridge waits for incomplete request heads
ACCEPT_DELAY_S = 0.02  # time for connections that were accepted a moment ago to be counted
MAX_LINE_BYTES = 65536  # longer targets than 4000 bytes are refused by `check_target`, with a problem+json
MAX_HEAD_BYTES = 32 * 1024  # request line and headers together; those of browsers with many cookies have half of it
SMALL_READ_BYTES = 8 * 1024
"""A head that comes in one such piece, or in the last two around a body's end, needs no measuring."""
MAX_PIPELINED_BYTES = 64 * 1024  # read behind a request that is not answered yet; then the socket is not read
READ_BYTES = 64 * 1024
"""Read from the socket at a time, a quarter of asyncio's size: so much may come in one piece whatever the limits."""
HEAD_TOO_LARGE = 431
SEND_BUFFER_BYTES = 128 * 1024
"""Of the kernel for one connection, which doubles it. By default it may grow to 4 MiB, whether the client reads or
not."""

SERVER_NAME = "ibkr-bridge"  # the default would be aiohttp and Python with their versions

_SILENT = logging.getLogger("ibkr_bridge.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class HeadTooLarge(Exception):
    """Request line and headers have more than 32 KiB."""


class ConnectionLimiter:
    """Counts connections, and closes one at the limit.

    Args:
        bus: where the events go.
        limit: how many connections may be open.
        unread: how long replies may stay unread, and how many bytes of them there may be.
        now: returns monotonic seconds.
    """

    def __init__(
        self,
        bus: events.Bus,
        limit: int = MAX_CONNECTIONS,
        unread: UnreadReplies[ClientConnection] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._limit = limit
        self._now = now
        self._connections: dict[ClientConnection, None] = {}  # oldest first
        self._unread: UnreadReplies[ClientConnection] = unread or UnreadReplies()
        self._unread_timer: asyncio.TimerHandle | None = None
        self.head_received = asyncio.Event()
        """Set whenever a request head is complete, or a connection has closed."""
        self.on_closed: Callable[[], None] = noop
        """Called when a connection has closed, and its requests count as disconnected."""

    def __repr__(self) -> str:
        return f"<ConnectionLimiter {len(self._connections)}/{self._limit} connections>"

    @property
    def connections(self) -> tuple[ClientConnection, ...]:
        """The connections, oldest first."""
        return tuple(self._connections)

    async def wait_for_pending_heads(self) -> None:
        """Wait up to 1 s for connections that have not yet sent a complete request head.

        Requests on connections accepted before the listener closed are still served.
        """
        await asyncio.sleep(ACCEPT_DELAY_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(PENDING_HEADS_TIMEOUT_S):
                while any(connection.head_pending for connection in self._connections):
                    self.head_received.clear()
                    await self.head_received.wait()

    def add(self, connection: ClientConnection) -> None:
        """Add a connection; at the limit close the oldest without a complete request, or else the new one."""
        self._connections[connection] = None
        if self._unread_timer is None:
            self._start_unread_timer()
        if len(self._connections) <= self._limit:
            return
        self._bus.publish(events.ConnectionLimitReached(self._limit))
        next((each for each in self._connections if each.is_idle), connection).abort()

    def remove(self, connection: ClientConnection) -> None:
        """Remove a connection."""
        self._connections.pop(connection, None)

    def _start_unread_timer(self) -> None:
        self._unread_timer = asyncio.get_running_loop().call_later(CHECK_INTERVAL_S, self._on_unread_timer)

    def _on_unread_timer(self) -> None:
        self._unread_timer = None
        self.close_unread()
        if self._connections:
            self._start_unread_timer()

    def close_unread(self) -> None:
        """Close connections whose clients do not read. Streams have their own rule; see `Subscriber.is_stuck`."""
        unread = {each: each.unread for each in self._connections if not each.is_stream}
        for connection in self._unread.to_close(unread, self._now()):
            self._bus.publish(events.ReplyUnread(unread[connection].bytes))
            connection.abort()

    def on_malformed(self, problem: str) -> None:
        """Publish that bytes were not HTTP."""
        self._bus.publish(events.RequestMalformed(problem))


class ClientConnection(RequestHandler):
    """One caller's connection."""

    def __init__(
        self, server: web.Server, limiter: ConnectionLimiter, loop: asyncio.AbstractEventLoop, **limits: float
    ) -> None:
        self._head_timeout_s = limits.pop("head_timeout_s", HEAD_TIMEOUT_S)
        options: dict[str, Any] = {
            "keepalive_timeout": limits.pop("keepalive_timeout_s", KEEPALIVE_TIMEOUT_S),
            "logger": _SILENT,
            "access_log": None,
            "max_line_size": MAX_LINE_BYTES,
            "lingering_time": LINGER_TIMEOUT_S,
            "read_bufsize": READ_BYTES,
            "auto_decompress": False,  # aiohttp unpacks while it reads, before any check; see `check_coding`
        }
        super().__init__(server, loop=loop, **options)
        self._limiter = limiter
        self._msg_queue_resume_size = 0  # aiohttp reads again when half its queue is left
        self._head_timer: asyncio.TimerHandle | None = None
        self._open_transport: asyncio.Transport | None = None  # aiohttp forgets its own when it begins to close
        self._head_bytes = 0  # of the head that is not complete
        self._may_have_large_head = False
        self._pipelined_bytes = 0
        self._latest_body: StreamReader | None = None  # of the request whose head was read last
        self._is_head_refused = False
        self._drained = 0  # how often the transport had room again
        self.on_writable: Callable[[], None] | None = None
        """Called when the connection can accept data again."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection has ended."""
        self.on_reset: Callable[[], None] | None = None
        """Called if the client closes the connection without having read the last response."""

    @property
    def is_idle(self) -> bool:
        """Whether no complete request is being handled on it."""
        request = self._current_request
        return request is None or not request.content.is_eof()

    @property
    def head_pending(self) -> bool:
        """Whether a request head is incomplete, or the first one has not begun."""
        return self._head_timer is not None

    @property
    def is_stream(self) -> bool:
        """Whether it serves a stream at the moment."""
        return self.on_writable is not None

    @property
    def unread(self) -> Unread:
        """What its client has not read."""
        transport = self._open_transport
        return Unread(unread_bytes(transport) if transport is not None else 0, self._drained)

    def abort(self) -> None:
        """Close at once, also if it is closing and waits for its client to read."""
        if self._open_transport is not None:
            self._open_transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; the time for its first head begins."""
        super().connection_made(transport)
        self._open_transport = self.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # of asyncio's transports
        self._start_head_timer()
        self._limiter.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended."""
        self._open_transport = None
        self._on_head()
        if exc is not None:
            self._report_reset()
        if self.on_lost is not None:
            self.on_lost()
        self._limiter.remove(self)
        super().connection_lost(exc)
        self._limiter.on_closed()

    @property
    def is_writable(self) -> bool:
        """Whether it is open and can accept data now."""
        return self.transport is not None and not self.transport.is_closing() and not self._paused

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to: perhaps the budget of all is used up."""
        super().pause_writing()
        self._limiter.close_unread()

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        super().resume_writing()
        self._drained += 1
        if self.on_writable is not None:
            self.on_writable()

    def eof_received(self) -> None:
        """The client has closed its side. If a response reached it after that, the socket has an error by now."""
        if self.transport is not None and is_reset(self.transport):
            self._report_reset()
        super().eof_received()

    def _report_reset(self) -> None:
        if self.on_reset is not None:
            self.on_reset()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, and limit the time and size of a head, and what comes behind a request."""
        self.on_reset = None
        if self._is_head_refused:
            return
        heads, is_body = self._request_count, self._latest_body is not None and not self._latest_body.is_eof()
        is_behind = self._waiter is None and (bool(self._messages) or not is_body)
        super().data_received(data)
        self._may_have_large_head |= len(data) > SMALL_READ_BYTES
        if self._upgraded:  # what follows is no HTTP, or is read as requests if the upgrade is declined
            self._may_have_large_head = True
            self._on_head()
            return
        if self._request_count > heads:
            self._latest_body = self._messages[-1][1]
            self._on_head()
        elif not is_body:
            self._on_part_of_head(len(data))
        if is_behind:
            self._on_pipelined(len(data))

    def _on_part_of_head(self, count: int) -> None:
        self._may_have_large_head = True
        self._head_bytes += count
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._head_timer is None and self._waiter is not None:
            self._start_head_timer()  # these are the first bytes of the next request on this connection

    def _refuse_head(self) -> None:
        """Answer an incomplete head after the requests before it, and drop what follows.

        To aiohttp the rest looks like the body of a refused request: it is read for a second, so that the answer
        arrives.
        """
        self._on_head()
        self._is_head_refused = True
        self._messages.append((_head_too_large(), StreamReader(self, READ_BYTES, loop=self._loop)))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_pipelined(self, count: int) -> None:
        """The client sends requests and does not wait for responses: stop reading until its requests are handled."""
        self._pipelined_bytes += count
        if self._pipelined_bytes > MAX_PIPELINED_BYTES and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _resume_reading_if_drained(self) -> None:
        self._pipelined_bytes = 0
        super()._resume_reading_if_drained()

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        if self._may_have_large_head and _head_size(request) > MAX_HEAD_BYTES:
            request_handler = self._make_error_handler(_head_too_large())
        return await super()._handle_request(request, start_time, request_handler)

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(self._head_timeout_s, self._on_head_timeout)

    def _on_head(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
            self._limiter.head_received.set()

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        self._limiter.on_malformed("the head of a request did not come in time")
        self.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A response without a body and one event, instead of a page and a traceback that repeat what was sent."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionResetError("the connection has ended")
        self._limiter.on_malformed(type(exc).__name__ if exc else "unknown")
        response = web.Response(status=status, headers={hdrs.SERVER: SERVER_NAME})
        response.force_close()
        return response


def _head_size(request: web.BaseRequest) -> int:
    """The size of a head in bytes, without the spaces that its lines may have."""
    texts = sum(map(len, chain.from_iterable(request.raw_headers)))
    return len(request.method) + len(request.raw_path) + texts + len(": \r\n") * len(request.raw_headers)


def _head_too_large() -> _ErrInfo:
    return _ErrInfo(HEAD_TOO_LARGE, HeadTooLarge(), "")


class ControlConnection(ClientConnection):
    """A connection to the control socket, a file that only the bridge's user can open: it needs no key."""
