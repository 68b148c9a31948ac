"""A brokerage session lost behind the Gateway, a thousand times, at random moments.

The Gateway logs itself out at its next tickle, every 30 s. What is seen before that must be repaired within a second;
what is lost in the last seconds before it cannot be saved by looking, and its share is no more than the time to notice
divided by 30 s. Both sides live by one clock, moved by hand from alarm to alarm.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.session_api import GatewaySessionApi
from ibkr_bridge.session.session_status import Policy
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.clocks import ManualClock

LOSSES = 1_000
WATCH = 3.0  # seconds between two looks, as IBKR_GATEWAY_WATCH says when nothing is said
TICKLE = 30.0  # seconds between two tickles of the Gateway
SLEEPERS = 3  # the keeper, the Gateway's own tickle and its ping: when all sleep, nobody is at work


class Watch:
    """A keeper and a Gateway in one time."""

    def __init__(self, sim: MarketStage, clock: ManualClock) -> None:
        self.sim = sim
        self.clock = clock
        bus, redactor = Bus(), Redactor()
        self.client = GatewayClient(sim.url, CookieStore(None, bus, redactor, clock), 5.0, tls=False)
        policy = Policy(WATCH, Compete.RECLAIM, Region.AMERICA, ())
        self.keeper = Keeper("main", GatewaySessionApi(self.client), policy, clock, bus, redactor)

    async def next_alarm(self, until: float) -> None:
        """Go on to the next alarm, or to a moment before it, and let everybody finish what they begin there."""
        self.clock.advance(min(self.clock.next_alarm, until - self.clock.now()))
        await self.clock.asleep(SLEEPERS)

    async def go_to(self, moment: float) -> None:
        """Live until a moment."""
        while self.clock.now() < moment - 1e-6:
            await self.next_alarm(moment)

    async def lose(self) -> tuple[float, float] | None:
        """Lose the session now. Returns the seconds until it was seen and repaired; None where it was logged out."""
        lost, seen = self.clock.now(), None
        logouts = len(self.sim.calls("/logout"))
        self.sim.lose_brokerage()
        while True:
            await self.next_alarm(self.clock.now() + TICKLE)
            if len(self.sim.calls("/logout")) > logouts:
                return None
            if seen is None and self.keeper.session.state is not SessionState.READY:
                seen = self.clock.now()
            if seen is not None and self.keeper.session.state is SessionState.READY:
                return seen - lost, self.clock.now() - seen

    async def sign_in_again(self, later: float) -> None:
        """A person comes after so many seconds; the keeper notices by itself, and the tickle has a new rhythm."""
        await self.go_to(self.clock.now() + later)
        self.sim.log_in()
        await self.clock.asleep(SLEEPERS)
        while self.keeper.session.state is not SessionState.READY:
            await self.next_alarm(self.clock.now() + TICKLE)


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A keeper watching a simulated Gateway, the session ready."""
    clock = ManualClock()
    async with Simulator(clock=clock, tickle_interval_s=TICKLE) as sim:
        watched = Watch(sim, clock)
        keeping = asyncio.create_task(watched.keeper.run_loop())
        await clock.asleep(SLEEPERS)
        yield watched
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await watched.client.close()


@pytest.mark.slow
async def test_a_thousand_losses(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each one seen is repaired within a second; few come too close before the tickle."""
    dice = random.Random(20260617)  # noqa: S311  # the same thousand moments each time
    notices, repairs, logged_out = [], [], 0
    for _ in range(LOSSES):
        await watch.go_to(watch.clock.now() + dice.uniform(0, 2 * WATCH))
        outcome = await watch.lose()
        if outcome is None:
            logged_out += 1
            await watch.sign_in_again(dice.uniform(0, WATCH))
        else:
            notices.append(outcome[0])
            repairs.append(outcome[1])

    share, mean = logged_out / LOSSES, sum(notices) / len(notices)
    with capsys.disabled():
        print(
            f"\n{LOSSES} losses seen after {mean:.2f} s on average, {max(notices):.2f} s at most, "
            f"repaired {max(repairs):.2f} s later at most; {share:.1%} logged out all the same"
        )
    assert max(notices) <= WATCH
    assert max(repairs) <= 1.0
    assert share <= WATCH / TICKLE
