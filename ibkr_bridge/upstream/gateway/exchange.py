"""One call and its answer, from the first byte out to the last byte in.

An exchange ends with its caller's patience, its connection does not: a late answer is read by work handed to `linger`.
What aiohttp raises becomes our own errors, and `left` is said exactly once: when the Gateway has stopped working on the
call.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine

import aiohttp
from aiohttp import hdrs
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Response
from ibkr_bridge.calls.upstream_port import BeforeSending
from ibkr_bridge.errors import BridgeError, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.upstream.gateway.connection import GatewayConnection
from ibkr_bridge.upstream.gateway.connection_pool import ConnectionPool
from ibkr_bridge.upstream.gateway.cookies import CookieStore

CONNECT_TIMEOUT_S = 5.0  # seconds; loopback takes milliseconds, and the keeper must notice within its probe
BODY_FACTOR = 4  # a whole body may take so many times the deadline of one piece
MAX_HELD_BYTES = 256 * 1024  # bytes; larger answers are passed on as they come
MAX_HELD_BYTES_OF_CHANGE = (
    8 * 1024 * 1024
)  # bytes; the answer to an order is held until it is whole, or it is no answer
PIN_HINT = "its certificate is not the one IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE expects"

Work = Callable[[], Coroutine[None, None, None]]
Detach = Callable[[Work, OnReleased], None]
Head = tuple[RawResponseMessage, StreamReader]


class ConnectionLost(Exception):
    """The connection ended before an answer had come.

    Args:
        silent: not a byte of it had come.
    """

    def __init__(self, *, silent: bool) -> None:
        super().__init__("the Gateway broke off")
        self.before_response = silent


class Exchange:
    """One call on its way.

    Args:
        connections: to the Gateway.
        address: of the Gateway.
        jar: the cookies that go along, and those that come back.
        patience: seconds for the head of the answer, and for each piece of its body.
        left: to be called when the call has left the Gateway.
        linger: takes work that must go on when nobody waits any more.
        late: is told an answer that comes then; None where nobody minds.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        address: URL,
        cookies: CookieStore,
        timeout_s: float,
        on_released: OnReleased,
        detach: Detach,
        on_late_response: OnLateResponse | None = None,
    ) -> None:
        self._connections = connections
        self._address = address
        self._cookies = cookies
        self._timeout_s = timeout_s
        self._on_released = on_released
        self._detach = detach
        self._tell_late = on_late_response

    async def run(self, call: Call, before_sending: BeforeSending) -> Response:
        """Send the call and bring its answer, the body whole or its first 256 KiB.

        Raises:
            GatewayUnreachable, GatewaySilent, GatewayGarbled: see `Upstream.ask`.
            Broken: the connection ended first; whoever sent the call decides what that means.
        """
        connection, raw = await self._open_and_check(call, before_sending)
        try:
            connection.send(raw)
            message, body = await self._read_head_with_deadline(connection)
            return await self._read_body(call, connection, message, body)
        except GatewayTimeout:
            raise  # the connection stays: its late answer is read on
        except BaseException as exc:
            if not isinstance(exc, ConnectionLost):  # which may be sent once more
                self._on_released()
            connection.abort()
            raise

    async def _open_and_check(self, call: Call, before_sending: BeforeSending) -> tuple[GatewayConnection, bytes]:
        """A connection that stands and what goes out on it, after the last look: making one took time, in which much
        can have changed."""
        connection = None if call.is_change else self._connections.idle()
        try:
            raw = serialise(call, self._address.authority, self._cookies.header(self._address, call.target))
            if connection is None:
                connection = await self._connect()
            await before_sending.run(functools.partial(_check_connection, connection))
        except BaseException:  # nothing was sent
            self._on_released()
            if connection is not None:
                connection.abort()
            raise
        return connection, raw

    async def _connect(self) -> GatewayConnection:
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, self._timeout_s)):
                return await self._connect_with_deadline()
        except TimeoutError as exc:
            raise GatewayTimeout("the Gateway takes connections and does not greet") from exc

    async def _connect_with_deadline(self) -> GatewayConnection:
        try:
            return await self._connections.connect()
        except (OSError, aiohttp.ServerFingerprintMismatch) as exc:
            raise _unreachable_error(exc) from exc

    async def _read_head_with_deadline(self, connection: GatewayConnection) -> Head:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._read_head(connection)
        except TimeoutError as exc:
            self._detach(functools.partial(self._read_late, connection), self._on_released)
            raise GatewayTimeout("the Gateway did not answer in time") from exc

    async def _read_late(self, connection: GatewayConnection) -> None:
        """Read an answer that nobody waits for any more, on a connection that is never used again."""
        try:
            message, body = await connection.read_head()
            if self._tell_late is None:
                await drain(body)
            else:
                self._tell_late(Response(message.code, message.headers, await read_limited(body)))
        finally:
            connection.abort()

    async def _read_head(self, connection: GatewayConnection) -> Head:
        try:
            message, body = await connection.read_head()
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            raise ConnectionLost(silent=not connection.response_started) from exc
        except HttpProcessingError as exc:
            raise GatewayProtocolError("the Gateway answered something that is not HTTP") from exc
        if message.code < 200:  # 101, which nobody asked for, and numbers that are none
            raise GatewayProtocolError("the Gateway answered with a status that is none")
        self._cookies.update(message.headers.getall(hdrs.SET_COOKIE, ()), self._address)
        return message, body

    async def _read_body(
        self, call: Call, connection: GatewayConnection, message: RawResponseMessage, body: StreamReader
    ) -> Response:
        body_stream = StreamedBody(connection, body, self._timeout_s, self._on_released, self._detach)
        try:
            beginning = await body_stream.read_start(MAX_HELD_BYTES_OF_CHANGE if call.is_change else MAX_HELD_BYTES)
        except GatewayTimeout:
            body_stream.close()
            raise
        if not body.at_eof():
            return Response(message.code, message.headers, beginning, body_stream)
        self._return_connection(call, connection)
        return Response(message.code, message.headers, beginning)

    def _return_connection(self, call: Call, connection: GatewayConnection) -> None:
        self._on_released()
        if call.is_change:
            connection.abort()
        else:
            self._connections.release(connection)


class StreamedBody:
    """A body as it comes; what nobody wants of it is still read, as the Gateway still sends it.

    Args:
        patience: seconds for each piece.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        body: StreamReader,
        timeout_s: float,
        on_released: OnReleased,
        detach: Detach,
    ) -> None:
        self._connection = connection
        self._body = body
        self._timeout_s = timeout_s
        self._on_released = on_released
        self._detach = detach
        self._closed = False

    async def read_start(self, most: int) -> bytes:
        """The body whole, or as soon as it is longer than `most` bytes what has come of it.

        Raises:
            GatewaySilent, GatewayGarbled: see `Rest.pieces`.
        """
        loop, pieces, size = asyncio.get_running_loop(), [], 0
        until = loop.time() + self._timeout_s * BODY_FACTOR
        while size <= most and not self._body.at_eof():
            pieces.append(await self._next_chunk(until - loop.time()))
            size += len(pieces[-1])
        return b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Rest.pieces`."""
        while chunk := await self._next_chunk(self._timeout_s):
            yield chunk

    async def _next_chunk(self, left: float) -> bytes:
        try:
            if self._body.is_eof():  # all of it is here: there is nothing to wait for
                return await self._body.readany()
            async with asyncio.timeout(min(self._timeout_s, left)):
                return await self._body.readany()
        except TimeoutError as exc:
            raise GatewayTimeout("the Gateway stopped in the middle of its answer") from exc
        except aiohttp.ClientError as exc:
            raise GatewayProtocolError("the Gateway broke off inside its answer") from exc

    def close(self) -> None:
        """See `Rest.close`."""
        if self._closed:
            return
        self._closed = True
        if self._body.at_eof() or self._body.exception() is not None:
            self._connection.abort()
            self._on_released()
        else:
            self._detach(self._drain, self._on_released)

    async def _drain(self) -> None:
        try:
            await drain(self._body)
        finally:
            self._connection.abort()


async def read_limited(body: StreamReader) -> bytes:
    """A body to its end; only the beginning of one that is too long to be an answer to an order."""
    pieces, size = [], 0
    while chunk := await body.readany():
        pieces.append(chunk if size < MAX_HELD_BYTES_OF_CHANGE else b"")
        size += len(chunk)
    return b"".join(pieces)


async def drain(body: StreamReader) -> None:
    """Read a body to its end, for nobody."""
    while await body.readany():
        pass


def serialise(call: Call, host: str, cookies: str) -> bytes:
    """A call as it goes over the wire: the target exactly as it is, and the body's length, which a POST or PUT says
    even where it has none.

    Raises:
        ValueError: a header or the target holds the end of a line; the doors above let none through.
    """
    says_length = call.body or call.method in ("POST", "PUT")
    lines = (
        f"{call.method} {call.target} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in call.headers),
        *((f"Cookie: {cookies}",) if cookies else ()),
        *((f"Content-Length: {len(call.body)}",) if says_length else ()),
    )
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("the end of a line inside a line of a call")
    return text.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + call.body  # cookies go back as they came


def _check_connection(connection: GatewayConnection) -> None:
    """A connection that ended before anything went out on it is as good as none; a call written to it would be lost.

    Raises:
        GatewayUnreachable: it ended.
    """
    if not connection.is_clean:
        raise GatewayUnreachable("the Gateway closed the connection before anything was sent on it")


def _unreachable_error(exc: Exception) -> BridgeError:
    if isinstance(exc, (aiohttp.ServerFingerprintMismatch, ssl.SSLCertVerificationError)):
        return GatewayUnreachable("the Gateway's certificate is not the expected one", hint=PIN_HINT)
    if isinstance(exc, ssl.SSLError):
        hint = "the port answers, but not with TLS; correct IBKR_GATEWAY_URL (https or http, host, port)"
        return GatewayUnreachable("no TLS connection to the Gateway could be made", hint=hint)
    return GatewayUnreachable("nothing listens at the Gateway's address")
