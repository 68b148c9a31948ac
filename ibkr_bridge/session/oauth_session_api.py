"""The session at IBKR's Web API without a Gateway: the bridge signs in itself, and nobody else keeps it awake."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import Clock, span_text
from ibkr_bridge.errors import RateLimited, TemporarilyUnavailable
from ibkr_bridge.ibkr.catalogue import AUTH_STATUS, PORTFOLIO_ACCOUNTS, TICKLE, api_path
from ibkr_bridge.oauth.refusals import AccessProblem, Refusal, refusal_of
from ibkr_bridge.session.dh_token_failures import DhTokenFailures
from ibkr_bridge.session.oauth_hints import OAUTH_HINTS
from ibkr_bridge.session.preflight import Accounts, PreflightOutcome, named_accounts
from ibkr_bridge.session.session_api import (
    TICKLE_TIMEOUT_S,
    IbkrSessionApi,
    OpeningResponse,
    PreflightResult,
    SessionUpstream,
    parse_whole,
)
from ibkr_bridge.session.state_machine import Observation, observe_status

API_TIMEOUT_S = 10.0  # seconds, after which IBKR itself gives up: over the Internet a check may take long
OBSERVATION_OF_REFUSAL = {
    Refusal.INACTIVE: Observation.ACTIVATING,
    Refusal.INVALID_SIGNATURE: Observation.CREDENTIAL_REFUSED,
    Refusal.SECRET_LOST: Observation.SECRET_LOST,
    Refusal.REVOKED: Observation.REVOKED,
    Refusal.MISMATCH: Observation.MISMATCH,
    Refusal.VAULT_LOCKED: Observation.VAULT_LOCKED,
    Refusal.CREDENTIAL_MISSING: Observation.CREDENTIAL_MISSING,
    Refusal.CREDENTIAL_UNREADABLE: Observation.CREDENTIAL_UNREADABLE,
    Refusal.UNAUTHORIZED: Observation.NO_LOGIN,
    Refusal.STALE: Observation.NO_LOGIN,
    Refusal.SIGNED_OUT: Observation.NO_LOGIN,
    Refusal.RATE_LIMITED: Observation.RATE_LIMITED,
    Refusal.BLOCKED: Observation.FORBIDDEN,
    Refusal.FORBIDDEN: Observation.FORBIDDEN,
    Refusal.NO_LENGTH: Observation.UNUSABLE_RESPONSE,
    Refusal.NO_DH_TOKEN: Observation.UNUSABLE_RESPONSE,
    Refusal.UNAVAILABLE: Observation.UNUSABLE_RESPONSE,
    Refusal.UNREADABLE: Observation.UNUSABLE_RESPONSE,
    Refusal.UNREACHABLE: Observation.NO_CONNECTION,
    Refusal.SILENT: Observation.TIMEOUT,
}


class AccessSource(Protocol):
    """The access of the upstream, as far as the session uses it."""

    problem: AccessProblem | None
    """Why the last attempt failed; None if it did not."""
    on_another: Callable[[], None]
    """Called when an access took the place of an earlier one."""

    @property
    def wait_s(self) -> float:
        """Seconds until IBKR may be asked for access."""
        ...

    async def ensure(self) -> object | None:
        """The present access, made or renewed if it is time; None if there is none."""
        ...

    def request(self, *, is_new_credential: bool = False) -> None:
        """A person wants access now, with another credential or the present one."""
        ...

    def end(self) -> None:
        """Forget the access, and make none until `request`."""
        ...


class OAuthSessionApi(IbkrSessionApi):
    """The `SessionApi` of IBKR's Web API.

    Args:
        upstream: where to send calls; they are signed there.
        access: what they are signed with.
        is_paper: returns whether the credential is of a paper account; None if nobody has said.
        is_portfolio_only: whether the brokerage session is never opened.
    """

    def __init__(
        self,
        upstream: SessionUpstream,
        access: AccessSource,
        clock: Clock,
        *,
        is_paper: Callable[[], bool | None] = lambda: None,
        is_portfolio_only: bool = False,
    ) -> None:
        super().__init__(upstream, OAUTH_HINTS)
        self._access = access
        self._clock = clock
        self._is_paper = is_paper
        self._is_portfolio_only = is_portfolio_only
        self._dh_failures = DhTokenFailures()
        self._has_access = False
        self._latest = Observation.UNUSABLE_RESPONSE
        self._accounts = Accounts()
        access.on_another = lambda: self.on_late_check()  # noqa: PLW0108  # the keeper sets it later

    @property
    def _check_timeout_s(self) -> float:
        return API_TIMEOUT_S

    @property
    def opening_wait_s(self) -> float:
        """See `SessionApi.opening_wait_s`."""
        return self._dh_failures.wait_s(self._clock.now())

    @property
    def next_act(self) -> str:
        """See `SessionApi.next_act`."""
        problem = self._access.problem
        if problem is not None and problem.refusal is Refusal.SIGNED_OUT and not self._has_access:
            return "nothing until somebody requests the session: the command reconnect"
        wait_s = self.access_wait_s
        return "" if wait_s is None else f"next request for access in {span_text(wait_s)}"

    @property
    def access_wait_s(self) -> float | None:
        """See `SessionApi.access_wait_s`."""
        problem = self._access.problem
        if self._has_access or problem is None or problem.refusal is Refusal.SIGNED_OUT:
            return None
        return self._access.wait_s

    def request_access(self, *, is_new_credential: bool = False) -> None:
        """See `SessionApi.request_access`."""
        self._access.request(is_new_credential=is_new_credential)
        self._dh_failures.request()

    async def check_status(self) -> Observation:
        """First the access, then the session; a portfolio-only profile has no session beyond the access."""
        self._has_access = await self._access.ensure() is not None
        if not self._has_access:
            return self._without_access(Observation.NO_LOGIN)
        try:
            self._latest = await self._check_with_access()
        except RateLimited:
            return self._latest  # a caller made the same call a moment ago
        except TemporarilyUnavailable:
            return Observation.RATE_LIMITED
        if self._latest is Observation.NO_LOGIN:
            self._has_access = self._access.problem is None
            return self._without_access(Observation.NO_LOGIN)
        return self._latest

    async def _check_with_access(self) -> Observation:
        if self._is_portfolio_only:
            return await self._check(PORTFOLIO_ACCOUNTS, self._observe_portfolio)
        return await self._check(AUTH_STATUS, _observe_status)

    def _without_access(self, otherwise: Observation) -> Observation:
        problem = self._access.problem
        if problem is None:
            return otherwise
        self.problem_hint, self.status_message = problem.hint, problem.words
        return OBSERVATION_OF_REFUSAL[problem.refusal]

    def _observe_portfolio(self, status: int, body: object) -> Observation:
        if status != HTTPStatus.OK or not isinstance(body, list):
            return _observe_status(status, None)
        self._accounts = Accounts(named_accounts(body))
        return Observation.SESSION

    def _is_forbidden(self, response: Response) -> bool:
        return refusal_of(response.status, response.body) is Refusal.BLOCKED

    async def is_login_alive(self) -> bool | None:
        """See `SessionApi.is_login_alive`: IBKR has answered a signed call, so the login is alive."""
        return True

    async def open_session(self, *, compete: bool) -> OpeningResponse:
        """See `SessionApi.open_session`."""
        if self._dh_failures.wants_tickle:
            await self.tickle()
        response = await super().open_session(compete=compete and not self._dh_failures.forbids_compete)
        refusal = refusal_of(response.status, response.message.encode())
        self._dh_failures.record(self._clock.now(), has_failed=refusal is Refusal.NO_DH_TOKEN)
        return response

    async def tickle(self) -> dict[str, object] | None:
        """See `SessionApi.tickle`."""
        call = Call("POST", api_path(TICKLE), request_headers(()))
        response = await self._send_or_none(call, TICKLE_TIMEOUT_S)
        body = parse_whole(response) if response is not None else None
        is_good = response is not None and response.status == HTTPStatus.OK and isinstance(body, dict)
        return body if is_good and isinstance(body, dict) and "session" in body else None

    async def run_preflight(self) -> PreflightResult:
        """See `SessionApi.run_preflight`; the check of a portfolio-only profile has shown its accounts."""
        if not self._is_portfolio_only:
            return await super().run_preflight()
        return PreflightResult(PreflightOutcome.WORKED, self._accounts if self._accounts.numbers else None)

    async def login_is_paper(self) -> bool | None:
        """See `SessionApi.login_is_paper`; `/sso/validate` is not for this road."""
        return self._is_paper()

    async def warm_up_orders(self) -> None:
        """See `SessionApi.warm_up_orders`."""
        if not self._is_portfolio_only:
            await super().warm_up_orders()

    async def log_out(self) -> int:
        """See `SessionApi.log_out`; no other session is made until somebody requests it."""
        status = await super().log_out()
        self._access.end()
        return status


def _observe_status(status: int, body: object) -> Observation:
    is_stale = status == HTTPStatus.GONE
    return Observation.NO_LOGIN if is_stale else observe_status(status, body)
