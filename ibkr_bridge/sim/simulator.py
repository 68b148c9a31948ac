"""Both halves joined: a Gateway on a port, a market behind it, and the controls.

A client talks to `url` as to a real Gateway. `calls` shows a test what reached IBKR, `gateway_calls` what reached the
port, and `faults` causes faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from ibkr_bridge.sim.gateway.rules import Settings
from ibkr_bridge.sim.gateway.server import Gateway
from ibkr_bridge.sim.market.session_calls import LOGIN_COOKIE
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.request_log import LoggedRequest


class Simulator(MarketStage):
    """A simulated Gateway and the simulated IBKR behind it; all times are seconds of its clock.

    Args:
        gateway_port: 0 for a free one.
        logged_in: whether somebody is signed in from the start.
        tickle_interval_s: time between two of the Gateway's own tickles.
        auth_delay_s: time from the end of the login pages until the Gateway requests the brokerage session.
        settings: the Gateway's configuration file.
        market: the arguments of `MarketStage`.
    """

    def __init__(
        self,
        *,
        gateway_port: int = 0,
        logged_in: bool = True,
        tickle_interval_s: float = 30.0,
        auth_delay_s: float = 3.0,
        settings: Settings | None = None,
        **market: Any,
    ) -> None:
        super().__init__(**market)
        timing = {"tickle_interval_s": tickle_interval_s, "auth_delay_s": auth_delay_s}
        self.gateway = Gateway(self.clock, self.faults, settings, port=gateway_port, **timing)
        self._starts_logged_in = logged_in
        self._restart_lock = asyncio.Lock()

    @property
    def port(self) -> int:
        """See `MarketStage.port`."""
        return self.gateway.port

    async def start(self) -> None:
        """See `MarketStage.start`; logs in if `logged_in` was set."""
        await self.market.start()
        await self.gateway.start(self.market.port)
        if self._starts_logged_in:
            self.log_in()

    async def stop(self) -> None:
        """See `MarketStage.stop`."""
        async with AsyncExitStack() as stack:  # each part is stopped even if stopping another one raises
            stack.push_async_callback(self.market.stop)
            stack.push_async_callback(self.gateway.stop)
            stack.push_async_callback(self._tasks.stop)

    def gateway_calls(self, part: str = "") -> list[LoggedRequest]:
        """What reached the Gateway's port."""
        return self.gateway.log.calls(part)

    async def wait_for_gateway_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Wait until at least `count` calls whose target contains `part` have reached the Gateway with their bodies."""
        return await self.gateway.log.wait_for_calls(part, count)

    def calls_in_slots(self) -> int:
        """The number of clients' calls that are in the Gateway's slots now."""
        return self.gateway.upstream.calls_in_slots()

    @property
    def max_calls_in_slots(self) -> int:
        """The largest `calls_in_slots` there has been."""
        return self.gateway.upstream.max_calls_in_slots

    def log_in(self) -> None:
        """Sign in at once, as if the login pages and the Gateway's own login chain had just ended."""
        now, sessions = self.clock.now(), self.market.world.sessions
        login = sessions.log_in(now)
        self.gateway.jar.store_from_ibkr((f"{LOGIN_COOKIE}={login.token}; Path=/", f"XYZAB={login.token}; Path=/"))
        sessions.lose_brokerage()
        sessions.open_brokerage(now, compete=True, is_established=True)
        self.gateway.lifecycle.start_keep_alives()

    async def restart(self) -> None:
        """See `MarketStage.restart`."""
        async with self._restart_lock:
            await self.gateway.stop()
            await self.gateway.start(self.market.port)

    @property
    def _event_actions(self) -> Mapping[str, Callable[[], object]]:
        return {
            **super()._event_actions,
            "refuse": self.gateway.close_port,
            "ibkr-down": self.gateway.upstream.set_unreachable,
        }

    @property
    def _undo_actions(self) -> Mapping[str, Callable[[], None]]:
        return {
            **super()._undo_actions,
            "refuse": self.gateway.reopen_port,
            "ibkr-down": self.gateway.upstream.set_reachable,
        }
