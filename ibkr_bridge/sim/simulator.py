"""Both halves joined: a Gateway on a port, a market behind it, and the strings to pull.

Whoever uses it talks to `url` as to a real Gateway. What a test wants to know it asks `calls` (what reached IBKR) and
`gateway_calls` (what reached the port); what is to go wrong it tells `faults`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from ibkr_bridge.sim.clock import Calendar, FastClock, SimClock
from ibkr_bridge.sim.faults import Fault, Faults
from ibkr_bridge.sim.gateway.rules import Settings
from ibkr_bridge.sim.gateway.server import Gateway
from ibkr_bridge.sim.market.pacing import Pacing
from ibkr_bridge.sim.market.server import Market
from ibkr_bridge.sim.market.session_calls import LOGIN_COOKIE
from ibkr_bridge.sim.market.world import make_world
from ibkr_bridge.sim.seen import Seen
from ibkr_bridge.sim.tasks import Tasks


class Simulator:
    """A whole Interactive Brokers made of paper; all times in seconds of its clock."""

    def __init__(
        self,
        *,
        clock: SimClock | None = None,
        gateway_port: int = 0,
        pacing: bool = False,
        live: bool = False,
        logged_in: bool = True,
        tickle_every: float = 30.0,
        auth_delay: float = 3.0,
        reopen_after: float = 0.2,
        established_after: float = 0.1,
        seed: int = 1,
        settings: Settings | None = None,
    ) -> None:
        self.clock: SimClock = clock or FastClock()
        self.faults = Faults()
        self.faults.happen, self.faults.undo = self._happen, self._undo
        delays = {"reopen_after": reopen_after, "established_after": established_after}
        world = make_world(Calendar(self.clock), live=live, seed=seed, **delays)
        self.market = Market(world, self.clock, self.faults, Pacing(pacing))
        timing = {"tickle_every": tickle_every, "auth_delay": auth_delay}
        self.gateway = Gateway(self.clock, self.faults, settings, port=gateway_port, **timing)
        self._begins_logged_in = logged_in
        self._tasks = Tasks()

    async def start(self) -> None:
        """Open both halves; signed in already if so wished."""
        await self.market.start()
        await self.gateway.start(self.market.port)
        if self._begins_logged_in:
            self.log_in()

    async def stop(self) -> None:
        """Close both halves and leave nothing running."""
        async with AsyncExitStack() as doors:  # each is closed even where one before it complains
            doors.push_async_callback(self.market.stop)
            doors.push_async_callback(self.gateway.stop)
            doors.push_async_callback(self._tasks.stop)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where the Gateway listens."""
        return f"https://127.0.0.1:{self.gateway.port}"

    def calls(self, part: str = "") -> list[Seen]:
        """What reached IBKR, the Gateway's own calls included; only targets that contain `part`."""
        return self.market.log.calls(part)

    def gateway_calls(self, part: str = "") -> list[Seen]:
        """What reached the Gateway's port."""
        return self.gateway.log.calls(part)

    async def arrived(self, part: str = "", count: int = 1) -> list[Seen]:
        """Wait until so many such calls have reached IBKR."""
        return await self.market.log.arrived(part, count)

    async def reached(self, part: str = "", count: int = 1) -> list[Seen]:
        """Wait until so many such calls have reached the Gateway, bodies included."""
        return await self.gateway.log.arrived(part, count)

    def inside(self) -> int:
        """How many calls of clients are in the Gateway's slots now."""
        return self.gateway.upstream.inside()

    @property
    def max_inside(self) -> int:
        """The most there ever were."""
        return self.gateway.upstream.max_inside

    def log_in(self) -> None:
        """Be signed in from now on, as if the login pages and the Gateway's own chain had just ended."""
        now, sessions = self.clock.now(), self.market.world.sessions
        login = sessions.log_in(now)
        self.gateway.jar.set_by_ibkr((f"{LOGIN_COOKIE}={login.token}; Path=/", f"XYZAB={login.token}; Path=/"))
        sessions.lose()
        sessions.open(now, compete=True, whole=True)
        self.gateway.life.keep_alive()

    def log_out(self) -> None:
        """IBKR ends the login; the Gateway does not know."""
        self.market.world.sessions.log_out()

    def lose_brokerage(self) -> None:
        """IBKR ends the brokerage session; the login stays."""
        self.market.world.sessions.lose()

    def compete(self) -> None:
        """Another program of the same user takes the brokerage session."""
        self.market.world.sessions.taken()

    async def restart(self) -> None:
        """Stop the Gateway and start it again on its port: an empty jar, and nobody is signed in."""
        await self.gateway.stop()
        await self.gateway.start(self.market.port)

    async def settled(self) -> None:
        """Wait until scripted events that take time, such as a restart, are through."""
        await self._tasks.settled()

    async def browser_login(self) -> None:
        """Walk through the login pages as a browser does; the Gateway then does its own part."""
        await visit(self.gateway.port, "/sso/Login?forwardTo=22&RL=1&ip2loc=US")
        await visit(self.gateway.port, "/sso/Dispatcher")

    def _happen(self, fault: Fault) -> None:
        self._events[fault.kind]()

    def _undo(self, fault: Fault) -> None:
        self._undoings.get(fault.kind, lambda: None)()

    @property
    def _events(self) -> Mapping[str, Callable[[], object]]:
        return {
            "refuse": self.gateway.close_door,
            "restart": lambda: self._tasks.start(self.restart(), name="restart"),
            "sso-lost": self.log_out,
            "brokerage-lost": self.lose_brokerage,
            "competing": self.compete,
            "ibkr-down": self.gateway.upstream.go_down,
        }

    @property
    def _undoings(self) -> Mapping[str, Callable[[], None]]:
        return {"refuse": self.gateway.reopen, "ibkr-down": self.gateway.upstream.come_up}


async def visit(port: int, target: str) -> bytes:
    """Ask the Gateway for one page, as a browser on the same machine does; the whole answer as it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=browser_tls())
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.transport.abort()


def browser_tls() -> ssl.SSLContext:
    """What a person does who clicks the warning away: no name, no date, no check."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
