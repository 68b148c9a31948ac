"""One call and its answer, from the first byte out to the last byte in.

An exchange runs in a task of its own, so that it can outlive its caller's patience. It translates what aiohttp raises
into our own errors, and says `left` exactly once: when the Gateway has stopped working on the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from yarl import URL

from ibkr_bridge.errors import BridgeError, GatewayGarbled, GatewaySilent, GatewayUnreachable
from ibkr_bridge.upstream.base import Answer, Call, Left
from ibkr_bridge.upstream.wire import CURRENT, Wire

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


async def never_twice(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again by itself: a cancel or a change goes out once."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise Broken(silent=not CURRENT.get().heard) from exc


class Exchange:
    """One call on its way.

    Args:
        session: what to send it with.
        url: where the Gateway is.
        wire: how far it has come.
        left: to be called when it has left the Gateway.
        linger: takes work that must go on when nobody waits any more.
    """

    def __init__(self, session: aiohttp.ClientSession, url: URL, wire: Wire, left: Left, linger: Linger) -> None:
        self._session = session
        self._url = url
        self._wire = wire
        self._left = left
        self._linger = linger

    async def run(self, call: Call) -> Answer:
        """Send the call and bring its answer, the body whole or its first 256 KiB.

        Raises:
            GatewayUnreachable, GatewayGarbled: see `Upstream.ask`.
            Broken: the connection ended first; whoever sent the call decides what that means.
        """
        CURRENT.set(self._wire)
        try:
            reply = await self._session.request(
                call.method,
                self._at(call.target),
                headers=_headers(call),
                data=call.body or None,
                allow_redirects=False,
            )
        except aiohttp.ClientError as exc:
            self._left()
            raise _translated(exc) from exc
        except Broken:
            raise
        except Exception:  # the last look stopped it: nothing was sent
            self._left()
            raise
        self._wire.headed()
        try:
            return await self._collect(reply, KEEP_OF_CHANGES if call.changes else KEEP)
        except BaseException:
            reply.close()
            raise

    def _at(self, target: str) -> URL:
        """The target exactly as it is: as one opaque path, since a parsed query may lose a bare `?`."""
        return URL.build(
            scheme=self._url.scheme, host=self._url.host or "", port=self._url.port, path=target, encoded=True
        )

    async def _collect(self, reply: aiohttp.ClientResponse, keep: int) -> Answer:
        if reply.status < 200:  # 101, which nobody asked for, and numbers that are none
            reply.close()
            self._left()
            raise GatewayGarbled("the Gateway answered with a status that is none")
        pieces: list[bytes] = []
        size = 0
        try:
            while size <= keep and (piece := await reply.content.readany()):
                pieces.append(piece)
                size += len(piece)
                self._wire.moved()
        except aiohttp.ClientError as exc:
            self._left()
            raise GatewayGarbled("the Gateway broke off inside its answer") from exc
        answer = Answer(reply.status, reply.headers, b"".join(pieces))
        if reply.content.at_eof():
            self._left()
            return answer
        rest = LargeBody(reply, self._wire, self._left, self._linger)
        return Answer(answer.status, answer.headers, answer.body, rest)


class LargeBody:
    """The rest of a large answer; what nobody wants of it is still read, as the Gateway still sends it."""

    def __init__(self, reply: aiohttp.ClientResponse, wire: Wire, left: Left, linger: Linger) -> None:
        self._reply = reply
        self._wire = wire
        self._left = left
        self._linger = linger
        self._closed = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """See `Rest.pieces`."""
        try:
            while piece := await self._wire.within(self._reply.content.readany()):
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
        if self._reply.content.at_eof() or self._reply.content.exception() is not None:
            self._reply.close()
            self._left()
        else:
            self._wire.give_up()
            self._linger(self._read_on, self._left)

    async def _read_on(self) -> None:
        try:
            while await self._reply.content.readany():
                pass
        finally:
            self._reply.close()


def _headers(call: Call) -> list[tuple[str, str]]:
    """The call's headers with the length of its body, which a POST or PUT says even when it has none."""
    says_length = call.body or call.method in ("POST", "PUT")
    return [*call.headers, *([("Content-Length", str(len(call.body)))] if says_length else [])]


def _translated(exc: aiohttp.ClientError) -> BridgeError:
    if isinstance(exc, (aiohttp.ServerFingerprintMismatch, aiohttp.ClientConnectorCertificateError)):
        return GatewayUnreachable("the Gateway's certificate is not the expected one", hint=PIN_HINT)
    if isinstance(exc, aiohttp.ClientSSLError):
        hint = "the port answers, but not with TLS; correct IBKR_GATEWAY_URL (https or http, host, port)"
        return GatewayUnreachable("no TLS connection to the Gateway could be made", hint=hint)
    if isinstance(exc, aiohttp.ClientConnectorError):
        return GatewayUnreachable("nothing listens at the Gateway's address")
    return GatewayGarbled("the Gateway answered something that is not HTTP")
