"""The keeper: checks the session, lets `state_machine.py` decide, performs the actions, and publishes the result.

A round is one check of `auth/status` and the actions that follow. Rounds repeat every few seconds, sooner if a caller
or a stage requests a check. No exception ends the loop: an unexpected one is published as `session.keeper_failed`, and
the next round starts as usual.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar, NoReturn

from ibkr_bridge import events
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Compete
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.ibkr.endpoint import Layer, Prerequisite
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.ibkr_message import shorten, shown_message
from ibkr_bridge.session.login_proof import LoginProof
from ibkr_bridge.session.opener import OpeningReport, SessionOpener
from ibkr_bridge.session.preflight import Accounts, PreflightOutcome, named_accounts
from ibkr_bridge.session.selected_account import SelectedAccount, Selection
from ibkr_bridge.session.session_api import SessionApi
from ibkr_bridge.session.session_status import CHECK_TIMEOUT_S, KeeperStatus, Policy, SessionStatus, TrafficView
from ibkr_bridge.session.state_machine import Action, Observation, Session, SessionState, step

TICKLE_RETRY_S = 2.0  # seconds after a tickle that failed, then twice as long each time
TICKLE_INTERVAL_S = 60.0  # seconds, as IBKR recommends; its idle time-out is 5 to 6 minutes
MIN_INTERVAL_S = 0.25  # seconds between two checks, however many are requested: IBKR allows 10 calls a second in all
EAGER_ROUNDS = 20  # in which checks are more frequent while the session opens; then they come as usual
RATE_LIMITED_INTERVAL_S = 60.0  # seconds; IBKR has refused calls with 429
MAX_INTERVAL_S = 30.0  # seconds between checks of a Gateway that does not answer
PREFLIGHT_INTERVAL_S = 5.0
"""Seconds at least between two preflights of one session: IBKR's limit for /portfolio/accounts."""
LOGIN_TYPE_INTERVAL_S = 61.0
"""Seconds at least between two /sso/validate: IBKR allows one a minute, and a login makes one."""
RECLAIM_WATCH_S = 3.0  # seconds after a reclaim in which checks are more frequent


OPEN_ALREADY = "the brokerage session is open, and no brokerage call was refused since one last worked"
REQUESTING_STATES = (SessionState.OPENING, SessionState.UNUSABLE)
"""States in which the keeper requests the brokerage session."""
LOGIN_OBSERVATIONS = {True: Observation.DISCONNECTED, False: Observation.NO_LOGIN, None: Observation.UNCLEAR}
"""What an unclear check means, by whether the login is alive."""
SHOWING_NOTHING = (Observation.RATE_LIMITED, Observation.TIMEOUT, Observation.UNUSABLE_RESPONSE)
"""Observations that explain no refusal of a brokerage call."""


def exponential_backoff(first_s: float, times: int, max_s: float) -> float:
    """A growing pause in seconds: `first_s` doubled `times` times, at most `max_s`; any number of times is safe."""
    return min(first_s * 2.0 ** min(times, 6), max_s)


class Keeper(SessionStatus):
    """Keeps the session of one profile.

    Args:
        suppressed_call: returns the call that suppresses questions again, as IBKR drops the list with each brokerage
            session; None if nothing is suppressed.
        selected_account: the account that a caller selected; IBKR forgets it with each brokerage session.
    """

    def __init__(
        self,
        name: str,
        session_api: SessionApi,
        policy: Policy,
        clock: Clock,
        bus: events.Bus,
        redactor: Redactor,
        traffic: TrafficView | None = None,
        suppressed_call: Callable[[], Call | None] = lambda: None,
        selected_account: SelectedAccount | None = None,
    ) -> None:
        super().__init__(policy, clock, session_api.hints)
        self._traffic = traffic or TrafficView()
        self._suppressed_call = suppressed_call
        self._selected_account = selected_account or SelectedAccount(None, bus)
        self._name = name
        self._bus = bus
        self._redactor = redactor
        self._api = session_api
        session_api.on_late_check = self._wake.set
        self.on_change: events.Subscribers[bool] = events.Subscribers("session", bus)
        """Subscribers are called with whether the session is ready, whenever its state or reason changed; before the
        event.
        """
        self._opener = SessionOpener(
            session_api, policy.compete, clock, bus, lambda: self.maintenance_end is not None, redactor.redact
        )
        self._slow_down_over = asyncio.Event()
        self._login_proof = LoginProof(session_api, clock)
        self._is_reopen_requested = self._is_reopening = False
        self._rounds_in_state = 0
        self._false_alarms = 0
        self._selection_message = ""  # why the selected account is not selected again yet
        self._latest_list = b""  # of accounts, as a caller fetched it
        self._login_type_is_due = False
        self._repeated_at = self._tickle_at = self._login_type_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Keeper {self._name} {self.session.state.value}: {self.session.reason}>"

    def hint(self, session: Session | None = None) -> str:
        """See `SessionStatus.hint`; also says when the session was left to a competing program, and why there is no
        connection.
        """
        checked = session or self.session
        reclaims = checked.state is SessionState.COMPETING and self._policy.compete is Compete.RECLAIM
        if reclaims and self._opener.are_reclaims_exhausted:
            return self._hints.reclaims_exhausted
        if checked.state in REQUESTING_STATES and self._opener.keeps_failing:
            return self._hints.openings_fail
        return self._api.problem_hint if checked.observation is Observation.NO_CONNECTION else super().hint(session)

    @property
    def next_action(self) -> str:
        """What the keeper does next by itself, and when."""
        next_check = f"next check in {max(0.0, self.next_check_at - self._clock.now()):.1f} s"
        if self._api.next_act:
            return self._api.next_act
        if self.session.state in REQUESTING_STATES:
            return f"{next_check}, next attempt to open the session in {self._opener.wait_s:.0f} s"
        if self.session.state is SessionState.COMPETING and self._policy.compete is Compete.RECLAIM:
            return f"{next_check}, next attempt to take the session back in {self._opener.reclaim_wait_s:.0f} s"
        return next_check

    @property
    def next_access(self) -> datetime | None:
        """When IBKR is next asked for access; None if there is access, or nobody asks by himself."""
        wait_s = self._api.access_wait_s
        return None if wait_s is None else self.utc() + timedelta(seconds=wait_s)

    def status(self, session: Session | None = None) -> KeeperStatus:
        """The status of the session, or of the one that `current` returned if it differs."""
        checked = session or self.session
        return KeeperStatus(
            state=checked.state.value,
            authenticated=checked.state is SessionState.READY,
            login=checked.has_login,
            competing=checked.state is SessionState.COMPETING,
            reason=checked.reason,
            hint=self.hint(checked),
            since=self.since if checked is self.session else self.utc(),
            checked=self.checked_utc,
            last_good=self.last_good_utc,
            ibkr_message=self.ibkr_message,
            next=self.next_action,
            login_expires=self.login_expires,
            next_reset=self.next_reset,
        )

    def renew_access(self) -> None:
        """The credential has changed: sign in with the new one, without waiting for the end of the present access."""
        self._api.request_access(is_new_credential=True)
        self.request_check()

    async def reopen(self) -> OpeningReport:
        """Check the session on request, and request the brokerage session where calls fail, as the backoff allows."""
        earlier_count = self._opener.request_count
        self._is_reopen_requested = True
        self._api.request_access()
        await self.check_now()
        if self.session.has_login:
            await self.wait_until_up(Layer.BROKERAGE, CHECK_TIMEOUT_S)
        if not self.session.has_login:
            return OpeningReport(requested=False, reason=self.hint())
        if self.session.state is SessionState.READY and self._opener.request_count == earlier_count:
            return OpeningReport(requested=False, reason=OPEN_ALREADY)
        if self.session.state is SessionState.COMPETING and self._opener.request_count == earlier_count:
            return OpeningReport(requested=False, reason=self.hint())
        return self._opener.report_of(earlier_count)

    def end_slow_down(self) -> None:
        """Check at once, although IBKR refused calls a moment ago: its limits are known to be over."""
        self._slow_down_over.set()

    async def log_out(self) -> int:
        """End the login at IBKR; only a person can begin a new one."""
        status = await self._api.log_out()
        await self.check_now()
        return status

    # -- the loop

    async def run_loop(self) -> NoReturn:
        """Run rounds until cancelled."""
        while True:
            try:
                await self._round()
            except Exception as exc:  # a keeper that stopped silently would be worse than any error
                self._bus.publish(events.KeeperFailed(type(exc).__name__, events.traceback_places(exc)))
            self._end_round()
            await self._wait_for_next_round()

    async def _round(self) -> None:
        was_requested = self._begin_round()
        observation = await self._observe()
        if observation is Observation.RATE_LIMITED:
            self._traffic.on_rate_limited()
        checked_at = self._clock.now()
        self.status_body = self._api.status_body
        self._false_alarms = self._false_alarms + 1 if was_requested and observation is Observation.SESSION else 0
        session, actions = step(self.session, observation, checked_at)
        if session.has_login and self.session.state in (SessionState.SIGNED_OUT, SessionState.UNREACHABLE):
            self._login_type_at = checked_at  # the Gateway made such a call itself during the login
        if session.state is SessionState.READY and (doubt := await self._prepare_if_due(actions)) is not None:
            session, actions = step(self.session, doubt, checked_at)
        if session.state is SessionState.READY:
            await self._check_login_type()
            self._publish(session, checked_at)
        else:
            self._publish(session, checked_at)
            await self._perform(actions)
        if session.has_login and self._clock.now() - self._tickle_at >= self._tickle_pause:
            await self._tickle()
        if Action.PREPARE in actions:
            await self._api.warm_up_orders()

    async def _observe(self) -> Observation:
        """One check of the session, corrected by what calls and the login show."""
        observation = await self._api.check_status()
        if observation is Observation.UNCLEAR:
            return LOGIN_OBSERVATIONS[await self._login_proof.is_alive()]
        if observation is not Observation.SESSION:
            if observation not in SHOWING_NOTHING:
                self.refused_calls.forget()
            return observation
        self.refused_calls.confirm()
        is_refuted = self.refused_calls.contradicts_status or (self._is_reopening and self.refused_calls.has_refusals)
        if is_refuted and self.session.state is SessionState.READY:
            self.refused_calls.on_contradicted(self._clock.now())
            return Observation.SESSION_UNUSABLE
        return observation

    async def _prepare_if_due(self, actions: tuple[Action, ...]) -> Observation | None:
        """Make the preflight if the session has just opened or IBKR demands it.

        Returns:
            What it shows instead of a session; None if the session is good.
        """
        if Action.PREPARE in (*actions, *self._repeated_preflight()):
            return await self._prepare()
        if self.refused_calls.is_settled(self._clock.now()):
            self._opener.record_success()
        return None

    @property
    def _tickle_pause(self) -> float:
        failures = self._tickle_failures
        return exponential_backoff(TICKLE_RETRY_S, failures - 1, TICKLE_INTERVAL_S) if failures else TICKLE_INTERVAL_S

    def _begin_round(self) -> bool:
        """Returns whether a check was requested since the last one."""
        self._wake.clear()
        self._slow_down_over.clear()
        self._is_checking = True
        self.refused_calls.begin_check()
        self._is_reopening, self._is_reopen_requested = self._is_reopen_requested, False
        was_requested, self._is_check_requested = self._is_check_requested, False
        return was_requested

    @property
    def _has_unanswered_checks(self) -> bool:
        return self._api.unanswered > 0

    def _repeated_preflight(self) -> tuple[Action, ...]:
        """Another preflight, if IBKR demanded it or the last one returned no accounts."""
        now = self._clock.now()
        if now - self._repeated_at < PREFLIGHT_INTERVAL_S or not (self._prepare_again or not self.accounts.numbers):
            return ()
        self._repeated_at = now
        return (Action.PREPARE,)

    async def _perform(self, actions: tuple[Action, ...]) -> None:
        for action in dict.fromkeys(actions):
            await self._PERFORM[action](self)
        self.ibkr_message = self._joined_messages()

    async def _prepare(self) -> Observation | None:
        """The preflight, and what IBKR forgets with each brokerage session."""
        self._prepare_again = False
        result = await self._api.run_preflight()
        if result.outcome is PreflightOutcome.REFUSED or (
            result.outcome is PreflightOutcome.FAILED and self.session.state is SessionState.UNUSABLE
        ):
            self.refused_calls.on_contradicted(self._clock.now())
            return Observation.SESSION_UNUSABLE
        if result.outcome is PreflightOutcome.WORKED:
            self.refused_calls.forget()
        if result.accounts is not None:  # a failure shows nothing; the preflight is repeated
            self.accounts = replace(result.accounts, login_is_paper=self.accounts.login_is_paper)
            self._register_accounts(result.accounts.numbers | result.accounts.others)
        if not await self._select_account(is_list_fresh=result.accounts is not None):
            return Observation.ESTABLISHING
        self._login_type_is_due = True
        if (call := self._suppressed_call()) is not None:
            await self._api.send(call)  # if it fails, IBKR asks its questions again, which is safe
        if self.refused_calls.is_settled(self._clock.now()):
            self._opener.record_success()
        kind = {True: "yes", False: "no", None: "unknown"}[self.accounts.paper]
        self._bus.publish(events.PreflightDone(len(self.accounts.numbers), kind))
        return None

    async def _select_account(self, *, is_list_fresh: bool) -> bool:
        """Select the account again that a caller selected.

        Args:
            is_list_fresh: whether IBKR has just listed the accounts: an older list may show a selection that is gone.

        Returns:
            Whether IBKR decided. If not, the session is not ready yet: an order that names no account would go to
            another one.
        """
        self._selection_message = ""
        call = self._selected_account.call_to_select(self.accounts) if is_list_fresh else None
        if call is None and (is_list_fresh or not self._selected_account.number):
            return True
        response = await self._api.send(call) if call is not None else None
        outcome = self._selected_account.on_response(response, self._clock.now())
        status, body = (response.status, response.body) if response is not None else (0, b"")
        words = shown_message(body, self._redactor.redact)
        if outcome is Selection.REFUSED:
            self._bus.publish(events.AccountNotSelected(status, words))
        elif outcome is Selection.UNDECIDED:
            self._selection_message = f"the account cannot be selected again yet: {words or status or 'no answer'}"
        return outcome is not Selection.UNDECIDED

    def observe(self, context: CallContext, response: Response) -> None:
        """Learn the account numbers in a list of accounts that a caller fetched, so that they are redacted."""
        is_list = context.endpoint.satisfies in (Prerequisite.ACCOUNTS, Prerequisite.PORTFOLIO)
        is_complete = response.status == HTTPStatus.OK and response.body_stream is None
        if is_list and is_complete and response.body != self._latest_list:  # apps fetch the same list again and again
            self._latest_list = response.body
            self._register_accounts(named_accounts(parse_json(response.body)))

    def _register_accounts(self, numbers: Iterable[str]) -> None:
        for number in numbers:
            self._redactor.add_account(number)

    _PERFORM: ClassVar = {
        Action.OPEN: lambda keeper: keeper._opener.open(),
        Action.GRACE: lambda keeper: keeper._opener.grant_grace(),
        Action.RECLAIM: lambda keeper: keeper._opener.reclaim(),
    }

    async def _check_login_type(self) -> None:
        """Fetch the type of the login once after each preflight, as soon as the rate limit allows it."""
        now = self._clock.now()
        if not self._login_type_is_due or now - self._login_type_at < LOGIN_TYPE_INTERVAL_S or self._traffic.in_box():
            return
        self._login_type_is_due, self._login_type_at = False, now
        is_paper = await self._api.login_is_paper()
        if is_paper is not None:  # else the type that is known of this login still applies
            self.accounts = replace(self.accounts, login_is_paper=is_paper)

    async def _tickle(self) -> None:
        self._tickle_at = self._clock.now()
        body = await self._api.tickle()
        self._tickle_failures = 0 if body else self._tickle_failures + 1
        if body is None:
            return
        self.tickle = body
        self._redactor.add_secret(str(body["session"]))
        remaining_ms = body.get("ssoExpires")
        if isinstance(remaining_ms, int | float) and 0 <= remaining_ms < 1e10:
            self.login_expires = self._clock.utc() + timedelta(milliseconds=remaining_ms)

    # -- publishing

    def _publish(self, session: Session, checked_at: float) -> None:
        """Publish the result of a check; `checked_at` is the time of its response.

        A check that was refused with 429 shows nothing.
        """
        previous, self.session = self.session, session
        if session.observation is not Observation.RATE_LIMITED:
            self.checked_at, self.checked_utc = checked_at, self._clock.utc()
        if session.observation is Observation.SESSION:
            self.last_good_utc = self.checked_utc
        self.ibkr_message = self._joined_messages()
        self._rounds_in_state += 1  # this one included, so that the published pause is the one that follows
        if session.state is not previous.state:
            self.since = self._clock.utc()
            self._rounds_in_state = 1
        self.next_check_at = self._clock.now() + self._interval_after(session)
        if not session.has_login:
            self.accounts, self.tickle, self.login_expires = Accounts(), {}, None
            self._tickle_at = float("-inf")
        if (session.state, session.reason) != (previous.state, previous.reason):
            self._publish_event(previous, session)

    def _publish_event(self, previous: Session, session: Session) -> None:
        kind = events.SessionLost if previous.state is SessionState.READY else events.SessionChanged
        kind = events.SessionChangedInMaintenance if self.maintenance_end else kind
        kind = events.SessionReady if session.state is SessionState.READY else kind
        after = round(session.since - previous.since, 1)
        names = (previous.state.value, session.state.value, session.reason)
        self.on_change.notify(session.state is SessionState.READY)
        self._bus.publish(kind(*names, self.hint(), after, self.next_action, self.ibkr_message))

    def _joined_messages(self) -> str:
        """What IBKR says now, said to refused calls and said of the last opening; a secret may be known only now."""
        messages = (
            *(self._api.status_message, self.refused_calls.message),
            *(self._opener.message, self._selection_message),
        )
        return "; ".join(dict.fromkeys(shorten(self._redactor.redact(each)) for each in messages if each))

    def _end_round(self) -> None:
        self._is_checking = False
        self._rounds += 1
        round_over, self._round_over = self._round_over, asyncio.Event()
        round_over.set()

    # -- intervals

    async def _wait_for_next_round(self) -> None:
        """Wait until the next round is due or a check is requested; after false alarms a requested check has to wait
        longer.
        """
        pause_s = self._interval_after(self.session)
        self.next_check_at = self._clock.now() + pause_s
        min_pause_s = exponential_backoff(MIN_INTERVAL_S, self._false_alarms, pause_s)
        await self._clock.wait(asyncio.Event(), min_pause_s)
        ignores_requests = self._is_to_slow_down(self.session)  # requested checks do not count
        if pause_s > min_pause_s and (ignores_requests or not self._wake.is_set()):
            await self._clock.wait(self._slow_down_over if ignores_requests else self._wake, pause_s - min_pause_s)

    def _is_to_slow_down(self, session: Session) -> bool:
        """Whether IBKR has refused calls with 429."""
        return session.observation is Observation.RATE_LIMITED or self._traffic.in_box()

    def _interval_after(self, session: Session) -> float:
        if self._is_to_slow_down(session):
            return RATE_LIMITED_INTERVAL_S
        if session.state in REQUESTING_STATES and self._rounds_in_state < EAGER_ROUNDS:
            return min(self._policy.opening_interval_s, max(MIN_INTERVAL_S, self._opener.wait_s))
        if session.state is SessionState.COMPETING and self._clock.now() - self._opener.requested_at < RECLAIM_WATCH_S:
            return self._policy.opening_interval_s
        if session.state is SessionState.SILENT:
            return exponential_backoff(self._policy.watch, self._rounds_in_state, MAX_INTERVAL_S)
        return min(self._policy.watch, TICKLE_RETRY_S) if self._tickle_failures == 1 else self._policy.watch
