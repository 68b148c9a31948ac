"""One call and its response, from the first byte sent to the last byte received.

An exchange ends with its caller's deadline, its connection does not: a late response is read by work that is passed to
`detach`. Exceptions of aiohttp become errors of the bridge. `on_released` is called exactly once, when the Gateway no
longer works on the call.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
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

CONNECT_TIMEOUT_S = 5.0  # seconds; loopback takes milliseconds, and the keeper must notice a failure within one check
BODY_FACTOR = 4  # a complete body may take this many times the deadline of one chunk
MAX_HELD_BYTES = 256 * 1024  # bytes; larger responses are streamed
MAX_HELD_BYTES_OF_CHANGE = 8 * 1024 * 1024  # bytes; the response to an order is held until it is complete
PIN_HINT = "its certificate is not the one IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE expects"

Work = Callable[[], Coroutine[None, None, None]]
Detach = Callable[[Work, OnReleased], None]
Head = tuple[RawResponseMessage, StreamReader]


class ConnectionLost(Exception):
    """The connection ended before a response had come.

    Args:
        before_response: whether not a single byte of it had come.
    """

    def __init__(self, *, before_response: bool) -> None:
        super().__init__("the Gateway closed the connection")
        self.before_response = before_response


class Exchange:
    """One call and its response.

    Args:
        connections: the pool of connections to the Gateway.
        address: the address of the Gateway.
        cookies: the cookies that are sent, and where new ones are stored.
        timeout_s: seconds for the head of the response, and for each chunk of its body.
        on_released: called when the Gateway no longer works on the call.
        detach: runs work that must go on after the caller's deadline.
        on_late_response: receives a response that comes after the deadline; None if it is not needed.
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
        self._on_late_response = on_late_response

    async def run(self, call: Call, before_sending: BeforeSending) -> Response:
        """Send the call and return its response, with the complete body or its first 256 KiB.

        Raises:
            GatewayUnreachable, GatewayTimeout, GatewayProtocolError: see `Upstream.send`.
            ConnectionLost: the connection ended first; the sender of the call decides what that means.
        """
        connection, raw = await self._open_and_check(call, before_sending)
        try:
            connection.send(raw)
            message, body = await self._read_head_with_deadline(connection)
            return await self._read_body(call, connection, message, body)
        except GatewayTimeout:
            raise  # the connection stays open to read the late response
        except BaseException as exc:
            if not isinstance(exc, ConnectionLost):  # which may be sent once more
                self._on_released()
            connection.abort()
            raise

    async def _open_and_check(self, call: Call, before_sending: BeforeSending) -> tuple[GatewayConnection, bytes]:
        """Open a connection, run the preconditions, and return the connection and the bytes to send.

        Preconditions run after connecting, as much can have changed in that time.
        """
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
            raise GatewayTimeout("the Gateway accepts connections but does not complete the TLS handshake") from exc

    async def _connect_with_deadline(self) -> GatewayConnection:
        try:
            return await self._connections.connect()
        except (OSError, aiohttp.ServerFingerprintMismatch) as exc:
            raise _unreachable_error(exc) from exc

    async def _read_head_with_deadline(self, connection: GatewayConnection) -> Head:
        try:
            return await self._read_head(connection)
        except TimeoutError as exc:
            self._detach(functools.partial(self._read_late, connection), self._on_released)
            raise GatewayTimeout("the Gateway did not answer in time") from exc

    async def _read_late(self, connection: GatewayConnection) -> None:
        """Read a late response, on a connection that is never used again."""
        try:
            message, body = await connection.read_head()
            if self._on_late_response is None:
                await drain(body)
            else:
                self._on_late_response(Response(message.code, message.headers, await read_limited(body)))
        finally:
            connection.abort()

    async def _read_head(self, connection: GatewayConnection) -> Head:
        try:
            message, body = await connection.read_head(self._timeout_s)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            raise ConnectionLost(before_response=not connection.response_started) from exc
        except HttpProcessingError as exc:
            raise GatewayProtocolError("the Gateway answered something that is not HTTP") from exc
        if message.code < 200:  # 101, which was not requested, and invalid numbers
            raise GatewayProtocolError("the Gateway answered with an invalid status")
        self._cookies.update(message.headers.getall(hdrs.SET_COOKIE, ()), self._address)
        return message, body

    async def _read_body(
        self, call: Call, connection: GatewayConnection, message: RawResponseMessage, body: StreamReader
    ) -> Response:
        body_stream = StreamedBody(connection, body, self._timeout_s, self._on_released, self._detach)
        try:
            start = await body_stream.read_start(MAX_HELD_BYTES_OF_CHANGE if call.is_change else MAX_HELD_BYTES)
        except GatewayTimeout:
            body_stream.close()
            raise
        if not body.at_eof():
            return Response(message.code, message.headers, start, body_stream)
        self._return_connection(call, connection)
        return Response(message.code, message.headers, start)

    def _return_connection(self, call: Call, connection: GatewayConnection) -> None:
        self._on_released()
        if call.is_change:
            connection.abort()
        else:
            self._connections.release(connection)


class StreamedBody:
    """A body that is read as it arrives; the unwanted rest is still read, as the Gateway still sends it.

    Args:
        timeout_s: seconds for each chunk.
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

    async def read_start(self, max_bytes: int) -> bytes:
        """Read the complete body, or its beginning once that is longer than `max_bytes`.

        Raises:
            GatewayTimeout, GatewayProtocolError: see `BodyStream.chunks`.
        """
        if self._body.is_eof() and self._body.exception() is None:
            return self._body.read_nowait()  # most bodies have arrived with their head, and are small
        chunks, size = [], 0
        deadline = time.monotonic() + self._timeout_s * BODY_FACTOR
        while size <= max_bytes and not self._body.at_eof():
            chunks.append(await self._next_chunk(deadline - time.monotonic()))
            size += len(chunks[-1])
        return b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `BodyStream.chunks`."""
        while chunk := await self._next_chunk(self._timeout_s):
            yield chunk

    async def _next_chunk(self, remaining_s: float) -> bytes:
        try:
            if self._body.is_eof():  # it has arrived completely: there is nothing to wait for
                return await self._body.readany()
            async with asyncio.timeout(min(self._timeout_s, remaining_s)):
                return await self._body.readany()
        except TimeoutError as exc:
            raise GatewayTimeout("the Gateway stopped in the middle of its response") from exc
        except aiohttp.ClientError as exc:
            raise GatewayProtocolError("the Gateway closed the connection in the middle of its response") from exc

    def close(self) -> None:
        """See `BodyStream.close`."""
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
    """Read a body to its end; of one that is too long for a response to an order, return only the beginning."""
    chunks, size = [], 0
    while chunk := await body.readany():
        chunks.append(chunk if size < MAX_HELD_BYTES_OF_CHANGE else b"")
        size += len(chunk)
    return b"".join(chunks)


async def drain(body: StreamReader) -> None:
    """Read a body to its end and discard it."""
    while await body.readany():
        pass


def serialise(call: Call, host: str, cookies: str) -> bytes:
    """The bytes of a call: the target unchanged, and Content-Length, which a POST or PUT has even without a body.

    Raises:
        ValueError: a header or the target contains a line break; the checks of the server let none through.
    """
    has_length = call.body or call.method in ("POST", "PUT")
    lines = (
        f"{call.method} {call.target} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in call.headers),
        *((f"Cookie: {cookies}",) if cookies else ()),
        *((f"Content-Length: {len(call.body)}",) if has_length else ()),
    )
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("header or path contains a line break")
    return text.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + call.body  # cookies are returned byte for byte


def _check_connection(connection: GatewayConnection) -> None:
    """Check that the connection is still open; a call written to a closed one would be lost.

    Raises:
        GatewayUnreachable: it has ended.
    """
    if not connection.is_clean:
        raise GatewayUnreachable("the Gateway closed the connection before anything was sent")


def _unreachable_error(exc: Exception) -> BridgeError:
    if isinstance(exc, (aiohttp.ServerFingerprintMismatch, ssl.SSLCertVerificationError)):
        return GatewayUnreachable("the Gateway's certificate is not the expected one", hint=PIN_HINT)
    if isinstance(exc, ssl.SSLError):
        hint = "the port does not use TLS; correct IBKR_GATEWAY_URL (https or http, host, port)"
        return GatewayUnreachable("no TLS connection to the Gateway could be made", hint=hint)
    return GatewayUnreachable("nothing listens at the Gateway's address")
