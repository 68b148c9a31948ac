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
from ibkr_bridge.redaction import Scrubber
from ibkr_bridge.session.backoff import Ration
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.session_api import Asking, Envoy
from ibkr_bridge.session.session_status import PATIENCE, Policy, Road, View
from ibkr_bridge.session.state_machine import Act, Saw, Session, State, step

TICKLE_AGAIN = 2.0  # seconds after one that failed, then twice as long each time
TICKLE_EVERY = 60.0  # seconds, as IBKR asks; its idle time-out is 5 to 6 minutes
CLOSEST = 0.25  # seconds between two looks, however many doubts there are: IBKR allows 10 calls a second in all
WHILE_OPENING = 0.5  # seconds between looks while the session opens, for the first EAGER_ROUNDS; then as usual
EAGER_ROUNDS = 20
PACED_PAUSE = 60.0  # seconds; IBKR is angry with us
LONGEST_PAUSE = 30.0  # seconds between looks at a Gateway that does not answer
PREPARE_AGAIN = 5.0  # seconds at least between two pre-flights of one session: IBKR allows /portfolio/accounts no more
KIND_EVERY = 61.0  # seconds at least between two /sso/validate: IBKR allows one a minute, and a sign-in makes one
RECLAIM_SHOWS_IN = 3.0  # seconds within which a reclaimed session is looked for eagerly
SPENT_HINT = (
    "the bridge took the session back three times this hour and now leaves it to the other side: sign out there"
)


def doubled(first: float, times: int, most: float) -> float:
    """A pause that grows: `first` doubled so many times, `most` at most. Seconds; any number of times is safe."""
    return min(first * 2.0 ** min(times, 6), most)


class Keeper(View):
    """Keeps the session of one line.

    Args:
        said_again: what callers told IBKR that it forgets with each brokerage session, as the call that tells it again;
            None where there is nothing.
    """

    def __init__(
        self,
        line: str,
        gateway: Asking,
        policy: Policy,
        clock: Clock,
        bus: events.Bus,
        scrubber: Scrubber,
        road: Road | None = None,
        said_again: Callable[[], Call | None] = lambda: None,
    ) -> None:
        super().__init__(policy, clock)
        self._road = road or Road()
        self._said_again = said_again
        self._line = line
        self._bus = bus
        self._scrubber = scrubber
        self._envoy = Envoy(gateway, self._wake.set)
        self._ration = Ration()
        self._rounds_in_state = 0
        self._false_alarms = 0
        self._kind_is_due = False
        self._repaired = self._tickle_tried = self._asked = self._kind_told = float("-inf")

    def __repr__(self) -> str:
        return f"<Keeper {self._line} {self.session.state.value}: {self.session.reason}>"

    def hint(self, session: Session | None = None) -> str:
        """See `View.hint`; says when the session has been left to a rival, and why there is no connection."""
        told = session or self.session
        reclaims = told.state is State.COMPETING and self._policy.compete is Compete.RECLAIM
        if reclaims and self._ration.spent(self._clock.now()):
            return SPENT_HINT
        return self._envoy.trouble_hint if told.saw is Saw.REFUSED else super().hint(session)

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
        doubted = self._begin_round()
        saw = await self._envoy.look()
        if saw is Saw.SESSION and self._road.is_clogged():
            saw = Saw.CLOGGED
        if saw is Saw.PACED:
            self._road.paced()
        seen = self._clock.now()
        self.status_body = self._envoy.status_body
        self._false_alarms = self._false_alarms + 1 if doubted and saw is Saw.SESSION else 0
        session, acts = step(self.session, saw, seen)
        if session.login and self.session.state in (State.SIGNED_OUT, State.UNREACHABLE):
            self._kind_told = seen  # to the Gateway, when somebody signed in
        if session.state is State.READY:
            acts = (*acts, *self._asked_for())
            await self._perform_all(acts)
            await self._learn_kind()
            self._publish(session, seen)
        else:
            self._publish(session, seen)
            await self._perform_all(acts)
        if session.login and self._clock.now() - self._tickle_tried >= self._tickle_pause:
            await self._tickle()
        if Act.PREPARE in acts:
            await self._envoy.ask_beforehand()

    @property
    def _tickle_pause(self) -> float:
        failures = self._tickle_failures
        return doubled(TICKLE_AGAIN, failures - 1, TICKLE_EVERY) if failures else TICKLE_EVERY

    def _begin_round(self) -> bool:
        """Returns whether somebody doubted the session since the last look."""
        self._wake.clear()
        self._looking = True
        doubted, self._doubted = self._doubted, False
        return doubted

    @property
    def _looks_hang(self) -> bool:
        return self._envoy.hanging > 0

    def _asked_for(self) -> tuple[Act, ...]:
        """The pre-flight once more, where IBKR asked for it or the last one told of no accounts."""
        now = self._clock.now()
        if now - self._repaired < PREPARE_AGAIN or not (self._prepare_again or not self.accounts.numbers):
            return ()
        self._repaired = now
        return (Act.PREPARE,)

    async def _perform_all(self, acts: tuple[Act, ...]) -> None:
        for act in dict.fromkeys(acts):
            await self._PERFORM[act](self)

    async def _open(self) -> None:
        if self._wait_to_open() <= 0 and not self._envoy.opening:
            await self._ask_for_session(reclaim=False)

    async def _grace(self) -> None:
        self._ration.hold_back(self._clock.now())

    async def _reclaim(self) -> None:
        may = self._policy.compete is Compete.RECLAIM and not self._envoy.opening
        if may and self._ration.wait_to_reclaim(self._clock.now()) <= 0:
            await self._ask_for_session(reclaim=True)

    async def _ask_for_session(self, *, reclaim: bool) -> None:
        self._asked = self._clock.now()
        attempt = self._ration.tried(self._asked, reclaim=reclaim)
        compete = self._policy.compete is Compete.RECLAIM
        status = await self._envoy.open(compete=compete)
        self._bus.announce(events.SessionOpening(self._line, compete, attempt, status, round(self._wait_to_open(), 1)))

    async def _prepare(self) -> None:
        self._ration.succeeded()
        self._prepare_again = False
        self._kind_is_due = True
        found = await self._envoy.prepare()
        if found is not None:  # a failure tells nothing; it is made again
            self.accounts = replace(found, login_is_paper=self.accounts.login_is_paper)
        if (call := self._said_again()) is not None:
            await self._envoy.say(call)
        kind = {True: "yes", False: "no", None: "unknown"}[self.accounts.paper]
        self._bus.announce(events.PreflightDone(self._line, len(self.accounts.numbers), kind))

    _PERFORM: ClassVar = {Act.OPEN: _open, Act.GRACE: _grace, Act.RECLAIM: _reclaim, Act.PREPARE: _prepare}

    async def _learn_kind(self) -> None:
        """Ask what kind of login it is, once after each pre-flight, as soon as IBKR takes that."""
        now = self._clock.now()
        if not self._kind_is_due or now - self._kind_told < KIND_EVERY or self._road.in_box():
            return
        self._kind_is_due, self._kind_told = False, now
        told = await self._envoy.login_is_paper()
        if told is not None:  # else what this login was told to be still holds
            self.accounts = replace(self.accounts, login_is_paper=told)

    async def _tickle(self) -> None:
        self._tickle_tried = self._clock.now()
        body = await self._envoy.tickle()
        self._tickle_failures = 0 if body else self._tickle_failures + 1
        if body is None:
            return
        self.tickle = body
        self._scrubber.learn(str(body["session"]))
        left = body.get("ssoExpires")
        if isinstance(left, int | float) and 0 <= left < 1e10:
            self.login_expires = self._clock.utc() + timedelta(milliseconds=left)

    # -- telling

    def _publish(self, session: Session, seen: float) -> None:
        """Tell what a look showed; `seen`: when it was answered. One that was paced has shown nothing."""
        was, self.session = self.session, session
        if session.saw is not Saw.PACED:
            self.checked, self.checked_utc = seen, self._clock.utc()
        if session.saw is Saw.SESSION:
            self.last_good = self.checked_utc
        self._rounds_in_state += 1  # this one included, so that the pause that is told is the pause that follows
        if session.state is not was.state:
            self.since = self._clock.utc()
            self._rounds_in_state = 1
        self.next_look = self._clock.now() + self._pause_after(session)
        if not session.login:
            self.accounts, self.tickle, self.login_expires = Accounts(), {}, None
            self._tickle_tried = float("-inf")
            self._kind_is_due = False
        if (session.state, session.reason) != (was.state, was.reason):
            self._announce(was, session)

    def _announce(self, was: Session, session: Session) -> None:
        kind = events.SessionLost if was.state is State.READY else events.SessionChanged
        kind = events.SessionQuietlyChanged if self.maintenance_end else kind
        kind = events.SessionReady if session.state is State.READY else kind
        after = round(session.since - was.since, 1)
        names = (was.state.value, session.state.value, session.reason)
        self._bus.announce(kind(self._line, *names, self.hint(), after, self.next_act))

    def _end_round(self) -> None:
        self._looking = False
        self._rounds += 1
        over, self._round_over = self._round_over, asyncio.Event()
        over.set()

    # -- pace

    def _wait_to_open(self) -> float:
        return self._ration.wait_to_open(self._clock.now(), maintenance=self.maintenance_end is not None)

    async def _pause(self) -> None:
        """Until the next round is due, or somebody doubts: the sooner, the fewer doubts were false alarms lately."""
        pause = self._pause_after(self.session)
        self.next_look = self._clock.now() + pause
        closest = doubled(CLOSEST, self._false_alarms, pause)
        await self._clock.wait(asyncio.Event(), closest)
        deaf = self._is_to_slow_down(self.session)  # whoever doubts or asks
        if pause > closest and (deaf or not self._wake.is_set()):
            await self._clock.wait(asyncio.Event() if deaf else self._wake, pause - closest)

    def _is_to_slow_down(self, session: Session) -> bool:
        """Whether IBKR wants it."""
        return session.saw is Saw.PACED or self._road.in_box()

    def _pause_after(self, session: Session) -> float:
        if self._is_to_slow_down(session):
            return PACED_PAUSE
        if session.state is State.OPENING and self._rounds_in_state < EAGER_ROUNDS:
            return min(WHILE_OPENING, max(CLOSEST, self._wait_to_open()))
        if session.state is State.COMPETING and self._clock.now() - self._asked < RECLAIM_SHOWS_IN:
            return WHILE_OPENING
        if session.state is State.SILENT:
            return doubled(self._policy.watch, self._rounds_in_state, LONGEST_PAUSE)
        return min(self._policy.watch, TICKLE_AGAIN) if self._tickle_failures == 1 else self._policy.watch
