"""IBKR's half of the simulator with its controls, behind the simulated Gateway or a real one.

Both Gateways are controlled through the same methods, so that one suite of tests can compare them.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Self

from ibkr_bridge.sim.clock import Calendar, FastClock, SimClock
from ibkr_bridge.sim.faults import Fault, Faults
from ibkr_bridge.sim.market.availability import CODES
from ibkr_bridge.sim.market.holdings import DEFAULT_POSITIONS
from ibkr_bridge.sim.market.pacing import Pacing
from ibkr_bridge.sim.market.server import Market
from ibkr_bridge.sim.market.sessions import Contradiction
from ibkr_bridge.sim.market.stream import QUOTE_INTERVAL_S
from ibkr_bridge.sim.market.world import World, make_world
from ibkr_bridge.sim.request_log import LoggedRequest
from ibkr_bridge.sim.tasks import Tasks

RESTARTING_KINDS = frozenset({"restart", "restart-during", "done-restart-during"})
"""Kinds of faults after which the Gateway has no login, although IBKR still has its session."""
SESSION_ENDING_KINDS = RESTARTING_KINDS | {
    *("sso-lost", "brokerage-lost", "competing", "competing-stays", "lost-during", "done-lost-during"),
    *("ibkr-down", "refuse", "maintenance"),
}
"""Kinds of faults after which nobody may be signed in, or another program may hold the brokerage session."""

CONTRADICTIONS: Mapping[str, Contradiction] = {
    "no-bridge": Contradiction.NO_BRIDGE,
    "disconnected": Contradiction.DISCONNECTED,
    "never-established": Contradiction.NEVER_ESTABLISHED,
}
"""Events that end when the session is requested again."""


class MarketStage:
    """A market, and on `port` a Gateway in front of it; all times are seconds of its clock.

    `quote_interval_s` is the time between two updates of one streamed quote. `market.stream.rate` sets one rate for all
    quotes together instead. `positions` is how many positions the first account has. `world` is a world that was
    made elsewhere; what else describes a world is then not used.
    """

    def __init__(
        self,
        *,
        clock: SimClock | None = None,
        faults: Faults | None = None,
        pacing: bool = False,
        live: bool = False,
        reopen_delay_s: float = 0.2,
        establish_delay_s: float = 0.1,
        list_load_delay_s: float = 0.0,
        list_lag_s: float = 0.0,
        quote_interval_s: float = QUOTE_INTERVAL_S,
        accounts: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        positions: int = DEFAULT_POSITIONS,
        seed: int = 1,
        world: World | None = None,
    ) -> None:
        self.clock: SimClock = clock or FastClock()
        self.faults = faults or Faults()
        self.faults.trigger_event, self.faults.undo_event = self._trigger_event, self._undo_event
        self.faults.is_over = self._is_over
        delays = {"reopen_delay_s": reopen_delay_s, "establish_delay_s": establish_delay_s}
        delays |= {"list_load_delay_s": list_load_delay_s, "list_lag_s": list_lag_s}
        world = world or make_world(
            Calendar(self.clock),
            live=live,
            seed=seed,
            accounts=accounts,
            groups=groups,
            positions=positions,
            **delays,
        )
        self.market = Market(world, self.clock, self.faults, Pacing(pacing), quote_interval_s)
        self._tasks = Tasks()

    @property
    def port(self) -> int:
        """The port of the Gateway on 127.0.0.1."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Stop the Gateway and start it again on its port; its cookie jar is then empty and nobody is signed in."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start the market and the Gateway."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop the market and the Gateway, and leave no task running."""
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
        """The Gateway's base URL."""
        return f"https://127.0.0.1:{self.port}"

    def calls(self, part: str = "") -> list[LoggedRequest]:
        """The calls that reached IBKR and whose target contains `part`; the Gateway's own calls are included."""
        return self.market.log.calls(part)

    def gateway_calls(self, part: str = "") -> list[LoggedRequest]:
        """The clients' calls that reached the Gateway, as far as that can be known."""
        raise NotImplementedError

    async def wait_for_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Wait until at least `count` calls whose target contains `part` have reached IBKR."""
        return await self.market.log.wait_for_calls(part, count)

    def log_in(self) -> None:
        """Sign in; it may take effect a moment later."""
        raise NotImplementedError

    def log_out(self) -> None:
        """IBKR ends the login without notice to the Gateway."""
        self.market.world.sessions.log_out()

    def lose_brokerage(self) -> None:
        """IBKR ends the brokerage session; the login stays."""
        self.market.world.sessions.lose_brokerage()

    def start_competing(self) -> None:
        """Another program of the same user takes the brokerage session."""
        self.market.world.sessions.start_competing()

    async def disconnect_ibkr(self) -> None:
        """Make IBKR refuse connections from now on, and drop the present ones."""
        await self.market.stop()

    async def reconnect_ibkr(self) -> None:
        """Make IBKR accept connections again."""
        await self.market.resume()

    async def log_in_by_browser(self) -> None:
        """Request the login pages as a browser does; the Gateway then runs its own login chain."""
        await fetch_page(self.port, "/sso/Login?forwardTo=22&RL=1&ip2loc=US")
        await fetch_page(self.port, "/sso/Dispatcher")

    def restore(self, kinds: Collection[str]) -> None:
        """Undo what ended faults of these kinds have left behind: held calls, the penalty, a lost or taken session."""
        self.market.release_held_calls()
        self.market.pacing.reset()
        sessions = self.market.world.sessions
        is_over = sessions.is_competing or not sessions.is_authenticated(self.clock.now())
        if not RESTARTING_KINDS.isdisjoint(kinds) or (is_over and not SESSION_ENDING_KINDS.isdisjoint(kinds)):
            self.log_in()

    async def wait_for_events(self) -> None:
        """Wait until scripted events that take time, such as a restart, have ended."""
        await self._tasks.wait_until_idle()

    def _trigger_event(self, fault: Fault) -> None:
        if fault.kind in CODES:
            self._restrict_quotes(fault)
        else:
            self._event_actions[fault.kind]()

    def _undo_event(self, fault: Fault) -> None:
        if fault.kind in CODES:
            self.market.world.quotes.availability.lift(fault.kind, fault.path)
        else:
            self._undo_actions.get(fault.kind, lambda: None)()

    def _restrict_quotes(self, fault: Fault) -> None:
        world, now = self.market.world, self.clock.now()
        world.book.fill_orders(now)  # what could fill before a market closes has filled
        world.quotes.availability.restrict(fault.kind, fault.path, now)

    def _is_over(self, fault: Fault) -> bool:
        sessions = self.market.world.sessions
        if fault.kind == "brokerage-lost":
            return sessions.is_authenticated(self.clock.now())
        return fault.kind in CONTRADICTIONS and sessions.contradiction is not CONTRADICTIONS[fault.kind]

    @property
    def _event_actions(self) -> Mapping[str, Callable[[], object]]:
        return {
            "restart": lambda: self._tasks.start(self.restart(), name="restart"),
            "sso-lost": self.log_out,
            "brokerage-lost": self.lose_brokerage,
            "competing": self.start_competing,
            "competing-stays": lambda: self._set_rival(stays=True),
            **{kind: functools.partial(self._contradict, each) for kind, each in CONTRADICTIONS.items()},
            "selection-lost": lambda: self._forget_selections(forgets=True),
            "stream-silent": self.market.stream.mute,
            "stream-cut": lambda: self._tasks.start(self.market.stream.close_all(), name="cut"),
        }

    @property
    def _undo_actions(self) -> Mapping[str, Callable[[], None]]:
        return {
            "stream-silent": self.market.stream.unmute,
            "competing-stays": lambda: self._set_rival(stays=False),
            **dict.fromkeys(CONTRADICTIONS, lambda: self._contradict(None)),
            "selection-lost": lambda: self._forget_selections(forgets=False),
        }

    def _contradict(self, contradiction: Contradiction | None) -> None:
        self.market.world.sessions.contradiction = contradiction

    def _set_rival(self, *, stays: bool) -> None:
        """Let another program take the session now and after each reopening, or end that."""
        self.market.world.sessions.rival_stays = stays
        if stays:
            self.start_competing()

    def _forget_selections(self, *, forgets: bool) -> None:
        self.market.world.forgets_selection = forgets


async def fetch_page(port: int, target: str) -> bytes:
    """Request one page of the Gateway, as a browser on the same machine does; return the response's raw bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=browser_tls())
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.transport.abort()


def browser_tls() -> ssl.SSLContext:
    """TLS without any check of the certificate, as after a click on the browser's warning."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
