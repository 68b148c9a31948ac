"""The brokerage session is lost behind the Gateway a thousand times, at random moments.

The Gateway ends the login at its next tickle, every 30 s. A loss that is noticed before that must be repaired within a
second. A loss in the last seconds before the tickle cannot be noticed in time by checking at intervals; the share of
such losses is at most the interval divided by 30 s. Both sides use one clock, which the test moves from alarm to alarm.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.gateway_session_api import GatewaySessionApi
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.session_status import Policy
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.clocks import ManualClock

LOSSES = 1_000
WATCH_INTERVAL_S = 3.0  # the default of IBKR_GATEWAY_WATCH
TICKLE_INTERVAL_S = 30.0
SLEEPERS = 3  # the keeper, the Gateway's own tickle and its ping: when all three sleep, all work is done


class KeeperWithGateway:
    """A keeper and a Gateway with the same clock."""

    def __init__(self, sim: MarketStage, clock: ManualClock) -> None:
        self.sim = sim
        self.clock = clock
        bus, redactor = Bus(), Redactor()
        self.client = GatewayClient(sim.url, CookieStore(None, bus, redactor, clock), 5.0, tls=False)
        policy = Policy(WATCH_INTERVAL_S, Compete.RECLAIM, Region.AMERICA, ())
        self.keeper = Keeper("main", GatewaySessionApi(self.client), policy, clock, bus, redactor)

    async def advance_to_next_alarm(self, max_time: float) -> None:
        """Move the clock to the next alarm, but not beyond `max_time`, and wait until all work is done."""
        self.clock.advance(min(self.clock.next_alarm, max_time - self.clock.now()))
        await self.clock.wait_for_sleepers(SLEEPERS)

    async def advance_to(self, time: float) -> None:
        """Move the clock to a time, alarm by alarm."""
        while self.clock.now() < time - 1e-6:
            await self.advance_to_next_alarm(time)

    async def lose_session(self) -> tuple[float, float] | None:
        """Lose the session now.

        Returns:
            The seconds until the loss was noticed, and from then until it was repaired; None if the Gateway logged out.
        """
        lost_at, noticed_at = self.clock.now(), None
        logouts = len(self.sim.calls("/logout"))
        self.sim.lose_brokerage()
        while True:
            await self.advance_to_next_alarm(self.clock.now() + TICKLE_INTERVAL_S)
            if len(self.sim.calls("/logout")) > logouts:
                return None
            if noticed_at is None and self.keeper.session.state is not SessionState.READY:
                noticed_at = self.clock.now()
            if noticed_at is not None and self.keeper.session.state is SessionState.READY:
                return noticed_at - lost_at, self.clock.now() - noticed_at

    async def log_in_after(self, delay_s: float) -> None:
        """Log in after so many seconds and wait until the keeper has noticed it; the tickles begin anew."""
        await self.advance_to(self.clock.now() + delay_s)
        self.sim.log_in()
        await self.clock.wait_for_sleepers(SLEEPERS)
        while self.keeper.session.state is not SessionState.READY:
            await self.advance_to_next_alarm(self.clock.now() + TICKLE_INTERVAL_S)


@pytest.fixture
async def pair() -> AsyncIterator[KeeperWithGateway]:
    """A keeper that watches a simulated Gateway; the session is ready."""
    clock = ManualClock()
    async with Simulator(clock=clock, tickle_interval_s=TICKLE_INTERVAL_S) as sim:
        pair = KeeperWithGateway(sim, clock)
        task = asyncio.create_task(pair.keeper.run_loop())
        await clock.wait_for_sleepers(SLEEPERS)
        yield pair
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pair.client.close()


@pytest.mark.slow
async def test_a_thousand_losses(pair: KeeperWithGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Each loss that is noticed is repaired within a second; few come too shortly before the tickle."""
    rng = random.Random(20260617)  # noqa: S311  # the moments are the same in each run
    notices, repairs, logged_out = [], [], 0
    for _ in range(LOSSES):
        await pair.advance_to(pair.clock.now() + rng.uniform(0, 2 * WATCH_INTERVAL_S))
        outcome = await pair.lose_session()
        if outcome is None:
            logged_out += 1
            await pair.log_in_after(rng.uniform(0, WATCH_INTERVAL_S))
        else:
            notices.append(outcome[0])
            repairs.append(outcome[1])

    share, mean = logged_out / LOSSES, sum(notices) / len(notices)
    with capsys.disabled():
        print(
            f"\n{LOSSES} losses noticed after {mean:.2f} s on average, {max(notices):.2f} s at most, "
            f"repaired {max(repairs):.2f} s later at most; {share:.1%} ended with a log-out"
        )
    assert max(notices) <= WATCH_INTERVAL_S
    assert max(repairs) <= 1.0
    assert share <= WATCH_INTERVAL_S / TICKLE_INTERVAL_S
