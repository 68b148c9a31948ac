"""What is known of a profile's session, and how other parts read it.

Only the keeper writes here; other parts read, wait for a check, or request one. This file sends no call to the Gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ibkr_bridge.calls.messages import noop
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.value_types import WeeklyMoment, WeeklyWindow
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.session import maintenance
from ibkr_bridge.session.maintenance import DAILY_RESET
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.refused_calls import RefusedCalls
from ibkr_bridge.session.state_machine import Observation, Session, SessionState, initial_session

MAX_AGE_S = 5.0  # seconds; an older status is refreshed before it is returned
CHECK_TIMEOUT_S = 3.0  # seconds that a caller waits for that
MAX_OVERDUE_S = 25.0  # seconds a round may be late; the longest, with no call answered, takes 21
MAX_WAITERS = 64  # callers that wait for one check; more get the known status at once, so that they hold no connections
OPENING_INTERVAL_S = 0.5  # seconds between checks while the session opens, where IBKR's limits allow it
STARTING_HINT = "wait a moment"


@dataclass(frozen=True)
class Policy:
    """The settings of the keeper."""

    watch: float
    """Seconds between two checks."""
    compete: Compete
    region: Region
    maintenance: tuple[WeeklyWindow, ...]
    resets: tuple[WeeklyMoment, ...] = (DAILY_RESET,)
    max_age_s: float = MAX_AGE_S
    """An older status is refreshed before it is returned."""
    max_overdue_s: float = MAX_OVERDUE_S
    """How late a check may be before the keeper counts as stuck."""
    opening_interval_s: float = OPENING_INTERVAL_S
    """Seconds between two checks while the session opens."""


@dataclass(frozen=True)
class SessionHints:
    """What a person should do at one kind of upstream, in its own words."""

    by_observation: Mapping[Observation, str]
    """For each observation that this upstream can make."""
    yielding: str
    """If the session is left to a competing program, as the settings say."""
    reclaims_exhausted: str
    """If the session is left to a competing program after it was taken back too often."""
    openings_fail: str
    """If the brokerage session does not open, however often it is requested."""
    details: Mapping[SessionState, str] = field(default_factory=dict)
    """What is the case in a state, where this upstream has words of its own."""
    forbidden: str = "IBKR refuses the address of this machine"
    """What is the case if the upstream refuses this address."""
    forbidden_hint: str | None = None
    """What to do about it; None for that of the error."""
    refused_hint: str | None = None
    """What to do about a call that IBKR refuses although the session is up; None for that of the error."""
    needs_person: bool = False
    """Whether only a person or a program of his can sign in."""


@dataclass(frozen=True)
class TrafficView:
    """What the keeper learns of the callers' traffic, and reports of its own."""

    in_box: Callable[[], bool] = lambda: False
    """Whether IBKR refuses everything for a while."""
    on_rate_limited: Callable[[], None] = noop
    """Called when IBKR refused the keeper's own check with 429."""


@dataclass(frozen=True)
class KeeperStatus:
    """The session in one moment, for people and dashboards."""

    state: str = field(metadata={"doc": "State of the session; `ready` alone lets brokerage calls through."})
    authenticated: bool = field(metadata={"doc": "Whether the brokerage session is open."})
    login: bool = field(metadata={"doc": "Whether somebody is signed in at the Gateway."})
    competing: bool = field(metadata={"doc": "Whether another session of the same username is in the way."})
    reason: str = field(metadata={"doc": "Why the session is in this state, as a code."})
    hint: str = field(metadata={"doc": "What a person should do now."})
    since: datetime = field(metadata={"doc": "When the session came into this state."})
    checked: datetime | None = field(metadata={"doc": "When the session was last checked; null before the first time."})
    last_good: datetime | None = field(
        metadata={"doc": "When a check last found the brokerage session open; null if none did."}
    )
    ibkr_message: str = field(
        metadata={"doc": "What IBKR itself says of the session, redacted; empty if it says nothing."}
    )
    next: str = field(metadata={"doc": "What the keeper does next by itself, and when."})
    login_expires: datetime | None = field(
        metadata={"doc": "When IBKR ends the login unless it is kept awake; null while nobody knows."}
    )
    next_reset: datetime = field(metadata={"doc": "When IBKR next ends every login."})


class SessionStatus:
    """What is known of the session, and since when.

    Args:
        policy: the settings of the keeper.
        clock: the time.
        hints: what a person should do, in the words of the upstream.
    """

    def __init__(self, policy: Policy, clock: Clock, hints: SessionHints) -> None:
        self._policy = policy
        self._hints = hints
        self._clock = clock
        self._wake = asyncio.Event()
        self._round_over = asyncio.Event()
        self._rounds = 0
        self._is_checking = False
        self._prepare_again = False
        self._is_check_requested = False
        self._waiter_count = 0
        self._tickle_failures = 0
        self.refused_calls = RefusedCalls()
        """What brokerage calls showed of the session."""
        self.ibkr_message = ""
        """IBKR's own words about the session, redacted; empty if it says nothing."""
        self.session: Session = initial_session(clock.now())
        self.since: datetime = clock.utc()
        self.checked_at = float("-inf")
        """When a check last showed something of the session, in seconds of the clock."""
        self.checked_utc: datetime | None = None
        self.last_good_utc: datetime | None = None
        self.next_check_at = clock.now()
        self.accounts = Accounts()
        self.status_body: Mapping[str, object] = {}
        """The last response of `auth/status`, in IBKR's own form."""
        self.tickle: Mapping[str, object] = {}
        """The last response of `tickle`; empty while there is none of this login."""
        self.login_expires: datetime | None = None

    @property
    def overdue_s(self) -> float:
        """Seconds since the next check was due; it also grows while a check is running."""
        return max(0.0, self._clock.now() - self.next_check_at)

    def problem(self) -> str | None:
        """What is wrong with the keeper itself, as text; None while its rounds are on time."""
        return f"the keeper is {self.overdue_s:.0f} s late" if self.overdue_s > self._policy.max_overdue_s else None

    def hint(self, session: Session | None = None) -> str:
        """What a person should do now, or about the given session."""
        session = session or self.session
        if session.state is SessionState.COMPETING and self._policy.compete is Compete.YIELD:
            return self._hints.yielding
        return STARTING_HINT if session.observation is None else self._hints.by_observation.get(session.observation, "")

    @property
    def words(self) -> SessionHints:
        """The words of this upstream."""
        return self._hints

    @property
    def maintenance_end(self) -> datetime | None:
        """The end of the known maintenance window we are in, if any."""
        return maintenance.window_end(self._clock.utc(), self._policy.region, self._policy.maintenance)

    @property
    def next_reset(self) -> datetime:
        """When IBKR next ends every login."""
        return maintenance.next_reset(self._clock.utc(), self._policy.region, self._policy.resets)

    def session_id(self) -> str:
        """IBKR's id of the session from the last tickle; empty if there is none."""
        return str(self.tickle.get("session", ""))

    def utc(self) -> datetime:
        """The wall-clock time."""
        return self._clock.utc()

    def is_up(self, layer: Layer) -> bool:
        """Whether a call that needs this layer can succeed now."""
        return self.session.state is SessionState.READY or (layer is Layer.LOGIN and self.session.has_login)

    def report_call(self, *, is_refused: bool, message: str = "") -> None:
        """Report that a brokerage call worked, or was answered with these words of a lost session."""
        if is_refused:
            self.refused_calls.on_refused(message)
        else:
            self.refused_calls.forget()

    def request_check(self, *, prepare: bool = False) -> None:
        """Request a check at once, as the session may be lost; `prepare`: IBKR demands the preflight again."""
        self._prepare_again |= prepare
        self._is_check_requested = True
        self._wake.set()

    async def current(self, max_age: float | None = None) -> Session:
        """The session, checked within the last `max_age` seconds if IBKR answers within 3 s.

        Concurrent callers share one check. A ready session that cannot be checked again in time is not returned as
        ready.
        """
        max_age = self._policy.max_age_s if max_age is None else max_age
        if not self._is_fresh(max_age) and self._may_wake and self._waiter_count < MAX_WAITERS:
            await self._refresh(max_age)
        if self._is_fresh(max_age) or self.session.state is not SessionState.READY:
            return self.session
        observation = (
            Observation.RATE_LIMITED if self.session.observation is Observation.RATE_LIMITED else Observation.TIMEOUT
        )
        return Session(SessionState.SILENT, observation, self._clock.now())

    async def _refresh(self, max_age: float) -> None:
        self._waiter_count += 1
        self._wake.set()
        try:
            await self._wait_until(lambda: self._is_fresh(max_age), CHECK_TIMEOUT_S)
        finally:
            self._waiter_count -= 1

    @property
    def _may_wake(self) -> bool:
        """Whether another check makes sense now: not while IBKR limits us, nor while an earlier check is unanswered."""
        return self.session.observation is not Observation.RATE_LIMITED and not (
            self.session.state is SessionState.SILENT and self._has_unanswered_checks
        )

    @property
    def _has_unanswered_checks(self) -> bool:
        """Whether a check that was given up is still unanswered: another one would show nothing newer."""
        return False

    async def check_now(self, max_wait_s: float = CHECK_TIMEOUT_S) -> Session:
        """The session after a check that begins from now on."""
        wanted = self._rounds + (2 if self._is_checking else 1)
        self._wake.set()
        await self._wait_until(lambda: self._rounds >= wanted, max_wait_s)
        return self.session

    async def wait_until_up(self, layer: Layer, seconds: float, is_leaving: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a layer is up, at most so many seconds, or until `is_leaving` returns true after a check. Returns
        whether it is up.
        """
        await self._wait_until(lambda: self.is_up(layer) or is_leaving(), seconds)
        return self.is_up(layer)

    async def wait_until_tickled(self) -> None:
        """Wait until there is a response of `tickle`, at most 3 s, and not if it fails repeatedly."""
        await self._wait_until(
            lambda: bool(self.tickle) or self._tickle_failures > 1 or not self.session.has_login, CHECK_TIMEOUT_S
        )

    def _is_fresh(self, max_age: float) -> bool:
        return self._clock.now() - self.checked_at <= max_age

    async def _wait_until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._round_over.wait()
        except TimeoutError:
            return
