"""Both halves joined: a Gateway on a port, a market behind it, and the strings to pull.

Whoever uses it talks to `url` as to a real Gateway. What a test wants to know it asks `calls` (what reached IBKR) and
`gateway_calls` (what reached the port); what is to go wrong it tells `faults`.
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
    """A whole Interactive Brokers made of paper; all times in seconds of its clock.

    Args:
        gateway_port: 0 for a free one.
        logged_in: begin with somebody signed in.
        tickle_interval_s: between two of the Gateway's own tickles.
        auth_delay_s: from the end of the login pages to the Gateway's asking for the brokerage session.
        settings: of the Gateway, as in its configuration file.
        market: see `Stage`.
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
        """See `Stage.port`."""
        return self.gateway.port

    async def start(self) -> None:
        """See `Stage.start`; signed in already if so wished."""
        await self.market.start()
        await self.gateway.start(self.market.port)
        if self._starts_logged_in:
            self.log_in()

    async def stop(self) -> None:
        """See `Stage.stop`."""
        async with AsyncExitStack() as stack:  # each is closed even where one before it complains
            stack.push_async_callback(self.market.stop)
            stack.push_async_callback(self.gateway.stop)
            stack.push_async_callback(self._tasks.stop)

    def gateway_calls(self, part: str = "") -> list[LoggedRequest]:
        """What reached the Gateway's port."""
        return self.gateway.log.calls(part)

    async def wait_for_gateway_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Wait until so many such calls have reached the Gateway, bodies included."""
        return await self.gateway.log.wait_for_calls(part, count)

    def calls_in_slots(self) -> int:
        """How many calls of clients are in the Gateway's slots now."""
        return self.gateway.upstream.calls_in_slots()

    @property
    def max_calls_in_slots(self) -> int:
        """The most there ever were."""
        return self.gateway.upstream.max_calls_in_slots

    def log_in(self) -> None:
        """Be signed in from now on, as if the login pages and the Gateway's own chain had just ended."""
        now, sessions = self.clock.now(), self.market.world.sessions
        login = sessions.log_in(now)
        self.gateway.jar.store_from_ibkr((f"{LOGIN_COOKIE}={login.token}; Path=/", f"XYZAB={login.token}; Path=/"))
        sessions.lose_brokerage()
        sessions.open_brokerage(now, compete=True, is_established=True)
        self.gateway.lifecycle.start_keep_alives()

    async def restart(self) -> None:
        """See `Stage.restart`."""
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
