"""Stays signed in: looks, lets `machine.py` decide, acts, and tells everybody the one truth.

A round is one look at `auth/status` and what it asks for. Rounds follow each other for ever, every few seconds, sooner
when somebody has a reason to doubt. No exception ends the loop: one that nobody foresaw is announced, and the next
round begins.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import ClassVar, NoReturn

from ibkr_bridge import events
from ibkr_bridge.catalogue import Layer
from ibkr_bridge.clock import Clock
from ibkr_bridge.masking import Scrubber
from ibkr_bridge.session.envoy import Asking, Envoy
from ibkr_bridge.session.machine import Act, Saw, Session, State, step
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.ration import Ration
from ibkr_bridge.session.view import PATIENCE, Policy, View
from ibkr_bridge.settings import Compete

TICKLE_EVERY = 60.0  # seconds, as IBKR asks; its idle time-out is 5 to 6 minutes
CLOSEST = 0.25  # seconds between two looks, however many doubts there are: IBKR allows 10 calls a second in all
WHILE_OPENING = 0.5  # seconds between looks while the session opens, for the first EAGER_ROUNDS; then as usual
EAGER_ROUNDS = 20
PACED_PAUSE = 60.0  # seconds; IBKR is angry with us
LONGEST_PAUSE = 30.0  # seconds between looks at a Gateway that does not answer
PREPARE_AGAIN = 15.0  # seconds, where the first calls brought no accounts; IBKR allows them once in five


class Keeper(View):
    """Keeps the session of one line."""

    def __init__(
        self, line: str, gateway: Asking, policy: Policy, clock: Clock, bus: events.Bus, scrubber: Scrubber
    ) -> None:
        super().__init__(policy, clock)
        self._line = line
        self._bus = bus
        self._scrubber = scrubber
        self._envoy = Envoy(gateway, self._wake.set)
        self._ration = Ration()
        self._rounds_in_state = 0
        self._prepared = self._tickled = float("-inf")

    def __repr__(self) -> str:
        return f"<Keeper {self._line} {self.session.state.value}: {self.session.reason}>"

    @property
    def next_act(self) -> str:
        """What comes next by itself, and when."""
        look = f"looks again in {max(0.0, self.next_look - self._clock.now()):.1f} s"
        if self.session.state is State.OPENING:
            return f"{look}, asks for the session again in {self._wait_to_open():.0f} s"
        if self.session.state is State.COMPETING and self._policy.compete is Compete.RECLAIM:
            return f"{look}, takes the session back in {self._ration.wait_to_reclaim(self._clock.now()):.0f} s"
        return look

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
        self._looking = True
        saw = await self._envoy.look()
        self.status_body = self._envoy.status_body
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
        empty = not self.accounts.numbers and self._clock.now() - self._prepared >= PREPARE_AGAIN
        asked, self._prepare_again = self._prepare_again or empty, False
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
        self._prepared = self._clock.now()
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
            self._rounds_in_state = 0
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
        self._looking = False
        self._rounds += 1
        self._rounds_in_state += 1
        over, self._round_over = self._round_over, asyncio.Event()
        over.set()

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
            return PACED_PAUSE
        if session.state is State.OPENING and self._rounds_in_state < EAGER_ROUNDS:
            return min(WHILE_OPENING, max(CLOSEST, self._wait_to_open()))
        if session.state is State.SILENT:
            return min(self._policy.watch * 2.0 ** min(self._rounds_in_state, 6), LONGEST_PAUSE)
        return self._policy.watch
