"""IBKR's websocket. A Gateway accepts it at once, whether IBKR is connected or not.

`streaming/upstream_feed.py` decides when it counts as connected to IBKR. Frames come as text or, from the Gateway, as
binary; both are passed on as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from ibkr_bridge.errors import GatewayError, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.upstream.http.far_side import Wording
from ibkr_bridge.upstream.http.tls import Tls, ssl_context

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # bytes of one message; the Gateway itself passes on no more than 64 KiB
OPEN_TIMEOUT_S = 10.0  # seconds; a Gateway answers at once
CLOSE_TIMEOUT_S = 1.0  # seconds to wait for the close frame; the Gateway sends none


@dataclass(frozen=True)
class WebSocketRequest:
    """With what a websocket is opened. The address and the headers can have secrets."""

    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class HttpWebSocket:
    """One open websocket; use it as an async context manager's result."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, wording: Wording) -> None:
        self._socket = socket
        self._wording = wording

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
            raise self._wording.error(GatewayProtocolError, "{name}'s websocket has ended") from exc


class WebSocketFactory:
    """Opens websockets to one server.

    Args:
        base: scheme, host and port.
        wording: how errors name the server.
        make_request: returns the address and the headers of the next websocket.
        path: a Unix socket that leads there.
        local_address: the address of this machine to connect from.
    """

    def __init__(
        self,
        base: URL,
        wording: Wording,
        tls: Tls,
        make_request: Callable[[], WebSocketRequest],
        path: Path | None = None,
        local_address: str | None = None,
    ) -> None:
        self._base = base
        self._wording = wording
        self._tls = tls
        self._make_request = make_request
        self._path = path
        self._local_address = local_address

    def __repr__(self) -> str:
        return f"<WebSocketFactory to {self._base}>"

    def open(self) -> _Connect:
        """A websocket that is open for the length of an `async with`."""
        return _Connect(self._make_request(), self._wording, self._tls, self._connector)

    def _connector(self) -> aiohttp.BaseConnector:
        if self._path is not None:
            return TlsUnixConnector(self._path, self._base, self._tls)
        local = (self._local_address, 0) if self._local_address is not None else None
        return aiohttp.TCPConnector(local_addr=local)


class _Connect:
    """Opens one websocket and closes it again."""

    def __init__(
        self, request: WebSocketRequest, wording: Wording, tls: Tls, connector: Callable[[], aiohttp.BaseConnector]
    ) -> None:
        self._request = request
        self._wording = wording
        self._tls = tls
        self._connector = connector
        self._client: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> HttpWebSocket:
        """Connect.

        Raises:
            GatewayUnreachable: nothing listens there.
            GatewayTimeout: nothing answers.
            GatewayProtocolError: the response is not that of a websocket.
        """
        self._client = aiohttp.ClientSession(
            connector=self._connector(), cookie_jar=aiohttp.DummyCookieJar(), middlewares=(self._refuse_redirect,)
        )
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                self._socket = await self._open(self._client)
        except BaseException as exc:
            await self._client.close()
            if isinstance(exc, aiohttp.ClientError | OSError | ValueError):
                # The cause is left out: its text has the address, which can have a token.
                raise _as_gateway_error(exc, self._wording) from None
            raise
        return HttpWebSocket(self._socket, self._wording)

    async def _open(self, client: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        url = self._request.url
        return await client.ws_connect(
            url.with_scheme("wss" if url.scheme == "https" else "ws"),
            headers=self._request.headers,
            ssl=self._tls,
            max_msg_size=MAX_MESSAGE_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
        )

    async def _refuse_redirect(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Refuse redirects, which aiohttp would follow; IBKR has no reason to send one.

        Raises:
            GatewayProtocolError: the response was a redirect to another address.
        """
        expected = self._request.url
        if (request.url.host, request.url.port) != (expected.host, expected.port):
            detail = "{name}'s websocket redirects to another address"
            raise self._wording.error(GatewayProtocolError, detail)
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


def _as_gateway_error(exc: Exception, wording: Wording) -> GatewayError:
    if isinstance(exc, TimeoutError):
        return wording.error(GatewayTimeout, "{name} does not open its websocket")
    if isinstance(exc, aiohttp.WSServerHandshakeError | ValueError):
        return wording.error(GatewayProtocolError, "the response is not that of a websocket")
    return wording.error(GatewayUnreachable, "no connection to {name}")
