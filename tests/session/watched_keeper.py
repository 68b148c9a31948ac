"""A keeper and a simulated Gateway with one clock, which a test moves from alarm to alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.events import Bus, Event, KeeperFailed, ProfileBus, SessionChanged
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.gateway_session_api import GatewaySessionApi
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.selected_account import SelectedAccount
from ibkr_bridge.session.session_api import SessionUpstream
from ibkr_bridge.session.session_status import Policy, TrafficView
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.request_log import LoggedRequest
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.clocks import ManualClock

WATCH_INTERVAL_S = 3.0  # the default of IBKR_GATEWAY_WATCH
TEST_TIMEOUT_S = 10.0  # real seconds; only broken code takes so long
STEP_S = 300.0  # IBKR ends a login that is not used for ten minutes
SLEEPERS = 3  # the keeper, the Gateway's own tickle and its ping: when all three sleep, all work is done
STATUS, INIT, ACCOUNTS = "/iserver/auth/status", "/ssodh/init", "/iserver/accounts"


class WatchedKeeper:
    """A running keeper in front of a simulated Gateway.

    Args:
        sleepers: the number of tasks that sleep on the clock when all work is done.
        maintenance, traffic, suppressed_call: see `Policy` and `Keeper`.
        selected_account: the account that a caller selected in an earlier run.
        upstream: sends the calls of the keeper instead of its own client.
    """

    def __init__(
        self,
        sim: Simulator,
        clock: ManualClock,
        *,
        compete: Compete = Compete.RECLAIM,
        maintenance: tuple[WeeklyWindow, ...] = (),
        traffic: TrafficView | None = None,
        suppressed_call: Callable[[], Call | None] = lambda: None,
        selected_account: str = "",
        sleepers: int = SLEEPERS,
        upstream: SessionUpstream | None = None,
    ) -> None:
        self.sim, self.clock, self.sleepers = sim, clock, sleepers
        self.events_seen: list[Event] = []
        self.bus, self.redactor = Bus(), Redactor()
        self.bus.subscribe(self.events_seen.append)
        self.client = GatewayClient(
            sim.url, CookieStore(None, self.bus, self.redactor, clock), TEST_TIMEOUT_S, tls=False
        )
        self.selected_account = SelectedAccount(None, self.bus)
        self.selected_account.number = selected_account
        policy = Policy(WATCH_INTERVAL_S, compete, Region.AMERICA, maintenance)
        self.keeper = Keeper(
            "main",
            GatewaySessionApi(upstream or self.client),
            policy,
            clock,
            ProfileBus(self.bus, "main"),
            self.redactor,
            traffic,
            suppressed_call,
            self.selected_account,
        )
        self._task: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.keeper.run_loop())
        await self.wait_until_idle()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()

    @property
    def is_alive(self) -> bool:
        """Whether the loop still runs."""
        return self._task is not None and not self._task.done()

    async def wait_until_idle(self) -> None:
        """Wait until all work is done."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            await self.clock.wait_for_sleepers(self.sleepers)

    async def advance(self, seconds: float) -> None:
        """Move the clock by so many seconds, alarm by alarm, and finish the work of each alarm."""
        end = self.clock.now() + seconds
        while (remaining := end - self.clock.now()) > 1e-6:
            self.clock.advance(max(0.0, min(self.clock.next_alarm, remaining)))
            await self.wait_until_idle()

    async def advance_in_steps(self, seconds: float) -> None:
        """Move the clock in steps of five minutes with one check after each: for hours in which nothing happens."""
        end = self.clock.now() + seconds
        while (remaining := end - self.clock.now()) > STEP_S:
            self.clock.advance(STEP_S - 1.0)
            await self.wait_until_idle()
            await self.advance(min(1.0, remaining))
        await self.advance(end - self.clock.now())

    async def advance_until(self, state: SessionState, timeout_s: float = 120.0) -> None:
        """Move the clock until the session is in a state; the timeout is in seconds of the clock."""
        end = self.clock.now() + timeout_s
        while self.keeper.session.state is not state:
            assert self.clock.now() < end, f"still {self.keeper!r}"
            await self.advance(max(0.01, min(self.clock.next_alarm, end - self.clock.now())))

    async def run_round(self) -> None:
        """Request a check at once, and finish the round that it starts."""
        count = len(self.checks)
        self.keeper.request_check()
        while len(self.checks) == count:
            await self.advance(self.clock.next_alarm)
        await self.wait_until_idle()

    async def wait_for_requested_check(self) -> None:
        """Wait until a check that no alarm caused has begun and ended."""
        count = len(self.checks)
        async with asyncio.timeout(TEST_TIMEOUT_S):
            await self.sim.wait_for_gateway_calls(STATUS, count + 1)
        await self.wait_until_idle()

    async def finish_requested_work(self) -> None:
        """Finish the work of tasks that were woken without an alarm, if there are any."""
        count = len(self.checks)
        for _ in range(200):
            await asyncio.sleep(0)
        if len(self.checks) > count:
            await self.wait_until_idle()

    async def wait_for_state(self, state: SessionState) -> None:
        """Wait for a state that the session reaches without an alarm; the clock stands still."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while self.keeper.session.state is not state:
                await asyncio.sleep(0)
        await self.wait_until_idle()

    @property
    def checks(self) -> list[LoggedRequest]:
        """The checks of the keeper that reached the Gateway."""
        return self.sim.gateway_calls(STATUS)

    @property
    def openings(self) -> list[LoggedRequest]:
        """The keeper's requests to open the brokerage session."""
        return [call for call in self.sim.gateway_calls(INIT) if call.method == "POST"]

    @property
    def tickles(self) -> list[LoggedRequest]:
        """The keeper's tickles."""
        return self.sim.gateway_calls("/tickle")

    @property
    def changes(self) -> list[SessionChanged]:
        """The published changes of the session."""
        return [event for event in self.events_seen if isinstance(event, SessionChanged)]

    @property
    def failures(self) -> list[KeeperFailed]:
        """The unexpected errors of the keeper."""
        return [event for event in self.events_seen if isinstance(event, KeeperFailed)]
