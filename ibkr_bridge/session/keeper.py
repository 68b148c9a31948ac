"""Stays signed in: looks, lets `machine.py` decide, acts, and tells everybody the one truth.

A round is one look at `auth/status` and what it asks for. Rounds follow each other for ever, every few seconds, sooner
when somebody has a reason to doubt. No exception ends the loop: one that nobody foresaw is announced, and the next
round begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, NoReturn

from ibkr_bridge import events
from ibkr_bridge.catalogue import Layer
from ibkr_bridge.clock import Clock
from ibkr_bridge.masking import Scrubber
from ibkr_bridge.session import calendar
from ibkr_bridge.session.envoy import Asking, Envoy
from ibkr_bridge.session.machine import Act, Saw, Session, State, begin, step
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.ration import Ration
from ibkr_bridge.settings import Compete, Region
from ibkr_bridge.values import Window

FRESH = 5.0  # seconds; an older view is refreshed before it is told
PATIENCE = 3.0  # seconds a caller waits for that
TICKLE_EVERY = 60.0  # seconds, as IBKR asks; its idle time-out is 5 to 6 minutes
CLOSEST = 0.25  # seconds between two looks, however many doubts there are: IBKR allows 10 calls a second in all
WHILE_OPENING = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds between looks at a Gateway that does not answer
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
    maintenance: tuple[Window, ...]


class Keeper:
    """Keeps the session of one line."""

    def __init__(
        self, line: str, gateway: Asking, policy: Policy, clock: Clock, bus: events.Bus, scrubber: Scrubber
    ) -> None:
        self._line = line
        self._policy = policy
        self._clock = clock
        self._bus = bus
        self._scrubber = scrubber
        self._wake = asyncio.Event()
        self._envoy = Envoy(gateway, self._wake.set)
        self._ration = Ration()
        self._round_over = asyncio.Event()
        self._rounds = 0
        self._quiet_rounds = 0
        self._prepare_again = False
        self._tickled = float("-inf")
        self.session: Session = begin(clock.now())
        self.since: datetime = clock.utc()
        self.checked = float("-inf")
        self.checked_utc: datetime | None = None
        self.last_good: datetime | None = None
        self.next_look = clock.now()
        self.accounts = Accounts()
        self.tickle: dict[str, object] = {}
        self.login_expires: datetime | None = None

    def __repr__(self) -> str:
        return f"<Keeper {self._line} {self.session.state.value}: {self.session.reason}>"

    # -- what others ask

    @property
    def status_body(self) -> Mapping[str, object]:
        """The last answer of `auth/status`, in IBKR's own shape."""
        return self._envoy.status_body

    def hint(self, session: Session | None = None) -> str:
        """What a person should do now, or in the given state of affairs."""
        told = session or self.session
        yielding = told.state is State.COMPETING and self._policy.compete is Compete.YIELD
        return YIELD_HINT if yielding else told.hint

    @property
    def maintenance_end(self) -> datetime | None:
        """The end of the known maintenance window we are in, if any."""
        return calendar.window_end(self._clock.utc(), self._policy.region, self._policy.maintenance)

    @property
    def next_reset(self) -> datetime:
        """When IBKR next ends the login whatever we do."""
        return calendar.next_reset(self._clock.utc(), self._policy.region)

    @property
    def next_act(self) -> str:
        """What comes next by itself, and when."""
        look = f"looks again in {max(0.0, self.next_look - self._clock.now()):.1f} s"
        if self.session.state is State.OPENING:
            return f"{look}, asks for the session again in {self._wait_to_open():.0f} s"
        if self.session.state is State.COMPETING and self._policy.compete is Compete.RECLAIM:
            return f"{look}, takes the session back in {self._ration.wait_to_reclaim(self._clock.now()):.0f} s"
        return look

    def utc(self) -> datetime:
        """The wall's time, as the keeper is told it."""
        return self._clock.utc()

    def is_up(self, layer: Layer) -> bool:
        """Whether a call that needs this layer makes sense now."""
        return self.session.state is State.READY or (layer is Layer.LOGIN and self.session.login)

    def doubt(self, *, prepare: bool = False) -> None:
        """Something looked as if the session were gone: look at once."""
        self._prepare_again |= prepare
        self._wake.set()

    async def fresh(self, max_age: float = FRESH) -> Session:
        """The session, looked at within `max_age` seconds where the Gateway allows it within three.

        All who ask share one look. What cannot be refreshed in time is told as silence.
        """
        if not self._is_fresh(max_age):
            self._wake.set()
            await self._until(lambda: self._is_fresh(max_age), PATIENCE)
        if self._is_fresh(max_age) or self.session.saw is Saw.PACED:
            return self.session
        return self.session if self.session.state is not State.READY else Session(State.SILENT, Saw.SILENCE, 0.0)

    async def look_again(self, patience: float = PATIENCE) -> Session:
        """The session as a look shows it that begins after now."""
        begun = self._rounds
        self._wake.set()
        await self._until(lambda: self._rounds > begun, patience)
        return self.session

    async def until_up(self, layer: Layer, seconds: float) -> bool:
        """Wait until a layer is up, at most so long; say whether it is."""
        await self._until(lambda: self.is_up(layer), seconds)
        return self.is_up(layer)

    async def reopen(self) -> Session:
        """A person or a program asks for the session: look, and open it if it is lost, as the ration allows."""
        await self.look_again()
        if self.session.login:
            await self.until_up(Layer.BROKERAGE, PATIENCE)
        return self.session

    async def log_out(self) -> int:
        """End the login at IBKR; only a person or IBeam can make a new one."""
        status = await self._envoy.log_out()
        await self.look_again()
        return status

    # -- the loop

    async def keep(self) -> NoReturn:
        """Round after round, for ever."""
        while True:
            try:
                await self._round()
            except Exception as exc:  # whatever it is, a keeper that has died in silence is worse
                self._bus.announce(events.KeeperSurprised(self._line, type(exc).__name__, events.where(exc)))
            self._end_round()
            await self._pause()

    async def _round(self) -> None:
        self._wake.clear()
        saw = await self._envoy.look()
        session, acts = step(self.session, saw, self._clock.now())
        if session.state is State.READY:
            await self._perform_all((*acts, *self._asked_for()))
            self._publish(session)
        else:
            self._publish(session)
            await self._perform_all(acts)
        if session.login and self._clock.now() - self._tickled >= TICKLE_EVERY:
            await self._tickle()

    def _asked_for(self) -> tuple[Act, ...]:
        asked, self._prepare_again = self._prepare_again, False
        return (Act.PREPARE,) if asked else ()

    async def _perform_all(self, acts: tuple[Act, ...]) -> None:
        for act in dict.fromkeys(acts):
            await self._PERFORM[act](self)

    async def _open(self) -> None:
        if self._wait_to_open() <= 0:
            await self._ask_for_session(reclaim=False)

    async def _grace(self) -> None:
        self._ration.hold_back(self._clock.now())

    async def _reclaim(self) -> None:
        if self._policy.compete is Compete.RECLAIM and self._ration.wait_to_reclaim(self._clock.now()) <= 0:
            await self._ask_for_session(reclaim=True)

    async def _ask_for_session(self, *, reclaim: bool) -> None:
        attempt = self._ration.tried(self._clock.now(), reclaim=reclaim)
        compete = self._policy.compete is Compete.RECLAIM
        status = await self._envoy.open(compete=compete)
        self._bus.announce(events.SessionOpening(self._line, compete, attempt, status, round(self._wait_to_open(), 1)))

    async def _prepare(self) -> None:
        self._ration.succeeded()
        self.accounts = await self._envoy.prepare()
        kind = {True: "yes", False: "no", None: "unknown"}[self.accounts.paper]
        self._bus.announce(events.PreflightDone(self._line, len(self.accounts.numbers), kind))

    _PERFORM: ClassVar = {Act.OPEN: _open, Act.GRACE: _grace, Act.RECLAIM: _reclaim, Act.PREPARE: _prepare}

    async def _tickle(self) -> None:
        self._tickled = self._clock.now()
        body = await self._envoy.tickle()
        if body is None:
            return
        self.tickle = body
        self._scrubber.learn(str(body["session"]))
        left = body.get("ssoExpires")
        if isinstance(left, int | float) and 0 <= left < 1e10:
            self.login_expires = self._clock.utc() + timedelta(milliseconds=left)

    # -- telling

    def _publish(self, session: Session) -> None:
        was, self.session = self.session, session
        self.next_look = self._clock.now() + self._pause_after(session)
        self.checked, self.checked_utc = self._clock.now(), self._clock.utc()
        if session.state is State.READY:
            self.last_good = self.checked_utc
        if session.state is not was.state:
            self.since = self._clock.utc()
            self._quiet_rounds = 0
        if not session.login:
            self.accounts, self.tickle, self._tickled = Accounts(), {}, float("-inf")
        if (session.state, session.reason) != (was.state, was.reason):
            self._announce(was, session)

    def _announce(self, was: Session, session: Session) -> None:
        kind = events.SessionQuietlyChanged if self.maintenance_end else events.SessionChanged
        kind = events.SessionReady if session.state is State.READY else kind
        after = round(session.since - was.since, 1)
        names = (was.state.value, session.state.value, session.reason)
        self._bus.announce(kind(self._line, *names, self.hint(), after, self.next_act))

    def _end_round(self) -> None:
        self._rounds += 1
        self._quiet_rounds += 1
        over, self._round_over = self._round_over, asyncio.Event()
        over.set()

    def _is_fresh(self, max_age: float) -> bool:
        return self._clock.now() - self.checked <= max_age

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._round_over.wait()
        except TimeoutError:
            return

    # -- pace

    def _wait_to_open(self) -> float:
        return self._ration.wait_to_open(self._clock.now(), maintenance=self.maintenance_end is not None)

    async def _pause(self) -> None:
        """Until the next round is due, or somebody doubts; never closer than a quarter of a second."""
        pause = self._pause_after(self.session)
        self.next_look = self._clock.now() + pause
        await self._clock.wait(asyncio.Event(), min(CLOSEST, pause))
        if pause > CLOSEST and not self._wake.is_set():
            await self._clock.wait(self._wake, pause - CLOSEST)

    def _pause_after(self, session: Session) -> float:
        if session.saw is Saw.PACED:
            return TICKLE_EVERY  # IBKR is angry: once a minute
        if session.state is State.OPENING:
            return (
                min(WHILE_OPENING, max(CLOSEST, self._wait_to_open()))
                if self._quiet_rounds < 20
                else self._policy.watch
            )
        if session.state is State.SILENT:
            return min(self._policy.watch * 2.0 ** min(self._quiet_rounds - 1, 6), LONGEST_PAUSE)
        return self._policy.watch
