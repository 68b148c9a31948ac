"""One call and its response, from the first byte sent to the last byte received.

An exchange ends with its caller's deadline, its connection does not: a late response is read by work that is passed to
`detach`. Exceptions of aiohttp become errors of the bridge, in the words of the server. `on_released` is called exactly
once, when the server no longer works on the call.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine

import aiohttp
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Response
from ibkr_bridge.calls.upstream_port import BeforeSending
from ibkr_bridge.errors import BridgeError, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.upstream.http.connection import HttpConnection
from ibkr_bridge.upstream.http.connection_pool import ConnectionPool
from ibkr_bridge.upstream.http.far_side import RequestWriter, Wording

CONNECT_TIMEOUT_S = 5.0  # seconds; loopback takes milliseconds, and the keeper must notice a failure within one check
BODY_FACTOR = 4  # a complete body may take this many times the deadline of one chunk
MAX_HELD_BYTES = 256 * 1024  # bytes; larger responses are streamed
MAX_HELD_BYTES_OF_CHANGE = 8 * 1024 * 1024  # bytes; the response to an order is held until it is complete

Work = Callable[[], Coroutine[None, None, None]]
Detach = Callable[[Work, OnReleased], None]
Head = tuple[RawResponseMessage, StreamReader]


class ConnectionLost(Exception):
    """The connection ended before a response had come.

    Args:
        before_response: whether not a single byte of it had come.
    """

    def __init__(self, *, before_response: bool) -> None:
        super().__init__("the server closed the connection")
        self.before_response = before_response


class Exchange:
    """One call and its response.

    Args:
        connections: the pool of connections to the server.
        writer: makes the bytes of the call.
        wording: how errors name the server.
        timeout_s: seconds for the head of the response, and for each chunk of its body.
        on_released: called when the server no longer works on the call.
        detach: runs work that must go on after the caller's deadline.
        on_late_response: receives a response that comes after the deadline; None if it is not needed.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        writer: RequestWriter,
        wording: Wording,
        timeout_s: float,
        on_released: OnReleased,
        detach: Detach,
        on_late_response: OnLateResponse | None = None,
    ) -> None:
        self._connections = connections
        self._writer = writer
        self._wording = wording
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
        connection, write = await self._open_and_check(call, before_sending)
        try:
            connection.send(write())
            message, body = await self._read_head_with_deadline(connection)
            return await self._read_body(call, connection, message, body)
        except GatewayTimeout:
            raise  # the connection stays open to read the late response
        except BaseException as exc:
            if not isinstance(exc, ConnectionLost):  # which may be sent once more
                self._on_released()
            connection.abort()
            raise

    async def _open_and_check(
        self, call: Call, before_sending: BeforeSending
    ) -> tuple[HttpConnection, Callable[[], bytes]]:
        """Open a connection, run the preconditions, and return the connection and what makes the bytes to send.

        Preconditions run after connecting, as much can have changed in that time.
        """
        connection = None if call.is_change else self._connections.idle()
        try:
            write = self._writer.prepare(call)
            if connection is None:
                connection = await self._connect()
            await before_sending.run(functools.partial(self._check_connection, connection))
        except BaseException:  # nothing was sent
            self._on_released()
            if connection is not None:
                connection.abort()
            raise
        return connection, write

    def _check_connection(self, connection: HttpConnection) -> None:
        """Check that the connection is still open; a call written to a closed one would be lost.

        Raises:
            GatewayUnreachable: it has ended.
        """
        if not connection.is_clean:
            detail = "{name} closed the connection before anything was sent"
            raise self._wording.error(GatewayUnreachable, detail)

    async def _connect(self) -> HttpConnection:
        try:
            async with asyncio.timeout(min(CONNECT_TIMEOUT_S, self._timeout_s)):
                return await self._connect_with_deadline()
        except TimeoutError as exc:
            detail = "{name} accepts connections but does not complete the TLS handshake"
            raise self._wording.error(GatewayTimeout, detail) from exc

    async def _connect_with_deadline(self) -> HttpConnection:
        try:
            return await self._connections.connect()
        except (OSError, aiohttp.ServerFingerprintMismatch) as exc:
            raise unreachable_error(self._wording, exc) from exc

    async def _read_head_with_deadline(self, connection: HttpConnection) -> Head:
        try:
            return await self._read_head(connection)
        except TimeoutError as exc:
            self._detach(functools.partial(self._read_late, connection), self._on_released)
            raise self._wording.error(GatewayTimeout, "{name} did not answer in time") from exc

    async def _read_late(self, connection: HttpConnection) -> None:
        """Read a late response, on a connection that is never used again."""
        try:
            message, body = await connection.read_head()
            if self._on_late_response is None:
                await drain(body)
            else:
                self._on_late_response(Response(message.code, message.headers, await read_limited(body)))
        finally:
            connection.abort()

    async def _read_head(self, connection: HttpConnection) -> Head:
        try:
            message, body = await connection.read_head(self._timeout_s)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            raise ConnectionLost(before_response=not connection.response_started) from exc
        except HttpProcessingError as exc:
            detail = "{name} answered something that is not HTTP"
            raise self._wording.error(GatewayProtocolError, detail) from exc
        if message.code < 200:  # 101, which was not requested, and invalid numbers
            raise self._wording.error(GatewayProtocolError, "{name} answered with an invalid status")
        self._writer.observe(message.headers)
        return message, body

    async def _read_body(
        self, call: Call, connection: HttpConnection, message: RawResponseMessage, body: StreamReader
    ) -> Response:
        body_stream = StreamedBody(connection, body, self._wording, self._timeout_s, self._on_released, self._detach)
        try:
            start = await body_stream.read_start(MAX_HELD_BYTES_OF_CHANGE if call.is_change else MAX_HELD_BYTES)
        except GatewayTimeout:
            body_stream.close()
            raise
        if not body.at_eof():
            return Response(message.code, message.headers, start, body_stream)
        self._return_connection(call, connection)
        return Response(message.code, message.headers, start)

    def _return_connection(self, call: Call, connection: HttpConnection) -> None:
        self._on_released()
        if call.is_change:
            connection.abort()
        else:
            self._connections.release(connection)


class StreamedBody:
    """A body that is read as it arrives; the unwanted rest is still read, as the server still sends it.

    Args:
        timeout_s: seconds for each chunk.
    """

    def __init__(
        self,
        connection: HttpConnection,
        body: StreamReader,
        wording: Wording,
        timeout_s: float,
        on_released: OnReleased,
        detach: Detach,
    ) -> None:
        self._connection = connection
        self._body = body
        self._wording = wording
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
            raise self._wording.error(GatewayTimeout, "{name} stopped in the middle of its response") from exc
        except aiohttp.ClientError as exc:
            detail = "{name} closed the connection in the middle of its response"
            raise self._wording.error(GatewayProtocolError, detail) from exc

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


def unreachable_error(wording: Wording, exc: Exception) -> BridgeError:
    """The error for a connection that could not be opened."""
    if isinstance(exc, (aiohttp.ServerFingerprintMismatch, ssl.SSLCertVerificationError)):
        detail, hint = "{name}'s certificate is not the expected one", wording.certificate_hint
    elif isinstance(exc, ssl.SSLError):
        detail, hint = "no TLS connection to {name} could be made", wording.no_tls_hint
    else:
        return wording.error(GatewayUnreachable, "nothing listens at {name}'s address")
    return wording.error(GatewayUnreachable, detail, hint)
