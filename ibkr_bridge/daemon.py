"""The assembly: every part of the bridge built once, in one readable order, and its life from start to end."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from ibkr_bridge import VERSION, events
from ibkr_bridge.api.routes import HANDLERS
from ibkr_bridge.clock import Clock, SystemClock
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.errors import JournalDown
from ibkr_bridge.observe.service_status import Service
from ibkr_bridge.profiles.factory import build_line
from ibkr_bridge.profiles.options import Manners
from ibkr_bridge.profiles.profile import Line
from ibkr_bridge.redaction import Scrubber
from ibkr_bridge.server.app_keys import AGAIN, BUS, CLOCK, DRAIN, KEYS, LINES, MAIN, PULSE, SCRUBBER, SETTINGS
from ibkr_bridge.server.connection import Door, Doorkeeper
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.fast_path import Again
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.listener import opened
from ibkr_bridge.server.middleware import pipeline
from ibkr_bridge.server.request_parsing import LARGEST_BODY
from ibkr_bridge.server.response_headers import common, dress
from ibkr_bridge.server.routing import OPEN
from ibkr_bridge.state_file import check_writable
from ibkr_bridge.supervision import Pulse, together

STATE_HINT = (
    "orders are refused, cookies and a pause are not kept; make the state directory one that this user can write"
)


class Bridge:
    """One daemon, from the socket it binds to its last word.

    Args:
        settings: what it was told.
        bus: where facts are announced; listen before `start`.
        scrubber: learns every secret that is met.
        clock: time, for the keeper and whoever waits.
        env: where systemd says what it wants and gives.
        manners: how politely IBKR is asked; the usual way where left out.
    """

    def __init__(
        self,
        settings: Settings,
        bus: events.Bus,
        scrubber: Scrubber,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        manners: Manners | None = None,
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.scrubber = scrubber
        self.clock = clock or SystemClock()
        self.drain = Drain()
        self.pulse = Pulse()
        self.stop = asyncio.Event()
        self.failed = False
        self.keys = KeyRing(settings, self.clock.utc)
        self._env = env or {}
        self._manners = manners or Manners()
        self._inherited = False
        self._line: Line | None = None
        self._service: Service | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._doors = Doorkeeper(bus)

    @property
    def line(self) -> Line:
        """The usual line; there is one once the bridge has started."""
        if self._line is None:
            raise RuntimeError("the bridge has not been started")
        return self._line

    @property
    def service(self) -> Service:
        """What systemd is told; from the moment that the bridge starts."""
        if self._service is None:
            raise RuntimeError("the bridge has not been started")
        return self._service

    @property
    def url(self) -> str:
        """Where it listens, with the port it really got."""
        host, port = self._server.sockets[0].getsockname()[:2] if self._server else ("", 0)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Bind, build, listen.

        Raises:
            OSError: the port is taken, or a file of the settings cannot be used.
        """
        self._learn(self.settings)
        taken, self._inherited = opened(self.settings, self._env)
        try:
            await self._build()
            await self._listen(taken)
        except BaseException:
            taken.close()
            raise
        self._say_hello()

    def _learn(self, settings: Settings) -> None:
        for secret in settings.secrets:
            self.scrubber.learn(secret, for_good=True)

    async def _build(self) -> None:
        self._prepare_state_dir()
        self._line = build_line(MAIN, self.settings, self.clock, self.bus, self.scrubber, self._manners)
        self.keys.watch(self._line.streaming.hub.check)
        self._service = Service(self._env, self._line.keeper, self.pulse)
        self._runner = web.AppRunner(self._application(), shutdown_timeout=1.0)
        await self._runner.setup()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=pipeline(), client_max_size=LARGEST_BODY)
        app[SETTINGS], app[BUS], app[CLOCK], app[SCRUBBER] = self.settings, self.bus, self.clock, self.scrubber
        app[KEYS], app[DRAIN], app[PULSE] = self.keys, self.drain, self.pulse
        app[LINES] = {MAIN: self.line}
        app[AGAIN] = self._doors.again = Again(
            self.line, self.keys, self.drain, self.bus.announce, common(self.settings)
        )
        app.on_response_prepare.append(dress)
        app.cleanup_ctx.extend((self._open_line, self._run_loops))
        for method, path, handler in HANDLERS:
            app.router.add_route(method, path, handler, expect_handler=_no_haste)
            if path not in OPEN and "{tail" not in path:  # clients write it; four routes are open exactly as they are
                app.router.add_route(method, path + "/", handler, expect_handler=_no_haste)
        return app

    async def _listen(self, taken: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = self._runner.server if self._runner else None
        if server is None:
            raise RuntimeError("the application has not been set up")
        door = functools.partial(Door, server, self._doors, loop)
        self._server = await loop.create_server(door, sock=taken, backlog=512)

    def _say_hello(self) -> None:
        settings = self.settings
        self.bus.announce(
            events.BridgeStarted(
                self.url, str(settings.gateway_url), settings.trading_mode.value, settings.read_only, VERSION
            )
        )
        self.service.ready()
        self.bus.listen(self.service.hear)

    def reload(self, read: Callable[[], Settings]) -> Settings | None:
        """Read the settings again and take up the keys, without anybody noticing. Returns what was read.

        Args:
            read: reads them; what it refuses leaves everything as it was, and the log says what is wrong.
        """
        with self.service.reloading():
            try:
                settings = read()
            except SettingsError as exc:
                self.bus.announce(events.ReloadRefused("; ".join(str(problem) for problem in exc.problems)))
                return None
            self._learn(settings)
            self.keys.replace(settings)
            self.bus.announce(events.BridgeReloaded(repr(self.keys), settings.log_level.value))
            return settings

    def _prepare_state_dir(self) -> None:
        path = self.settings.state_dir
        if path is None:
            self.bus.announce(events.StateTrouble("the state directory", "there is none", STATE_HINT))
            return
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_writable(path)
        except OSError as exc:
            why = os.strerror(exc.errno) if exc.errno else type(exc).__name__
            self.bus.announce(events.StateTrouble("the state directory", why, STATE_HINT))

    async def _open_line(self, _: web.Application) -> AsyncIterator[None]:
        """What an earlier run kept is taken up; at the end it is kept again."""
        self.line.jar.load()
        self.line.pause.load()
        self.line.penalty.load()
        self.line.long.load(self.line.turns)
        self.line.suppressed.load()
        with suppress(JournalDown):  # announced; every order tries again
            await self.line.ordering.load()
        yield
        if self.line.reads is not None:
            await self.line.reads.sharing.close()
        self.line.jar.save()
        await self.line.gateway.close()
        await self.line.ordering.book.close()

    async def _run_loops(self, _: web.Application) -> AsyncIterator[None]:
        """Run the long-lived loops while the app lives; one that ends stops us all."""
        line, ordering, streaming = self.line, self.line.ordering, self.line.streaming
        loops = (
            *(line.keeper.keep, line.turns.keep, line.jar.keep, ordering.keep, ordering.seeker.keep),
            *(streaming.feed.keep, streaming.tend),
        )
        supervisor = asyncio.create_task(together(*loops, self.pulse.keep, self.service.feed), name="supervisor")
        supervisor.add_done_callback(self._supervisor_ended)
        yield
        supervisor.cancel()
        with suppress(asyncio.CancelledError, ExceptionGroup):
            await supervisor

    def _supervisor_ended(self, supervisor: asyncio.Task[None]) -> None:
        if supervisor.cancelled():
            return
        group = supervisor.exception()
        first = group.exceptions[0] if isinstance(group, ExceptionGroup) else group
        name, place = type(first).__name__, events.where(first) if first else ""
        self.pulse.died(name)
        self.bus.announce(events.LoopDied("supervisor", name, place))
        self.failed = True
        self.stop.set()

    async def finish(self) -> int:
        """Let nobody new in, wait for those inside, close everything. Returns how many could not be waited for."""
        self.bus.announce(events.BridgeStopping(self.drain.inside, self.drain.orders))
        self.service.stopping()
        self.drain.begin(succeeded=self._inherited)
        if self._inherited and self._server is not None:
            self._server.close()  # who comes now waits in systemd's socket for our successor
        self.line.streaming.hub.end_all("stopping")  # else they would be waited for
        self.line.keeper.doubt()  # a look wakes those who wait for the session, so that they hear it
        await self.drain.finished()
        if self._server is not None:
            self._server.close()
        await self._doors.threshold_is_empty()
        unfinished = await self.drain.finished(within=1.0, orders_within=1.0)
        if self._runner is not None:
            await self._runner.cleanup()
        self.bus.announce(events.BridgeStopped(unfinished))
        return unfinished


async def _no_haste(_: web.Request) -> None:
    """`Expect: 100-continue` is answered when the body is wanted, not before the key was seen."""
