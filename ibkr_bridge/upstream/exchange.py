"""One call and its answer, from the first byte out to the last byte in.

An exchange runs in a task of its own, so that it can outlive its caller's patience. It translates what aiohttp raises
into our own errors, and says `left` exactly once: when the Gateway has stopped working on the call.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Coroutine

import aiohttp
from aiohttp import hdrs
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from ibkr_bridge.errors import BridgeError, GatewayGarbled, GatewaySilent, GatewayUnreachable
from ibkr_bridge.upstream.base import Answer, Call, Left
from ibkr_bridge.upstream.connections import Connections
from ibkr_bridge.upstream.jar import Jar
from ibkr_bridge.upstream.wire import GatewayProtocol, Wire

KEEP = 256 * 1024  # bytes; larger answers are passed on as they come
KEEP_OF_CHANGES = 8 * 1024 * 1024  # bytes; the answer to an order is held until it is whole, or it is no answer
PIN_HINT = "its certificate is not the one IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE expects"

Work = Callable[[], Coroutine[None, None, None]]
Linger = Callable[[Work, Left], None]


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
        wire: how far the call has come.
        left: to be called when it has left the Gateway.
        linger: takes work that must go on when nobody waits any more.
    """

    def __init__(
        self, connections: Connections, address: URL, jar: Jar, wire: Wire, left: Left, linger: Linger
    ) -> None:
        self._connections = connections
        self._address = address
        self._jar = jar
        self._wire = wire
        self._left = left
        self._linger = linger

    async def run(self, call: Call) -> Answer:
        """Send the call and bring its answer, the body whole or its first 256 KiB.

        Raises:
            GatewayUnreachable, GatewayGarbled: see `Upstream.ask`.
            Broken: the connection ended first; whoever sent the call decides what that means.
        """
        connection = await self._connected(call)
        try:
            cookies = self._jar.header(self._address, call.target)
            connection.send(self._wire, written(call, self._address.authority, cookies))
            message, body = await self._headed(connection)
            return await self._collect(call, connection, message, body)
        except BaseException:
            connection.abort()
            raise

    async def _connected(self, call: Call) -> GatewayProtocol:
        """A connection that stands, after the last look."""
        try:
            connection = await self._connections.take(alone=call.changes)
        except (OSError, aiohttp.ServerFingerprintMismatch) as exc:
            self._left()
            raise _unreachable(exc) from exc
        try:
            self._wire.attach(connection)
        except Exception:  # the last look stopped it: nothing was sent
            self._left()
            connection.abort()
            raise
        return connection

    async def _headed(self, connection: GatewayProtocol) -> tuple[RawResponseMessage, StreamReader]:
        try:
            message, body = await connection.answered()
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
            raise Broken(silent=not self._wire.heard) from exc
        except HttpProcessingError as exc:
            self._left()
            raise GatewayGarbled("the Gateway answered something that is not HTTP") from exc
        self._wire.headed()
        if message.code < 200:  # 101, which nobody asked for, and numbers that are none
            self._left()
            raise GatewayGarbled("the Gateway answered with a status that is none")
        return message, body

    async def _collect(
        self, call: Call, connection: GatewayProtocol, message: RawResponseMessage, body: StreamReader
    ) -> Answer:
        self._jar.took(message.headers.getall(hdrs.SET_COOKIE, ()), self._address)
        keep, size, pieces = KEEP_OF_CHANGES if call.changes else KEEP, 0, []
        try:
            while size <= keep and (piece := await body.readany()):
                pieces.append(piece)
                size += len(piece)
                self._wire.moved()
        except aiohttp.ClientError as exc:
            self._left()
            raise GatewayGarbled("the Gateway broke off inside its answer") from exc
        rest = None
        if body.at_eof():
            self._done(call, connection)
        else:
            rest = LargeBody(connection, body, self._wire, self._left, self._linger)
        return Answer(message.code, message.headers, b"".join(pieces), rest)

    def _done(self, call: Call, connection: GatewayProtocol) -> None:
        self._left()
        if call.changes:
            connection.abort()
        else:
            self._connections.give_back(connection)


class LargeBody:
    """The rest of a large answer; what nobody wants of it is still read, as the Gateway still sends it."""

    def __init__(self, connection: GatewayProtocol, body: StreamReader, wire: Wire, left: Left, linger: Linger) -> None:
        self._connection = connection
        self._body = body
        self._wire = wire
        self._left = left
        self._linger = linger
        self._closed = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """See `Rest.pieces`."""
        try:
            while piece := await self._wire.within(self._body.readany()):
                yield piece
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
            self._wire.give_up()
            self._linger(self._read_on, self._left)

    async def _read_on(self) -> None:
        try:
            while await self._body.readany():
                pass
        finally:
            self._connection.abort()


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
    return text.encode("latin-1") + b"\r\n\r\n" + call.body


def _unreachable(exc: Exception) -> BridgeError:
    if isinstance(exc, (aiohttp.ServerFingerprintMismatch, ssl.SSLCertVerificationError)):
        return GatewayUnreachable("the Gateway's certificate is not the expected one", hint=PIN_HINT)
    if isinstance(exc, ssl.SSLError):
        hint = "the port answers, but not with TLS; correct IBKR_GATEWAY_URL (https or http, host, port)"
        return GatewayUnreachable("no TLS connection to the Gateway could be made", hint=hint)
    return GatewayUnreachable("nothing listens at the Gateway's address")
