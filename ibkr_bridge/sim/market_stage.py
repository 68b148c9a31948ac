"""IBKR's half of the stage, and the strings to pull at it, whatever Gateway stands in front.

The simulated Gateway is one that may stand there; a real one is another. What both are asked and told is the same, so
that one suite of tests can hold them against each other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from ibkr_bridge.sim.clock import Calendar, FastClock, SimClock
from ibkr_bridge.sim.faults import Fault, Faults
from ibkr_bridge.sim.market.pacing import Pacing
from ibkr_bridge.sim.market.server import Market
from ibkr_bridge.sim.market.stream import QUOTES_EVERY
from ibkr_bridge.sim.market.world import make_world
from ibkr_bridge.sim.request_log import LoggedRequest
from ibkr_bridge.sim.tasks import Tasks


class MarketStage:
    """A market, and on `port` a Gateway in front of it; all times in seconds of its clock.

    `quotes_every` lies between two updates of one streamed quote; `market.stream.rate` sets a pace for all together.
    """

    def __init__(
        self,
        *,
        clock: SimClock | None = None,
        faults: Faults | None = None,
        pacing: bool = False,
        live: bool = False,
        reopen_after: float = 0.2,
        established_after: float = 0.1,
        list_loads_in: float = 0.0,
        list_lag: float = 0.0,
        quotes_every: float = QUOTES_EVERY,
        seed: int = 1,
    ) -> None:
        self.clock: SimClock = clock or FastClock()
        self.faults = faults or Faults()
        self.faults.happen, self.faults.undo = self._happen, self._undo
        delays = {"reopen_after": reopen_after, "established_after": established_after}
        delays |= {"list_loads_in": list_loads_in, "list_lag": list_lag}
        world = make_world(Calendar(self.clock), live=live, seed=seed, **delays)
        self.market = Market(world, self.clock, self.faults, Pacing(pacing), quotes_every)
        self._tasks = Tasks()

    @property
    def port(self) -> int:
        """Where the Gateway listens, on 127.0.0.1."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Stop the Gateway and start it again on its port: an empty jar, and nobody is signed in."""
        raise NotImplementedError

    async def start(self) -> None:
        """Open both halves."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Close both halves and leave nothing running."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The same as an address."""
        return f"https://127.0.0.1:{self.port}"

    def calls(self, part: str = "") -> list[LoggedRequest]:
        """What reached IBKR, the Gateway's own calls included; only targets that contain `part`."""
        return self.market.log.calls(part)

    def gateway_calls(self, part: str = "") -> list[LoggedRequest]:
        """What clients asked the Gateway, as far as anybody can know."""
        raise NotImplementedError

    async def arrived(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Wait until so many such calls have reached IBKR."""
        return await self.market.log.arrived(part, count)

    def log_in(self) -> None:
        """Somebody signs in; it may take a moment."""
        raise NotImplementedError

    def log_out(self) -> None:
        """IBKR ends the login; the Gateway does not know."""
        self.market.world.sessions.log_out()

    def lose_brokerage(self) -> None:
        """IBKR ends the brokerage session; the login stays."""
        self.market.world.sessions.lose()

    def compete(self) -> None:
        """Another program of the same user takes the brokerage session."""
        self.market.world.sessions.taken()

    async def cut_off(self) -> None:
        """IBKR refuses connections from now on, and drops those there are."""
        await self.market.stop()

    async def join(self) -> None:
        """IBKR is back."""
        await self.market.again()

    async def browser_login(self) -> None:
        """Walk through the login pages as a browser does; the Gateway then does its own part."""
        await visit(self.port, "/sso/Login?forwardTo=22&RL=1&ip2loc=US")
        await visit(self.port, "/sso/Dispatcher")

    async def settled(self) -> None:
        """Wait until scripted events that take time, such as a restart, are through."""
        await self._tasks.settled()

    def _happen(self, fault: Fault) -> None:
        self._events[fault.kind]()

    def _undo(self, fault: Fault) -> None:
        self._undoings.get(fault.kind, lambda: None)()

    @property
    def _events(self) -> Mapping[str, Callable[[], object]]:
        return {
            "restart": lambda: self._tasks.start(self.restart(), name="restart"),
            "sso-lost": self.log_out,
            "brokerage-lost": self.lose_brokerage,
            "competing": self.compete,
            "stream-silent": self.market.stream.fall_silent,
            "stream-cut": lambda: self._tasks.start(self.market.stream.end(), name="cut"),
        }

    @property
    def _undoings(self) -> Mapping[str, Callable[[], None]]:
        return {"stream-silent": self.market.stream.speak_again}


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
