"""The one truth about a line's session, and how others ask for it.

The keeper alone writes here; everybody else reads, waits for a look, or gives a reason to doubt. Nothing in this file
talks to the Gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.session import maintenance
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.state_machine import Observation, Session, SessionState, initial_session

MAX_AGE_S = 5.0  # seconds; an older view is refreshed before it is told
CHECK_TIMEOUT_S = 3.0  # seconds a caller waits for that
MAX_OVERDUE_S = 25.0  # seconds a round may be late; the longest, with every call of it silent, takes 21
MAX_WAITERS = 64  # who wait for one look; more are told what is known, so that they hold no connections
YIELD_HINT = (
    "another session of this user is left in place; the Gateway logs itself out within 30 s of this, and IBeam, where "
    "it runs, signs in competing: stop IBeam first, or set IBKR_COMPETE=reclaim"
)


@dataclass(frozen=True)
class Policy:
    """What the keeper was told by the settings."""

    watch: float
    compete: Compete
    region: Region
    maintenance: tuple[WeeklyWindow, ...]


@dataclass(frozen=True)
class TrafficView:
    """What the keeper is told of the traffic of callers, and tells of its own."""

    is_clogged: Callable[[], bool] = lambda: False
    """Whether no call of a caller could get through."""
    in_box: Callable[[], bool] = lambda: False
    """Whether IBKR refuses everything for a while."""
    on_rate_limited: Callable[[], None] = lambda: None
    """IBKR refused the keeper's own look."""


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
    next: str = field(metadata={"doc": "What the keeper does next by itself, and when."})
    login_expires: datetime | None = field(
        metadata={"doc": "When IBKR ends the login unless it is kept awake; null while nobody knows."}
    )
    next_reset: datetime = field(metadata={"doc": "When IBKR next ends every login."})


class SessionStatus:
    """What is known of the session, and since when."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._wake = asyncio.Event()
        self._round_over = asyncio.Event()
        self._rounds = 0
        self._looking = False
        self._prepare_again = False
        self._doubted = False
        self._askers = 0
        self._tickle_failures = 0
        self.session: Session = initial_session(clock.now())
        self.since: datetime = clock.utc()
        self.checked_at = float("-inf")
        """When a look last said something of the session, seconds of the clock."""
        self.checked_utc: datetime | None = None
        self.last_good_utc: datetime | None = None
        self.next_check_at = clock.now()
        self.accounts = Accounts()
        self.status_body: Mapping[str, object] = {}
        """The last answer of `auth/status`, in IBKR's own shape."""
        self.tickle: Mapping[str, object] = {}
        """The last answer of `tickle`; empty while there is none of this login."""
        self.login_expires: datetime | None = None

    @property
    def overdue_s(self) -> float:
        """Seconds since the next look was due; while one is under way it grows too."""
        return max(0.0, self._clock.now() - self.next_check_at)

    def problem(self) -> str | None:
        """What is wrong with the keeper itself, in words; None while its rounds follow each other."""
        return f"the keeper is {self.overdue_s:.0f} s late" if self.overdue_s > MAX_OVERDUE_S else None

    def hint(self, session: Session | None = None) -> str:
        """What a person should do now, or in the given state of affairs."""
        told = session or self.session
        yielding = told.state is SessionState.COMPETING and self._policy.compete is Compete.YIELD
        return YIELD_HINT if yielding else told.hint

    @property
    def summary(self) -> str:
        """The state and what a person should do, in one line."""
        state = self.session.state
        return f"{state.value}: {'the brokerage session is open' if state is SessionState.READY else self.hint()}"

    @property
    def maintenance_end(self) -> datetime | None:
        """The end of the known maintenance window we are in, if any."""
        return maintenance.window_end(self._clock.utc(), self._policy.region, self._policy.maintenance)

    @property
    def next_reset(self) -> datetime:
        """When IBKR next ends the login whatever we do."""
        return maintenance.next_reset(self._clock.utc(), self._policy.region)

    def session_id(self) -> str:
        """IBKR's id of the session, as the last tickle told it; empty while none did."""
        return str(self.tickle.get("session", ""))

    def utc(self) -> datetime:
        """The wall's time, as the keeper is told it."""
        return self._clock.utc()

    def is_up(self, layer: Layer) -> bool:
        """Whether a call that needs this layer makes sense now."""
        return self.session.state is SessionState.READY or (layer is Layer.LOGIN and self.session.has_login)

    def request_check(self, *, prepare: bool = False) -> None:
        """Something looked as if the session were gone: look at once; `prepare`: IBKR wants its first calls again."""
        self._prepare_again |= prepare
        self._doubted = True
        self._wake.set()

    async def current(self, max_age: float = MAX_AGE_S) -> Session:
        """The session, looked at within `max_age` seconds where the Gateway allows it within three.

        All who ask share one look. A ready session that cannot be looked at again in time is not told as ready.
        """
        if not self._is_fresh(max_age) and self._may_wake and self._askers < MAX_WAITERS:
            await self._refresh(max_age)
        if self._is_fresh(max_age) or self.session.state is not SessionState.READY:
            return self.session
        saw = Observation.RATE_LIMITED if self.session.observation is Observation.RATE_LIMITED else Observation.TIMEOUT
        return Session(SessionState.SILENT, saw, self._clock.now())

    async def _refresh(self, max_age: float) -> None:
        self._askers += 1
        self._wake.set()
        try:
            await self._wait_until(lambda: self._is_fresh(max_age), CHECK_TIMEOUT_S)
        finally:
            self._askers -= 1

    @property
    def _may_wake(self) -> bool:
        """Whether asking again makes sense now: not while IBKR paces us, nor while a look hangs unanswered."""
        return self.session.observation is not Observation.RATE_LIMITED and not (
            self.session.state is SessionState.SILENT and self._has_unanswered_checks
        )

    @property
    def _has_unanswered_checks(self) -> bool:
        """Whether a look that was given up is still unanswered: then nothing newer is to be learned."""
        return False

    async def check_now(self, max_wait_s: float = CHECK_TIMEOUT_S) -> Session:
        """The session as a look shows it that begins after now."""
        wanted = self._rounds + (2 if self._looking else 1)
        self._wake.set()
        await self._wait_until(lambda: self._rounds >= wanted, max_wait_s)
        return self.session

    async def wait_until_up(self, layer: Layer, seconds: float, leave: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a layer is up, at most so long, or until `leave` says so after a look; say whether it is."""
        await self._wait_until(lambda: self.is_up(layer) or leave(), seconds)
        return self.is_up(layer)

    async def wait_until_tickled(self) -> None:
        """Wait until there is an answer of `tickle` to tell, three seconds at most, and not while it fails again."""
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
