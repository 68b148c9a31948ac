"""The keeper's calls to IBKR: eight calls, one at a time, and how their responses are read.

They do not use the slots of callers: they are few, short and spaced. None of them raises; a failure is an observation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
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
from ibkr_bridge.session.ibkr_message import message_of
from ibkr_bridge.session.preflight import (
    ORDERS_WARM_UP,
    PREFLIGHT_PATHS,
    Accounts,
    PreflightOutcome,
    is_access_denied,
    read_accounts,
    read_login,
    refuses_for_session,
    shows_login,
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


ObserveResponse = Callable[[int, object], Observation]
"""What a response of a check shows, by its status and its parsed body."""


@dataclass(frozen=True)
class OpeningResponse:
    """What IBKR answered to a request for the brokerage session."""

    status: int
    """The HTTP status; 0 if nothing came."""
    message: str = ""
    """IBKR's words, not redacted; empty if the session is opening."""


@dataclass(frozen=True)
class PreflightResult:
    """What the calls showed that IBKR wants first."""

    outcome: PreflightOutcome
    accounts: Accounts | None = None
    """None if IBKR listed none."""


class SessionUpstream(Protocol):
    """The upstream, as far as the session calls use it."""

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
    def grace_s(self) -> float:
        """Seconds after a fresh login in which the upstream may open the brokerage session itself; 0 if never."""
        ...

    @property
    def opening_wait_s(self) -> float:
        """Seconds for which the brokerage session must not be requested, as the upstream has refused it."""
        ...

    @property
    def next_act(self) -> str:
        """What the upstream does next by itself to get access, and when; empty if it has access."""
        ...

    @property
    def access_wait_s(self) -> float | None:
        """Seconds until the upstream asks for access again by itself; None if it has access, or never asks."""
        ...

    def request_access(self, *, is_new_credential: bool = False) -> None:
        """A person wants the session now, and has probably changed something.

        Args:
            is_new_credential: whether the present access belongs to another credential, so that it must be replaced.
        """
        ...

    @property
    def status_body(self) -> Mapping[str, object]:
        """The last usable response of `auth/status`."""
        ...

    @property
    def status_message(self) -> str:
        """IBKR's words in the last response of `auth/status`, not redacted."""
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

    async def is_login_alive(self) -> bool | None:
        """Whether somebody is still signed in; None if no response shows it."""
        ...

    async def open_session(self, *, compete: bool) -> OpeningResponse:
        """Request the brokerage session; the next check shows the effect."""
        ...

    async def tickle(self) -> dict[str, object] | None:
        """Keep the login awake; the response has the session id and the time left."""
        ...

    async def run_preflight(self) -> PreflightResult:
        """Make the calls that IBKR wants first."""
        ...

    async def login_is_paper(self) -> bool | None:
        """Whether it is a paper login; None if IBKR does not say."""
        ...

    async def send(self, call: Call) -> Response | None:
        """Send a call; None if no response came."""
        ...

    async def warm_up_orders(self) -> None:
        """Make the first request for the list of orders, which IBKR answers with an empty list."""
        ...

    async def log_out(self) -> int:
        """End the login at IBKR. Returns the HTTP status, 0 for none."""
        ...


class IbkrSessionApi:
    """What is the same of a `SessionApi` on every road to IBKR's Web API.

    Args:
        upstream: where to send calls.
        hints: what a person should do on this road.
    """

    grace_s = 0.0

    def __init__(self, upstream: SessionUpstream, hints: SessionHints) -> None:
        self._upstream = upstream
        self.hints = hints
        self.on_late_check: Callable[[], None] = noop
        self.status_body: dict[str, object] = {}
        """The last usable response of `auth/status`."""
        self.status_message = ""
        """IBKR's words in the last response of `auth/status`, not redacted."""
        self.problem_hint = ""
        """What to do about the problem of the last check, if it had one."""
        self.unanswered = 0
        """Checks that were given up here and that the upstream has not answered yet."""
        self.is_opening = False
        """Whether the upstream still works on the last request for the session."""

    @property
    def _check_timeout_s(self) -> float:
        return CHECK_TIMEOUT_S

    @property
    def opening_wait_s(self) -> float:
        """See `SessionApi.opening_wait_s`; where a person signs in, the backoff alone decides."""
        return 0.0

    @property
    def next_act(self) -> str:
        """See `SessionApi.next_act`; where a person signs in, the upstream does nothing itself."""
        return ""

    @property
    def access_wait_s(self) -> float | None:
        """See `SessionApi.access_wait_s`; where a person signs in, the upstream never asks."""
        return None

    def request_access(self, *, is_new_credential: bool = False) -> None:
        """See `SessionApi.request_access`; where a person signs in, there is nothing to do."""

    async def check_status(self) -> Observation:
        """Check `auth/status`, the only reliable source."""
        return await self._check(AUTH_STATUS, observe_status)

    async def _check(self, path: tuple[str, ...], observe: ObserveResponse) -> Observation:
        """Check the session by one call."""
        given_up = False

        def answered() -> None:
            self.unanswered -= 1
            if given_up:
                self.on_late_check()

        self.unanswered += 1
        try:
            call = Call("GET", api_path(path), request_headers(()))
            response = await self._upstream.send(call, timeout_s=self._check_timeout_s, on_released=answered)
        except GatewayError as exc:
            given_up = True
            self.problem_hint, self.status_message = exc.hint, ""
            return OBSERVATION_OF_ERROR[type(exc)]
        body = parse_whole(response)
        self.status_message = message_of(response.body)
        if self._is_forbidden(response):
            return Observation.FORBIDDEN
        observation = observe(response.status, body)
        if isinstance(body, dict) and observation not in (Observation.UNUSABLE_RESPONSE, Observation.RATE_LIMITED):
            self.status_body = body
        return observation

    def _is_forbidden(self, response: Response) -> bool:
        """Whether the upstream refuses the address of this machine."""
        return is_access_denied(response.status, response.body)

    def _on_opened(self) -> None:
        self.is_opening = False

    async def is_login_alive(self) -> bool | None:
        """Ask by `tickle`, which costs nothing, then by `/sso/validate`, which IBKR allows once a minute."""
        for path in (TICKLE, VALIDATE):
            response = await self._send_or_none(Call("GET", api_path(path), request_headers(())), TICKLE_TIMEOUT_S)
            is_alive = shows_login(response.status, parse_whole(response)) if response else None
            if is_alive is not None:
                return is_alive
        return None

    async def open_session(self, *, compete: bool) -> OpeningResponse:
        """Request the brokerage session; the next check shows the effect."""
        self.is_opening = True
        body = json.dumps({"publish": True, "compete": compete}).encode()  # IBKR answers 500 if publish is not true
        call = Call("POST", api_path(SSODH_INIT), request_headers(JSON_HEADERS), body, is_change=True)
        response = await self._send_or_none(call, OPEN_TIMEOUT_S, self._on_opened)
        discard(response)
        return OpeningResponse(response.status, message_of(response.body)) if response else OpeningResponse(0)

    async def tickle(self) -> dict[str, object] | None:
        """Keep the login awake; the response has the session id and the time left."""
        body = await self._get_json(api_path(TICKLE), TICKLE_TIMEOUT_S)
        return body if isinstance(body, dict) and "session" in body else None

    async def run_preflight(self) -> PreflightResult:
        """Make the calls that IBKR wants first; the second one only if the first one was not refused."""
        first, second = PREFLIGHT_PATHS
        call = Call("GET", first, request_headers(()))
        response = await self._send_or_none(call, CHECK_TIMEOUT_S)
        body = parse_whole(response) if response else None
        if response is not None and refuses_for_session(call, response):
            return PreflightResult(PreflightOutcome.REFUSED)
        portfolio = await self._get_json(second, CHECK_TIMEOUT_S)
        if response is None or response.status != HTTPStatus.OK or not isinstance(body, dict) or "error" in body:
            return PreflightResult(PreflightOutcome.FAILED)
        accounts = read_accounts(body, portfolio)
        return PreflightResult(PreflightOutcome.WORKED, accounts if accounts.numbers else None)

    async def login_is_paper(self) -> bool | None:
        """Fetch the type of the login; None if IBKR does not say."""
        return read_login(await self._get_json(api_path(VALIDATE), TICKLE_TIMEOUT_S))

    async def send(self, call: Call) -> Response | None:
        """Send a call; None if no response came in time."""
        response = await self._send_or_none(call, TICKLE_TIMEOUT_S)
        discard(response)
        return response

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
        body = parse_whole(response) if response else None
        return body if response and response.status == 200 else None

    async def _send_or_none(self, call: Call, timeout_s: float, on_released: OnReleased = noop) -> Response | None:
        try:
            return await self._upstream.send(call, timeout_s=timeout_s, on_released=on_released)
        except (GatewayError, TemporarilyUnavailable):
            return None


def parse_whole(response: Response) -> object:
    """The parsed body; None if it is not JSON, or is too large for such a response."""
    discard(response)
    return parse_json(response.body) if response.body_stream is None else None
