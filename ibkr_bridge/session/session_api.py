"""The keeper's calls to the Gateway: eight calls, one at a time, and how their responses are read.

They do not use the slots of callers: they are few, short and spaced. None of them raises; a failure is an observation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Protocol

from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, OnReleased, Response, discard, noop
from ibkr_bridge.errors import (
    GatewayError,
    GatewayProtocolError,
    GatewayTimeout,
    GatewayUnreachable,
    TemporarilyUnavailable,
)
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.ibkr.catalogue import AUTH_STATUS, LOGOUT, SSODH_INIT, TICKLE, VALIDATE, api_path
from ibkr_bridge.session.preflight import (
    ORDERS_WARM_UP,
    PREFLIGHT_PATHS,
    Accounts,
    is_access_denied,
    read_accounts,
    read_login,
)
from ibkr_bridge.session.session_status import SessionHints
from ibkr_bridge.session.state_machine import Observation, observe_status

CHECK_TIMEOUT_S = 5.0  # seconds; a healthy auth/status takes 0.1 s
TICKLE_TIMEOUT_S = 2.0  # seconds; the next check must not wait long for it
OPEN_TIMEOUT_S = 10.0  # seconds, after which IBKR's own edge gives up too
OBSERVATION_OF_ERROR = {
    GatewayUnreachable: Observation.NO_CONNECTION,
    GatewayTimeout: Observation.TIMEOUT,
    GatewayProtocolError: Observation.UNUSABLE_RESPONSE,
}
JSON_HEADERS = (("Content-Type", "application/json"),)
GATEWAY_HINTS = SessionHints(
    {
        Observation.SESSION: "nothing to do",
        Observation.ESTABLISHING: "wait a few seconds; IBKR is loading the accounts",
        Observation.LOGIN_ONLY: "wait a few seconds; the bridge is reopening the brokerage session",
        Observation.COMPETING: "sign out of TWS, IBKR Mobile or Client Portal with this user, or use another user",
        Observation.NO_LOGIN: "sign in at the Gateway: open its address in a browser, or start IBeam",
        Observation.NO_CONNECTION: "start the Gateway or IBeam, or correct IBKR_GATEWAY_URL",
        Observation.FORBIDDEN: "add the bridge's address to ips.allow in the Gateway's conf.yaml and restart it",
        Observation.TIMEOUT: "IBKR is down or the Gateway is stuck; if it lasts, restart the Gateway and sign in",
        Observation.SLOTS_EXHAUSTED: "all Gateway slots are held by calls that the Gateway has not answered; "
        "restart the Gateway and sign in",
        Observation.UNUSABLE_RESPONSE: "IBKR answers with errors; wait, and if it lasts, see its system status page",
        Observation.RATE_LIMITED: "IBKR limits this user's calls; wait",
    },
    yielding="the bridge leaves the session to the other program; the Gateway then logs itself out within 30 s, and "
    "IBeam, if it runs, signs in and competes: stop IBeam first, or set IBKR_COMPETE=reclaim",
    reclaims_exhausted="the bridge took the session back three times this hour and now leaves it to the other "
    "program: sign out there",
)


class SessionUpstream(Protocol):
    """The upstream, as far as the Gateway's session calls use it."""

    async def send(self, call: Call, *, timeout_s: float | None = ..., on_released: OnReleased = ...) -> Response:
        """See `KeeperUpstream.send`."""
        ...


class SessionApi(Protocol):
    """What the keeper does at one kind of upstream. None of the calls raises: whatever goes wrong was observed."""

    on_late_check: Callable[[], None]
    """Called when a check that was given up is answered after all: time for another check."""

    @property
    def hints(self) -> SessionHints:
        """What a person should do at this upstream."""
        ...

    @property
    def status_body(self) -> Mapping[str, object]:
        """The last usable response of `auth/status`."""
        ...

    @property
    def problem_hint(self) -> str:
        """What a person should do about the problem that the last check met."""
        ...

    @property
    def unanswered(self) -> int:
        """Checks that were given up here and are still unanswered."""
        ...

    @property
    def is_opening(self) -> bool:
        """Whether the last request for the session is still at work."""
        ...

    async def check_status(self) -> Observation:
        """Check the session."""
        ...

    async def open_session(self, *, compete: bool) -> int:
        """Request the brokerage session. Returns the HTTP status, 0 for none; the next check shows the effect."""
        ...

    async def tickle(self) -> dict[str, object] | None:
        """Keep the login awake; the response has the session id and the time left."""
        ...

    async def run_preflight(self) -> Accounts | None:
        """Make the calls that IBKR wants first. Returns the accounts that they list, None if they list none."""
        ...

    async def login_is_paper(self) -> bool | None:
        """Whether it is a paper login; None if IBKR does not say."""
        ...

    async def send(self, call: Call) -> None:
        """Send a call whose response does not matter."""
        ...

    async def warm_up_orders(self) -> None:
        """Make the first request for the list of orders, which IBKR answers with an empty list."""
        ...

    async def log_out(self) -> int:
        """End the login at IBKR. Returns the HTTP status, 0 for none."""
        ...


class GatewaySessionApi:
    """The `SessionApi` of the Client Portal Gateway.

    Args:
        upstream: where to send calls.
    """

    hints = GATEWAY_HINTS

    def __init__(self, upstream: SessionUpstream) -> None:
        self._upstream = upstream
        self.on_late_check: Callable[[], None] = noop
        self.status_body: dict[str, object] = {}
        """The last usable response of `auth/status`."""
        self.problem_hint = ""
        """What to do about the problem of the last check, if it had one."""
        self.unanswered = 0
        """Checks that were given up here and that the Gateway has not answered yet."""
        self.is_opening = False
        """Whether the Gateway still works on the last request for the session."""

    async def check_status(self) -> Observation:
        """Check `auth/status`, the only reliable source."""
        given_up = False

        def answered() -> None:
            self.unanswered -= 1
            if given_up:
                self.on_late_check()

        self.unanswered += 1
        try:
            call = Call("GET", api_path(AUTH_STATUS), request_headers(()))
            response = await self._upstream.send(call, timeout_s=CHECK_TIMEOUT_S, on_released=answered)
        except GatewayError as exc:
            given_up = True
            self.problem_hint = exc.hint
            return OBSERVATION_OF_ERROR[type(exc)]
        body = _parse_whole(response)
        if is_access_denied(response.status, response.body):
            return Observation.FORBIDDEN
        observation = observe_status(response.status, body)
        if isinstance(body, dict) and observation not in (Observation.UNUSABLE_RESPONSE, Observation.RATE_LIMITED):
            self.status_body = body
        return observation

    def _on_opened(self) -> None:
        self.is_opening = False

    async def open_session(self, *, compete: bool) -> int:
        """Request the brokerage session; the next check shows the effect. Returns the HTTP status, 0 for none."""
        self.is_opening = True
        body = json.dumps({"publish": True, "compete": compete}).encode()  # IBKR answers 500 if publish is not true
        call = Call("POST", api_path(SSODH_INIT), request_headers(JSON_HEADERS), body, is_change=True)
        response = await self._send_or_none(call, OPEN_TIMEOUT_S, self._on_opened)
        discard(response)
        return response.status if response else 0

    async def tickle(self) -> dict[str, object] | None:
        """Keep the login awake; the response has the session id and the time left."""
        body = await self._get_json(api_path(TICKLE), TICKLE_TIMEOUT_S)
        return body if isinstance(body, dict) and "session" in body else None

    async def run_preflight(self) -> Accounts | None:
        """Make the calls that IBKR wants first. Returns the accounts that they list, None if they list none."""
        bodies = [await self._get_json(path, CHECK_TIMEOUT_S) for path in PREFLIGHT_PATHS]
        accounts = read_accounts(bodies[0])
        return accounts if accounts.numbers else None

    async def login_is_paper(self) -> bool | None:
        """Fetch the type of the login; None if IBKR does not say."""
        return read_login(await self._get_json(api_path(VALIDATE), TICKLE_TIMEOUT_S))

    async def send(self, call: Call) -> None:
        """Send a call and ignore its response; if it fails, IBKR asks its questions again, which is safe."""
        discard(await self._send_or_none(call, TICKLE_TIMEOUT_S))

    async def warm_up_orders(self) -> None:
        """Request the list of orders once, as IBKR answers the first request with an empty list."""
        await self._get_json(ORDERS_WARM_UP, TICKLE_TIMEOUT_S)

    async def log_out(self) -> int:
        """End the login at IBKR. Returns the HTTP status, 0 for none."""
        response = await self._send_or_none(
            Call("POST", api_path(LOGOUT), request_headers(JSON_HEADERS), b"{}", is_change=True), OPEN_TIMEOUT_S
        )
        discard(response)
        return response.status if response else 0

    async def _get_json(self, path: str, timeout_s: float) -> object:
        """The JSON of a GET's response; None if there is none."""
        response = await self._send_or_none(Call("GET", path, request_headers(())), timeout_s)
        body = _parse_whole(response) if response else None
        return body if response and response.status == 200 else None

    async def _send_or_none(self, call: Call, timeout_s: float, on_released: OnReleased = noop) -> Response | None:
        try:
            return await self._upstream.send(call, timeout_s=timeout_s, on_released=on_released)
        except (GatewayError, TemporarilyUnavailable):
            return None


def _parse_whole(response: Response) -> object:
    """The parsed body; None if it is not JSON, or is too large for such a response."""
    discard(response)
    return parse_json(response.body) if response.body_stream is None else None
