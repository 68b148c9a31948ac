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

from ibkr_bridge.calls.messages import Answer, Call, LastLook, Late, Left
from ibkr_bridge.errors import BridgeError, GatewayGarbled, GatewaySilent, GatewayUnreachable
from ibkr_bridge.upstream.gateway.connection import GatewayProtocol
from ibkr_bridge.upstream.gateway.connection_pool import Connections
from ibkr_bridge.upstream.gateway.cookies import Jar

CONNECT_WITHIN = 5.0  # seconds; loopback takes milliseconds, and the keeper must notice within its probe
BODY_FACTOR = 4  # a whole body may take so many times the deadline of one piece
KEEP = 256 * 1024  # bytes; larger answers are passed on as they come
KEEP_OF_CHANGES = 8 * 1024 * 1024  # bytes; the answer to an order is held until it is whole, or it is no answer
PIN_HINT = "its certificate is not the one IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE expects"

Work = Callable[[], Coroutine[None, None, None]]
Linger = Callable[[Work, Left], None]
Head = tuple[RawResponseMessage, StreamReader]


class Broken(Exception):
    """The connection ended before an answer had come.

    Args:
        silent: not a byte of it had come.
    """

    def __init__(self, *, silent: bool) -> None:
        super().__init__("the Gateway broke off")
        self.silent = silent


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
        connections: Connections,
        address: URL,
        jar: Jar,
        patience: float,
        left: Left,
        linger: Linger,
        late: Late | None = None,
    ) -> None:
        self._connections = connections
        self._address = address
        self._jar = jar
        self._patience = patience
        self._left = left
        self._linger = linger
        self._tell_late = late

    async def run(self, call: Call, last_look: LastLook) -> Answer:
        """Send the call and bring its answer, the body whole or its first 256 KiB.

        Raises:
            GatewayUnreachable, GatewaySilent, GatewayGarbled: see `Upstream.ask`.
            Broken: the connection ended first; whoever sent the call decides what that means.
        """
        connection, raw = await self._prepared(call, last_look)
        try:
            connection.send(raw)
            message, body = await self._in_time(connection)
            return await self._collect(call, connection, message, body)
        except GatewaySilent:
            raise  # the connection stays: its late answer is read on
        except BaseException as exc:
            if not isinstance(exc, Broken):  # which may be sent once more
                self._left()
            connection.abort()
            raise

    async def _prepared(self, call: Call, last_look: LastLook) -> tuple[GatewayProtocol, bytes]:
        """A connection that stands and what goes out on it, after the last look: making one took time, in which much
        can have changed."""
        connection = None if call.changes else self._connections.rested()
        try:
            raw = written(call, self._address.authority, self._jar.header(self._address, call.target))
            if connection is None:
                connection = await self._fresh()
            await last_look(functools.partial(_check_connection, connection))
        except BaseException:  # nothing was sent
            self._left()
            if connection is not None:
                connection.abort()
            raise
        return connection, raw

    async def _fresh(self) -> GatewayProtocol:
        try:
            async with asyncio.timeout(min(CONNECT_WITHIN, self._patience)):
                return await self._made()
        except TimeoutError as exc:
            raise GatewaySilent("the Gateway takes connections and does not greet") from exc

    async def _made(self) -> GatewayProtocol:
        try:
            return await self._connections.made()
        except (OSError, aiohttp.ServerFingerprintMismatch) as exc:
            raise _unreachable(exc) from exc

    async def _in_time(self, connection: GatewayProtocol) -> Head:
        try:
            async with asyncio.timeout(self._patience):
                return await self._headed(connection)
        except TimeoutError as exc:
            self._linger(functools.partial(self._late, connection), self._left)
            raise GatewaySilent("the Gateway did not answer in time") from exc

    async def _late(self, connection: GatewayProtocol) -> None:
        """Read an answer that nobody waits for any more, on a connection that is never used again."""
        try:
            message, body = await connection.answered()
            if self._tell_late is None:
                await read_on(body)
            else:
                self._tell_late(Answer(message.code, message.headers, await read_short(body)))
        finally:
            connection.abort()

    async def _headed(self, connection: GatewayProtocol) -> Head:
        try:
            message, body = await connection.answered()
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            raise Broken(silent=not connection.heard) from exc
        except HttpProcessingError as exc:
            raise GatewayGarbled("the Gateway answered something that is not HTTP") from exc
        if message.code < 200:  # 101, which nobody asked for, and numbers that are none
            raise GatewayGarbled("the Gateway answered with a status that is none")
        self._jar.took(message.headers.getall(hdrs.SET_COOKIE, ()), self._address)
        return message, body

    async def _collect(
        self, call: Call, connection: GatewayProtocol, message: RawResponseMessage, body: StreamReader
    ) -> Answer:
        rest = LargeBody(connection, body, self._patience, self._left, self._linger)
        try:
            beginning = await rest.beginning(KEEP_OF_CHANGES if call.changes else KEEP)
        except GatewaySilent:
            rest.close()
            raise
        if not body.at_eof():
            return Answer(message.code, message.headers, beginning, rest)
        self._done(call, connection)
        return Answer(message.code, message.headers, beginning)

    def _done(self, call: Call, connection: GatewayProtocol) -> None:
        self._left()
        if call.changes:
            connection.abort()
        else:
            self._connections.give_back(connection)


class LargeBody:
    """A body as it comes; what nobody wants of it is still read, as the Gateway still sends it.

    Args:
        patience: seconds for each piece.
    """

    def __init__(
        self, connection: GatewayProtocol, body: StreamReader, patience: float, left: Left, linger: Linger
    ) -> None:
        self._connection = connection
        self._body = body
        self._patience = patience
        self._left = left
        self._linger = linger
        self._closed = False

    async def beginning(self, most: int) -> bytes:
        """The body whole, or as soon as it is longer than `most` bytes what has come of it.

        Raises:
            GatewaySilent, GatewayGarbled: see `Rest.pieces`.
        """
        loop, pieces, size = asyncio.get_running_loop(), [], 0
        until = loop.time() + self._patience * BODY_FACTOR
        while size <= most and not self._body.at_eof():
            pieces.append(await self._piece(until - loop.time()))
            size += len(pieces[-1])
        return b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """See `Rest.pieces`."""
        while piece := await self._piece(self._patience):
            yield piece

    async def _piece(self, left: float) -> bytes:
        try:
            if self._body.is_eof():  # all of it is here: there is nothing to wait for
                return await self._body.readany()
            async with asyncio.timeout(min(self._patience, left)):
                return await self._body.readany()
        except TimeoutError as exc:
            raise GatewaySilent("the Gateway stopped in the middle of its answer") from exc
        except aiohttp.ClientError as exc:
            raise GatewayGarbled("the Gateway broke off inside its answer") from exc

    def close(self) -> None:
        """See `Rest.close`."""
        if self._closed:
            return
        self._closed = True
        if self._body.at_eof() or self._body.exception() is not None:
            self._connection.abort()
            self._left()
        else:
            self._linger(self._read_on, self._left)

    async def _read_on(self) -> None:
        try:
            await read_on(self._body)
        finally:
            self._connection.abort()


async def read_short(body: StreamReader) -> bytes:
    """A body to its end; only the beginning of one that is too long to be an answer to an order."""
    pieces, size = [], 0
    while piece := await body.readany():
        pieces.append(piece if size < KEEP_OF_CHANGES else b"")
        size += len(piece)
    return b"".join(pieces)


async def read_on(body: StreamReader) -> None:
    """Read a body to its end, for nobody."""
    while await body.readany():
        pass


def written(call: Call, host: str, cookies: str) -> bytes:
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


def _check_connection(connection: GatewayProtocol) -> None:
    """A connection that ended before anything went out on it is as good as none; a call written to it would be lost.

    Raises:
        GatewayUnreachable: it ended.
    """
    if not connection.is_clean:
        raise GatewayUnreachable("the Gateway closed the connection before anything was sent on it")


def _unreachable(exc: Exception) -> BridgeError:
    if isinstance(exc, (aiohttp.ServerFingerprintMismatch, ssl.SSLCertVerificationError)):
        return GatewayUnreachable("the Gateway's certificate is not the expected one", hint=PIN_HINT)
    if isinstance(exc, ssl.SSLError):
        hint = "the port answers, but not with TLS; correct IBKR_GATEWAY_URL (https or http, host, port)"
        return GatewayUnreachable("no TLS connection to the Gateway could be made", hint=hint)
    return GatewayUnreachable("nothing listens at the Gateway's address")
