"""The Gateway's websocket. The Gateway accepts it at once, whether IBKR is connected or not.

`streaming/upstream_feed.py` decides when it counts as connected to IBKR. Frames come as text or, from the Gateway, as
binary; both are passed on as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ibkr_bridge.calls.header_policy import USER_AGENT
from ibkr_bridge.errors import GatewayError, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.upstream.gateway.connection_pool import ssl_context
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.tls import Tls

WEBSOCKET_PATH = "/v1/api/ws"
MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # bytes of one message; the Gateway itself passes on no more than 64 KiB
OPEN_TIMEOUT_S = 10.0  # seconds; a Gateway answers at once
CLOSE_TIMEOUT_S = 1.0  # seconds to wait for the close frame; the Gateway sends none


class GatewayWebSocket:
    """One open websocket to the Gateway; use it as an async context manager's result."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> bytes | None:
        """The next message; None when the socket has ended, for whatever reason."""
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data).encode()
        return bytes(message.data) if message.type is aiohttp.WSMsgType.BINARY else None

    async def send(self, text: str) -> None:
        """Send a command.

        Raises:
            GatewayProtocolError: the socket has ended.
        """
        try:
            await self._socket.send_str(text)
        except (ConnectionError, aiohttp.ClientError) as exc:
            raise GatewayProtocolError("the Gateway's websocket has ended") from exc


class WebSocketFactory:
    """Opens websockets to one Gateway.

    Args:
        address: scheme, host and port.
        cookies: the cookies that are sent.
        session: returns IBKR's session id from the last tickle; empty if none is known.
    """

    def __init__(
        self, address: str, cookies: CookieStore, tls: Tls, path: Path | None = None, session: Callable[[], str] = str
    ) -> None:
        self._base = URL(address)
        self._cookies = cookies
        self._tls = tls
        self._path = path
        self._session = session

    def __repr__(self) -> str:
        return f"<WebSocketFactory to {self._base}>"

    def open(self) -> _Connect:
        """A websocket that is open for the length of an `async with`."""
        session = self._session()
        own = f'api={{"session":"{session}"}}' if session.isalnum() else ""
        cookies = "; ".join(filter(None, (self._cookies.header(self._base, WEBSOCKET_PATH), own)))
        return _Connect(self._base, cookies, self._tls, self._path)


class _Connect:
    """Opens one websocket and closes it again."""

    def __init__(self, base: URL, cookies: str, tls: Tls, path: Path | None) -> None:
        self._base = base
        self._headers = {"User-Agent": USER_AGENT, **({"Cookie": cookies} if cookies else {})}
        self._tls = tls
        self._path = path
        self._client: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> GatewayWebSocket:
        """Connect.

        Raises:
            GatewayUnreachable: nothing listens there.
            GatewayTimeout: nothing answers.
            GatewayProtocolError: the response is not that of a websocket.
        """
        connector = TlsUnixConnector(self._path, self._base, self._tls) if self._path else aiohttp.TCPConnector()
        self._client = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(self._refuse_redirect,)
        )
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                self._socket = await self._open(self._client)
        except BaseException as exc:
            await self._client.close()
            if isinstance(exc, aiohttp.ClientError | OSError | ValueError):
                raise _as_gateway_error(exc) from exc
            raise
        return GatewayWebSocket(self._socket)

    async def _open(self, client: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        return await client.ws_connect(
            self._base.with_scheme("wss" if self._base.scheme == "https" else "ws").with_path(WEBSOCKET_PATH),
            headers=self._headers,
            ssl=self._tls,
            max_msg_size=MAX_MESSAGE_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
        )

    async def _refuse_redirect(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Refuse redirects, which aiohttp would follow; the Gateway has no reason to send one.

        Raises:
            GatewayProtocolError: the response was a redirect to another address.
        """
        if (request.url.host, request.url.port) != (self._base.host, self._base.port):
            raise GatewayProtocolError("the Gateway's websocket redirects to another address")
        return await handler(request)

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._client is not None:
            await self._client.close()


class TlsUnixConnector(aiohttp.UnixConnector):
    """Connects through a Unix socket with TLS; aiohttp's own connector supports no TLS there."""

    def __init__(self, path: Path, base: URL, tls: Tls) -> None:
        super().__init__(str(path))
        self._name = base.host or ""
        self._fingerprint = tls if isinstance(tls, aiohttp.Fingerprint) else None
        self._context = ssl_context(tls) if base.scheme == "https" else None

    async def _create_connection(self, *_: object) -> ResponseHandler:
        """See `aiohttp.UnixConnector`; the version is pinned, and a test uses this method."""
        name = self._name if self._context is not None else None
        try:
            transport, protocol = await self._loop.create_unix_connection(
                self._factory, self.path, ssl=self._context, server_hostname=name
            )
        except OSError as exc:
            raise aiohttp.ClientConnectionError("nothing listens at the socket") from exc
        if self._fingerprint is not None and self._context is not None:
            self._fingerprint.check(transport)
        return protocol


def _as_gateway_error(exc: Exception) -> GatewayError:
    if isinstance(exc, TimeoutError):
        return GatewayTimeout("the Gateway does not open its websocket")
    if isinstance(exc, aiohttp.WSServerHandshakeError | ValueError):
        return GatewayProtocolError("the response is not that of a websocket")
    return GatewayUnreachable("no connection to the Gateway")
