"""Stays signed in: looks, lets `machine.py` decide, acts, and tells everybody the one truth.

A round is one look at `auth/status` and what it asks for. Rounds follow each other for ever, every few seconds, sooner
when somebody has a reason to doubt. No exception ends the loop: one that nobody foresaw is announced, and the next
round begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, NoReturn

from ibkr_bridge import events
from ibkr_bridge.calls.messages import Call
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Compete
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.backoff import ReopenBackoff
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.session_api import SessionApi
from ibkr_bridge.session.session_status import CHECK_TIMEOUT_S, KeeperStatus, Policy, SessionStatus, TrafficView
from ibkr_bridge.session.state_machine import Action, Observation, Session, SessionState, step

TICKLE_RETRY_S = 2.0  # seconds after one that failed, then twice as long each time
TICKLE_INTERVAL_S = 60.0  # seconds, as IBKR asks; its idle time-out is 5 to 6 minutes
MIN_INTERVAL_S = 0.25  # seconds between two looks, however many doubts there are: IBKR allows 10 calls a second in all
OPENING_INTERVAL_S = 0.5  # seconds between looks while the session opens, for the first EAGER_ROUNDS; then as usual
EAGER_ROUNDS = 20
RATE_LIMITED_INTERVAL_S = 60.0  # seconds; IBKR is angry with us
MAX_INTERVAL_S = 30.0  # seconds between looks at a Gateway that does not answer
PREFLIGHT_INTERVAL_S = (
    5.0  # seconds at least between two pre-flights of one session: IBKR allows /portfolio/accounts no more
)
LOGIN_TYPE_INTERVAL_S = (
    61.0  # seconds at least between two /sso/validate: IBKR allows one a minute, and a sign-in makes one
)
RECLAIM_WATCH_S = 3.0  # seconds within which a reclaimed session is looked for eagerly
RECLAIMS_EXHAUSTED_HINT = (
    "the bridge took the session back three times this hour and now leaves it to the other side: sign out there"
)


def exponential_backoff(first: float, times: int, most: float) -> float:
    """A pause that grows: `first` doubled so many times, `most` at most. Seconds; any number of times is safe."""
    return min(first * 2.0 ** min(times, 6), most)


class Keeper(SessionStatus):
    """Keeps the session of one line.

    Args:
        said_again: what callers told IBKR that it forgets with each brokerage session, as the call that tells it again;
            None where there is nothing.
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
    ) -> None:
        super().__init__(policy, clock)
        self._traffic = traffic or TrafficView()
        self._said_again = suppressed_call
        self._name = name
        self._bus = bus
        self._redactor = redactor
        self._api = session_api
        session_api.on_late_check = self._wake.set
        self.on_change: events.Subscribers[bool] = events.Subscribers("session", bus)
        """Called with whether the session is ready, whenever its state or reason changed; before the event."""
        self._backoff = ReopenBackoff()
        self._rounds_in_state = 0
        self._false_alarms = 0
        self._login_type_is_due = False
        self._repaired = self._tickle_tried = self._asked = self._kind_told = float("-inf")

    def __repr__(self) -> str:
        return f"<Keeper {self._name} {self.session.state.value}: {self.session.reason}>"

    def hint(self, session: Session | None = None) -> str:
        """See `View.hint`; says when the session has been left to a rival, and why there is no connection."""
        told = session or self.session
        reclaims = told.state is SessionState.COMPETING and self._policy.compete is Compete.RECLAIM
        if reclaims and self._backoff.reclaims_exhausted(self._clock.now()):
            return RECLAIMS_EXHAUSTED_HINT
        return self._api.problem_hint if told.observation is Observation.NO_CONNECTION else super().hint(session)

    @property
    def next_action(self) -> str:
        """What comes next by itself, and when."""
        look = f"looks again in {max(0.0, self.next_check_at - self._clock.now()):.1f} s"
        if self.session.state is SessionState.OPENING:
            return f"{look}, asks for the session again in {self._wait_to_open():.0f} s"
        if self.session.state is SessionState.COMPETING and self._policy.compete is Compete.RECLAIM:
            return f"{look}, takes the session back in {self._backoff.wait_to_reclaim(self._clock.now()):.0f} s"
        return look

    def status(self, session: Session | None = None) -> KeeperStatus:
        """The session as it stands, or as `current` returned it where that differs."""
        told = session or self.session
        return KeeperStatus(
            state=told.state.value,
            authenticated=told.state is SessionState.READY,
            login=told.has_login,
            competing=told.state is SessionState.COMPETING,
            reason=told.reason,
            hint=self.hint(told),
            since=self.since if told is self.session else self.utc(),
            checked=self.checked_utc,
            last_good=self.last_good_utc,
            next=self.next_action,
            login_expires=self.login_expires,
            next_reset=self.next_reset,
        )

    async def reopen(self) -> Session:
        """A person or a program asks for the session: look, and open it if it is lost, as the ration allows."""
        await self.check_now()
        if self.session.has_login:
            await self.wait_until_up(Layer.BROKERAGE, CHECK_TIMEOUT_S)
        return self.session

    async def log_out(self) -> int:
        """End the login at IBKR; only a person or IBeam can make a new one."""
        status = await self._api.log_out()
        await self.check_now()
        return status

    # -- the loop

    async def run_loop(self) -> NoReturn:
        """Round after round, for ever."""
        while True:
            try:
                await self._round()
            except Exception as exc:  # whatever it is, a keeper that has died in silence is worse
                self._bus.publish(events.KeeperFailed(type(exc).__name__, events.traceback_places(exc)))
            self._end_round()
            await self._wait_for_next_round()

    async def _round(self) -> None:
        doubted = self._begin_round()
        saw = await self._api.check_status()
        if saw is Observation.SESSION and self._traffic.is_clogged():
            saw = Observation.SLOTS_EXHAUSTED
        if saw is Observation.RATE_LIMITED:
            self._traffic.on_rate_limited()
        seen = self._clock.now()
        self.status_body = self._api.status_body
        self._false_alarms = self._false_alarms + 1 if doubted and saw is Observation.SESSION else 0
        session, acts = step(self.session, saw, seen)
        if session.has_login and self.session.state in (SessionState.SIGNED_OUT, SessionState.UNREACHABLE):
            self._kind_told = seen  # to the Gateway, when somebody signed in
        if session.state is SessionState.READY:
            acts = (*acts, *self._repeated_preflight())
            await self._perform(acts)
            await self._check_login_type()
            self._publish(session, seen)
        else:
            self._publish(session, seen)
            await self._perform(acts)
        if session.has_login and self._clock.now() - self._tickle_tried >= self._tickle_pause:
            await self._tickle()
        if Action.PREPARE in acts:
            await self._api.warm_up_orders()

    @property
    def _tickle_pause(self) -> float:
        failures = self._tickle_failures
        return exponential_backoff(TICKLE_RETRY_S, failures - 1, TICKLE_INTERVAL_S) if failures else TICKLE_INTERVAL_S

    def _begin_round(self) -> bool:
        """Returns whether somebody doubted the session since the last look."""
        self._wake.clear()
        self._looking = True
        doubted, self._doubted = self._doubted, False
        return doubted

    @property
    def _has_unanswered_checks(self) -> bool:
        return self._api.unanswered > 0

    def _repeated_preflight(self) -> tuple[Action, ...]:
        """The pre-flight once more, where IBKR asked for it or the last one told of no accounts."""
        now = self._clock.now()
        if now - self._repaired < PREFLIGHT_INTERVAL_S or not (self._prepare_again or not self.accounts.numbers):
            return ()
        self._repaired = now
        return (Action.PREPARE,)

    async def _perform(self, acts: tuple[Action, ...]) -> None:
        for act in dict.fromkeys(acts):
            await self._PERFORM[act](self)

    async def _open(self) -> None:
        if self._wait_to_open() <= 0 and not self._api.is_opening:
            await self._request_session(reclaim=False)

    async def _grace(self) -> None:
        self._backoff.grant_grace(self._clock.now())

    async def _reclaim(self) -> None:
        may = self._policy.compete is Compete.RECLAIM and not self._api.is_opening
        if may and self._backoff.wait_to_reclaim(self._clock.now()) <= 0:
            await self._request_session(reclaim=True)

    async def _request_session(self, *, reclaim: bool) -> None:
        self._asked = self._clock.now()
        attempt = self._backoff.record_attempt(self._asked, reclaim=reclaim)
        compete = self._policy.compete is Compete.RECLAIM
        status = await self._api.open_session(compete=compete)
        self._bus.publish(events.SessionOpening(compete, attempt, status, round(self._wait_to_open(), 1)))

    async def _prepare(self) -> None:
        self._backoff.record_success()
        self._prepare_again = False
        self._login_type_is_due = True
        found = await self._api.run_preflight()
        if found is not None:  # a failure tells nothing; it is made again
            self.accounts = replace(found, login_is_paper=self.accounts.login_is_paper)
        if (call := self._said_again()) is not None:
            await self._api.send(call)
        kind = {True: "yes", False: "no", None: "unknown"}[self.accounts.paper]
        self._bus.publish(events.PreflightDone(len(self.accounts.numbers), kind))

    _PERFORM: ClassVar = {Action.OPEN: _open, Action.GRACE: _grace, Action.RECLAIM: _reclaim, Action.PREPARE: _prepare}

    async def _check_login_type(self) -> None:
        """Ask what kind of login it is, once after each pre-flight, as soon as IBKR takes that."""
        now = self._clock.now()
        if not self._login_type_is_due or now - self._kind_told < LOGIN_TYPE_INTERVAL_S or self._traffic.in_box():
            return
        self._login_type_is_due, self._kind_told = False, now
        told = await self._api.login_is_paper()
        if told is not None:  # else what this login was told to be still holds
            self.accounts = replace(self.accounts, login_is_paper=told)

    async def _tickle(self) -> None:
        self._tickle_tried = self._clock.now()
        body = await self._api.tickle()
        self._tickle_failures = 0 if body else self._tickle_failures + 1
        if body is None:
            return
        self.tickle = body
        self._redactor.add_secret(str(body["session"]))
        left = body.get("ssoExpires")
        if isinstance(left, int | float) and 0 <= left < 1e10:
            self.login_expires = self._clock.utc() + timedelta(milliseconds=left)

    # -- telling

    def _publish(self, session: Session, seen: float) -> None:
        """Tell what a look showed; `seen`: when it was answered. One that was paced has shown nothing."""
        was, self.session = self.session, session
        if session.observation is not Observation.RATE_LIMITED:
            self.checked_at, self.checked_utc = seen, self._clock.utc()
        if session.observation is Observation.SESSION:
            self.last_good_utc = self.checked_utc
        self._rounds_in_state += 1  # this one included, so that the pause that is told is the pause that follows
        if session.state is not was.state:
            self.since = self._clock.utc()
            self._rounds_in_state = 1
        self.next_check_at = self._clock.now() + self._interval_after(session)
        if not session.has_login:
            self.accounts, self.tickle, self.login_expires = Accounts(), {}, None
            self._tickle_tried = float("-inf")
            self._login_type_is_due = False
        if (session.state, session.reason) != (was.state, was.reason):
            self._publish_event(was, session)

    def _publish_event(self, was: Session, session: Session) -> None:
        kind = events.SessionLost if was.state is SessionState.READY else events.SessionChanged
        kind = events.SessionChangedInMaintenance if self.maintenance_end else kind
        kind = events.SessionReady if session.state is SessionState.READY else kind
        after = round(session.since - was.since, 1)
        names = (was.state.value, session.state.value, session.reason)
        self.on_change.notify(session.state is SessionState.READY)
        self._bus.publish(kind(*names, self.hint(), after, self.next_action))

    def _end_round(self) -> None:
        self._looking = False
        self._rounds += 1
        over, self._round_over = self._round_over, asyncio.Event()
        over.set()

    # -- pace

    def _wait_to_open(self) -> float:
        return self._backoff.wait_to_open(self._clock.now(), maintenance=self.maintenance_end is not None)

    async def _wait_for_next_round(self) -> None:
        """Until the next round is due, or somebody doubts: the sooner, the fewer doubts were false alarms lately."""
        pause = self._interval_after(self.session)
        self.next_check_at = self._clock.now() + pause
        closest = exponential_backoff(MIN_INTERVAL_S, self._false_alarms, pause)
        await self._clock.wait(asyncio.Event(), closest)
        deaf = self._is_to_slow_down(self.session)  # whoever doubts or asks
        if pause > closest and (deaf or not self._wake.is_set()):
            await self._clock.wait(asyncio.Event() if deaf else self._wake, pause - closest)

    def _is_to_slow_down(self, session: Session) -> bool:
        """Whether IBKR wants it."""
        return session.observation is Observation.RATE_LIMITED or self._traffic.in_box()

    def _interval_after(self, session: Session) -> float:
        if self._is_to_slow_down(session):
            return RATE_LIMITED_INTERVAL_S
        if session.state is SessionState.OPENING and self._rounds_in_state < EAGER_ROUNDS:
            return min(OPENING_INTERVAL_S, max(MIN_INTERVAL_S, self._wait_to_open()))
        if session.state is SessionState.COMPETING and self._clock.now() - self._asked < RECLAIM_WATCH_S:
            return OPENING_INTERVAL_S
        if session.state is SessionState.SILENT:
            return exponential_backoff(self._policy.watch, self._rounds_in_state, MAX_INTERVAL_S)
        return min(self._policy.watch, TICKLE_RETRY_S) if self._tickle_failures == 1 else self._policy.watch
