"""A keeper and a simulated Gateway in one time, moved by hand from alarm to alarm."""

from __future__ import annotations

import asyncio
from typing import Self

from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.events import Bus, Event, KeeperFailed, ProfileBus, SessionChanged
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.session_api import GatewaySessionApi, SessionUpstream
from ibkr_bridge.session.session_status import Policy
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.request_log import LoggedRequest
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.clocks import ManualClock

WATCH = 3.0  # seconds between two looks, as IBKR_GATEWAY_WATCH says when nothing is said
PATIENCE = 10.0  # seconds of real time after which a test gives up; nothing waits so long unless it is broken
LEAP = 300.0  # seconds; IBKR ends a login that nobody uses for ten minutes
SLEEPERS = 3  # the keeper, the Gateway's own tickle and its ping: when all sleep, nobody is at work
STATUS, INIT, ACCOUNTS = "/iserver/auth/status", "/ssodh/init", "/iserver/accounts"


class Watched:
    """A keeper at work; `asking` stands in for its road to the Gateway where a test says so.

    `sleepers` is how many sleep on the clock when nobody is at work.
    """

    def __init__(
        self,
        sim: Simulator,
        clock: ManualClock,
        *,
        compete: Compete = Compete.RECLAIM,
        sleepers: int = SLEEPERS,
        asking: SessionUpstream | None = None,
    ) -> None:
        self.sim, self.clock, self.sleepers = sim, clock, sleepers
        self.events_seen: list[Event] = []
        self.bus, self.redactor = Bus(), Redactor()
        self.bus.subscribe(self.events_seen.append)
        self.client = GatewayClient(sim.url, CookieStore(None, self.bus, self.redactor, clock), PATIENCE, tls=False)
        policy = Policy(WATCH, compete, Region.AMERICA, ())
        self.keeper = Keeper(
            "main", GatewaySessionApi(asking or self.client), policy, clock, ProfileBus(self.bus, "main"), self.redactor
        )
        self._keeping: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self.keeper.run_loop())
        await self.quiet()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self.client.close()

    @property
    def is_alive(self) -> bool:
        """Whether the loop still runs."""
        return self._keeping is not None and not self._keeping.done()

    async def quiet(self) -> None:
        """Wait until nobody is at work."""
        async with asyncio.timeout(PATIENCE):
            await self.clock.asleep(self.sleepers)

    async def live(self, seconds: float) -> None:
        """Go on by so much time, alarm by alarm, and let everybody finish what they begin."""
        end = self.clock.now() + seconds
        while (left := end - self.clock.now()) > 1e-6:
            self.clock.advance(max(0.0, min(self.clock.next_alarm, left)))
            await self.quiet()

    async def leap(self, seconds: float) -> None:
        """Go on by so much time in leaps of five minutes, a look after each: for hours in which nothing happens."""
        end = self.clock.now() + seconds
        while (left := end - self.clock.now()) > LEAP:
            self.clock.advance(LEAP - 1.0)
            await self.quiet()
            await self.live(min(1.0, left))
        await self.live(end - self.clock.now())

    async def until(self, state: SessionState, timeout_s: float = 120.0) -> None:
        """Go on until the session is in a state; `within` is in the clock's seconds."""
        end = self.clock.now() + timeout_s
        while self.keeper.session.state is not state:
            assert self.clock.now() < end, f"still {self.keeper!r}"
            await self.live(max(0.01, min(self.clock.next_alarm, end - self.clock.now())))

    async def round(self) -> None:
        """One more look, sooner than by itself, and whatever it asks for."""
        looks = len(self.looks)
        self.keeper.request_check()
        while len(self.looks) == looks:
            await self.live(self.clock.next_alarm)
        await self.quiet()

    async def woken(self) -> None:
        """Wait until a look that nobody's alarm caused has begun and ended."""
        looks = len(self.looks)
        async with asyncio.timeout(PATIENCE):
            await self.sim.wait_for_gateway_calls(STATUS, looks + 1)
        await self.quiet()

    async def idle(self) -> None:
        """Let everybody who was woken without an alarm, if anybody was, do what they were woken for."""
        looks = len(self.looks)
        for _ in range(200):
            await asyncio.sleep(0)
        if len(self.looks) > looks:
            await self.quiet()

    async def woken_to(self, state: SessionState) -> None:
        """Wait, in no time of the clock, until somebody else's waking has brought the session to a state."""
        async with asyncio.timeout(PATIENCE):
            while self.keeper.session.state is not state:
                await asyncio.sleep(0)
        await self.quiet()

    @property
    def looks(self) -> list[LoggedRequest]:
        """The keeper's looks that reached the Gateway."""
        return self.sim.gateway_calls(STATUS)

    @property
    def openings(self) -> list[LoggedRequest]:
        """The keeper's requests for the brokerage session."""
        return [seen for seen in self.sim.gateway_calls(INIT) if seen.method == "POST"]

    @property
    def tickles(self) -> list[LoggedRequest]:
        """The keeper's tickles."""
        return self.sim.gateway_calls("/tickle")

    @property
    def moves(self) -> list[SessionChanged]:
        """The changes that were announced."""
        return [event for event in self.events_seen if isinstance(event, SessionChanged)]

    @property
    def surprises(self) -> list[KeeperFailed]:
        """What nobody foresaw."""
        return [event for event in self.events_seen if isinstance(event, KeeperFailed)]
