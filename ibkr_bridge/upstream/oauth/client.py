"""The client of IBKR's Web API: an `Upstream` whose calls are signed.

A call that IBKR answers with 401 or 410 was refused before anything read it. For a read the access is then replaced,
once for all reads that met it, and the read is sent once more. A change is never sent twice: its caller gets the
refusal at once, and the check of the session that follows it replaces the access.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from yarl import URL

from ibkr_bridge.calls.header_policy import USER_AGENT
from ibkr_bridge.calls.messages import Call, OnLateResponse, OnReleased, Precondition, Response, call_once, noop
from ibkr_bridge.calls.upstream_port import BeforeSending, StreamSocket, UpstreamTraits
from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.oauth.refusals import STALE_SESSION, refusal_of
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.http.far_side import Wording
from ibkr_bridge.upstream.http.tls import Tls
from ibkr_bridge.upstream.http.websocket import WebSocketFactory, WebSocketRequest
from ibkr_bridge.upstream.oauth.access import Access, AccessKeeper
from ibkr_bridge.upstream.oauth.writers import SignedWriter

WEBSOCKET_PATH = "/v1/api/ws"
MAX_IDLE_S = 50.0  # seconds that a connection may be idle: a new one takes three round trips to IBKR
NO_ACCESS = "there is no access to IBKR now; nothing was sent"


class ApiClient:
    """IBKR's Web API for one username: an `Upstream`.

    Args:
        base: scheme, host and port as they are signed.
        http: sends the calls.
        access: signs them.
        traits: see `Upstream.traits`.
        wording: how errors name the API.
        tls: how its certificate is checked.
        session_id: returns IBKR's session id of the last tickle, which the websocket sends.
        local_address: the address of this machine to connect from.
    """

    def __init__(
        self,
        base: str,
        http: HttpClient,
        access: AccessKeeper,
        traits: UpstreamTraits,
        wording: Wording,
        tls: Tls,
        session_id: Callable[[], str],
        local_address: str | None = None,
    ) -> None:
        self._base = base
        self._http = http
        self._access = access
        self._traits = traits
        self._wording = wording
        self._session_id = session_id
        self._websockets = WebSocketFactory(
            URL(base), wording, tls, self._websocket_request, local_address=local_address
        )

    def __repr__(self) -> str:
        return f"<ApiClient {self._base}, {self.abandoned} ghost calls>"

    @property
    def traits(self) -> UpstreamTraits:
        """See `Upstream.traits`."""
        return self._traits

    @property
    def abandoned(self) -> int:
        """See `Upstream.abandoned`."""
        return self._http.ghost_count

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
        before_sending = BeforeSending(preconditions, before_first_byte, on_sent)
        release = DeferredRelease(call_once(on_released))

        async def send_with(access: Access, on_end: OnReleased) -> Response:
            return await self._http.send(
                call,
                SignedWriter(self._base, access),
                before_sending,
                timeout_s=timeout_s,
                on_released=on_end,
                on_given_up=on_given_up,
                on_late_response=on_late_response,
            )

        try:
            access = await self._access_for(is_change=call.is_change)
        except BaseException:  # nothing was sent
            release.forward()
            raise
        try:
            response = await send_with(access, release)
            another = None if call.is_change else await self._replacement(access, response)
        except BaseException:
            release.open()
            raise
        if another is None:
            release.open()
            return response
        return await send_with(another, release.forward)

    async def _access_for(self, *, is_change: bool) -> Access:
        access = await self._access.for_call(is_change=is_change)
        if access is None:
            raise self._wording.error(GatewayUnreachable, NO_ACCESS, "GET /gateway/auth-status says why")
        return access

    async def _replacement(self, access: Access, response: Response) -> Access | None:
        """The access for a second sending, if this response shows that the first one may be over; None if it is good.

        Where another access may not be made yet, the present one is used again, with another nonce.
        """
        if response.body_stream is not None or refusal_of(response.status, response.body) not in STALE_SESSION:
            return None
        return await self._access.replace(access) or self._access.current

    @asynccontextmanager
    async def open_stream(self) -> AsyncIterator[StreamSocket]:
        """See `Upstream.open_stream`."""
        await self._access_for(is_change=False)
        async with self._websockets.open() as socket:
            yield socket

    def _websocket_request(self) -> WebSocketRequest:
        """The request of a websocket: its address has the access token, which is why no error shows it."""
        access, session = self._access.current, self._session_id()
        query = access.websocket_query() if access is not None else {}
        cookie = {"Cookie": f"api={session}"} if session.isalnum() else {}
        url = URL(self._base).with_path(WEBSOCKET_PATH).with_query(query)
        return WebSocketRequest(url, {"User-Agent": USER_AGENT, **cookie})

    async def close(self) -> None:
        """See `Upstream.close`."""
        await self._access.close()
        await self._http.close()


class DeferredRelease:
    """Holds back the release of a first sending until it is known whether there is a second one.

    Args:
        on_released: called once, when no sending is at work any more.
    """

    def __init__(self, on_released: OnReleased) -> None:
        self.forward = on_released
        self._is_open = self._is_due = False

    def __call__(self) -> None:
        """The first sending is over."""
        self._is_due = True
        if self._is_open:
            self.forward()

    def open(self) -> None:
        """There is no second sending: the end of the first one counts."""
        self._is_open = True
        if self._is_due:
            self.forward()
