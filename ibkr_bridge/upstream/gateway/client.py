"""The client of the Client Portal Gateway.

The Gateway itself never gives up: it answers when IBKR does, or never, and it continues to work on a call whose sender
has disconnected. `upstream/http/client.py` has the deadlines; here are the Gateway's cookies, its words and its socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from aiohttp import hdrs
from yarl import URL

from ibkr_bridge.calls.header_policy import USER_AGENT
from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Precondition, Response, noop
from ibkr_bridge.calls.upstream_port import BeforeSending, StreamSocket
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.http.far_side import RawHeaders, Wording, serialise
from ibkr_bridge.upstream.http.tls import Tls
from ibkr_bridge.upstream.http.websocket import WebSocketFactory, WebSocketRequest

WEBSOCKET_PATH = "/v1/api/ws"
GATEWAY_WORDING = Wording(
    "the Gateway",
    hints={},  # those of the classes are about the Gateway
    certificate_hint="its certificate is not the one IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE expects",
    no_tls_hint="the port does not use TLS; correct IBKR_GATEWAY_URL (https or http, host, port)",
)


class CookieWriter:
    """Adds the Gateway's cookies to a call, and stores those of its responses: a `RequestWriter`."""

    def __init__(self, address: URL, cookies: CookieStore) -> None:
        self._address = address
        self._cookies = cookies

    def prepare(self, call: Call) -> Callable[[], bytes]:
        """See `RequestWriter.prepare`."""
        cookies = self._cookies.header(self._address, call.target)
        raw = serialise(call, self._address.authority, (("Cookie", cookies),) if cookies else ())
        return lambda: raw

    def observe(self, headers: RawHeaders) -> None:
        """See `RequestWriter.observe`."""
        self._cookies.update(headers.getall(hdrs.SET_COOKIE, ()), self._address)


class GatewayClient:
    """One Client Portal Gateway: an `Upstream`.

    Args:
        address: scheme, host and port, without a path.
        cookies: the store of the cookies that it sets.
        timeout_s: longest wait for a head, and for each chunk of a body.
        tls: how its certificate is checked.
        abandoned_for_s: seconds for which a call without a response is assumed to occupy the Gateway.
        unix_socket: a Unix socket that leads there, if its port cannot be reached.
        session_id: returns IBKR's session id, which the websocket sends; empty if none is known.
    """

    traits = GATEWAY_TRAITS

    def __init__(
        self,
        address: str,
        cookies: CookieStore,
        timeout_s: float,
        tls: Tls,
        abandoned_for_s: float = GATEWAY_TRAITS.abandoned_for_s,
        unix_socket: Path | None = None,
        session_id: Callable[[], str] = str,
    ) -> None:
        self._base = URL(address)
        self._cookies = cookies
        self._session_id = session_id
        self._writer = CookieWriter(self._base, cookies)
        self._http = HttpClient(self._base, GATEWAY_WORDING, timeout_s, tls, abandoned_for_s, unix_socket=unix_socket)
        self._websockets = WebSocketFactory(self._base, GATEWAY_WORDING, tls, self._websocket_request, unix_socket)

    def __repr__(self) -> str:
        return f"<GatewayClient {self._base}, {self.abandoned} ghost calls>"

    @property
    def abandoned(self) -> int:
        """See `Upstream.abandoned`."""
        return self._http.ghost_count

    def open_stream(self) -> AbstractAsyncContextManager[StreamSocket]:
        """See `Upstream.open_stream`."""
        return self._websockets.open()

    def _websocket_request(self) -> WebSocketRequest:
        session = self._session_id()
        own = f'api={{"session":"{session}"}}' if session.isalnum() else ""
        cookies = "; ".join(filter(None, (self._cookies.header(self._base, WEBSOCKET_PATH), own)))
        headers = {"User-Agent": USER_AGENT, **({"Cookie": cookies} if cookies else {})}
        return WebSocketRequest(self._base.with_path(WEBSOCKET_PATH), headers)

    async def close(self) -> None:
        """See `Upstream.close`."""
        await self._http.close()

    async def send(
        self,
        call: Call,
        *,
        timeout_s: float | None = None,
        preconditions: Sequence[Precondition] = (),
        before_first_byte: Callable[[], Awaitable[None]] | None = None,
        on_sent: Callable[[], None] = noop,
        on_released: OnReleased = noop,
        on_given_up: Callable[[], None] = noop,
        on_late_response: OnLateResponse | None = None,
    ) -> Response:
        """See `Upstream.send`."""
        return await self._http.send(
            call,
            self._writer,
            BeforeSending(preconditions, before_first_byte, on_sent),
            timeout_s=timeout_s,
            on_released=on_released,
            on_given_up=on_given_up,
            on_late_response=on_late_response,
        )
