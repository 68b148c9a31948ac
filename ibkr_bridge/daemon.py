"""The assembly: every part of the bridge built once, in one readable order, and its life from start to end."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from ibkr_bridge import VERSION, events
from ibkr_bridge.api.passthrough import proxy
from ibkr_bridge.api.routes import ROUTES, own_routes
from ibkr_bridge.clock import Clock, SystemClock
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.observe.service_status import ServiceStatus
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.registry import MAIN, ProfileRegistry
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import (
    BUS,
    CLOCK,
    DRAIN,
    KEYRING,
    LOOP_MONITOR,
    OWN_ROUTES,
    PROFILES,
    REDACTOR,
    SETTINGS,
)
from ibkr_bridge.server.connection import ClientConnection, ConnectionLimiter
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.listener import listening_socket
from ibkr_bridge.server.middleware import middlewares
from ibkr_bridge.server.request_parsing import MAX_BODY_BYTES
from ibkr_bridge.server.response_headers import add_headers
from ibkr_bridge.state_file import check_writable
from ibkr_bridge.supervision import LoopMonitor, run_until_first_ends

STATE_DIR_HINT = (
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
        redactor: Redactor,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        options: ProfileOptions | None = None,
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.redactor = redactor
        self.clock = clock or SystemClock()
        self.drain = Drain()
        self.loop_monitor = LoopMonitor()
        self.stop = asyncio.Event()
        self.failed = False
        self.keys = KeyRing(settings, self.clock.utc)
        self._env = env or {}
        self._options = options or ProfileOptions()
        self._has_inherited_socket = False
        self._profile: Profile | None = None
        self._service: ServiceStatus | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._connection_limiter = ConnectionLimiter(bus)

    @property
    def profile(self) -> Profile:
        """The usual line; there is one once the bridge has started."""
        if self._profile is None:
            raise RuntimeError("the bridge has not been started")
        return self._profile

    @property
    def service_status(self) -> ServiceStatus:
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
        self._register_secrets(self.settings)
        taken, self._has_inherited_socket = listening_socket(self.settings, self._env)
        try:
            await self._build()
            await self._listen(taken)
        except BaseException:
            taken.close()
            raise
        self._announce_started()

    def _register_secrets(self, settings: Settings) -> None:
        for secret in settings.secrets:
            self.redactor.add_secret(secret, permanent=True)

    async def _build(self) -> None:
        self._prepare_state_dir()
        self._profile = build_profile(MAIN, self.settings, self.clock, self.bus, self.redactor, self._options)
        self.keys.subscribe(self._profile.streaming.hub.close_invalid)
        self._service = ServiceStatus(self._env, self._profile.keeper, self.loop_monitor)
        self._runner = web.AppRunner(self._build_application(), shutdown_timeout=1.0)
        await self._runner.setup()

    def _build_application(self) -> web.Application:
        app = web.Application(middlewares=middlewares(), client_max_size=MAX_BODY_BYTES)
        app[SETTINGS], app[BUS], app[CLOCK], app[REDACTOR] = self.settings, self.bus, self.clock, self.redactor
        app[KEYRING], app[DRAIN], app[LOOP_MONITOR] = self.keys, self.drain, self.loop_monitor
        app[PROFILES], app[OWN_ROUTES] = ProfileRegistry((self.profile,)), own_routes()
        app.on_response_prepare.append(add_headers)
        app.cleanup_ctx.extend((self._open_profile, self._run_loops))
        add_routes(app.router)
        return app

    async def _listen(self, taken: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = self._runner.server if self._runner else None
        if server is None:
            raise RuntimeError("the application has not been set up")
        connection = functools.partial(ClientConnection, server, self._connection_limiter, loop)
        self._server = await loop.create_server(connection, sock=taken, backlog=512)

    def _announce_started(self) -> None:
        settings = self.settings
        self.bus.publish(
            events.BridgeStarted(
                self.url, str(settings.gateway_url), settings.trading_mode.value, settings.read_only, VERSION
            )
        )
        self.service_status.notify_ready()
        self.bus.subscribe(self.service_status.on_event)

    def reload(self, read: Callable[[], Settings]) -> Settings | None:
        """Read the settings again and take up the keys, without anybody noticing. Returns what was read.

        Args:
            read: reads them; what it refuses leaves everything as it was, and the log says what is wrong.
        """
        with self.service_status.reloading():
            try:
                settings = read()
            except SettingsError as exc:
                self.bus.publish(events.ReloadRefused("; ".join(str(problem) for problem in exc.problems)))
                return None
            self._register_secrets(settings)
            self.keys.replace(settings)
            self.bus.publish(events.BridgeReloaded(repr(self.keys), settings.log_level.value))
            return settings

    def _prepare_state_dir(self) -> None:
        path = self.settings.state_dir
        if path is None:
            self.bus.publish(events.StateUnavailable("the state directory", "there is none", STATE_DIR_HINT))
            return
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_writable(path)
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno else type(exc).__name__
            self.bus.publish(events.StateUnavailable("the state directory", reason, STATE_DIR_HINT))

    async def _open_profile(self, _: web.Application) -> AsyncIterator[None]:
        """What an earlier run kept is taken up; at the end it is kept again."""
        await self.profile.load()
        yield
        await self.profile.close()

    async def _run_loops(self, _: web.Application) -> AsyncIterator[None]:
        """Run the long-lived loops while the app lives; one that ends stops us all."""
        loops = self.profile.loops()
        supervisor = asyncio.create_task(
            run_until_first_ends(*loops, self.loop_monitor.run_loop, self.service_status.watchdog_loop),
            name="supervisor",
        )
        supervisor.add_done_callback(self._on_supervisor_end)
        yield
        supervisor.cancel()
        with suppress(asyncio.CancelledError, ExceptionGroup):
            await supervisor

    def _on_supervisor_end(self, supervisor: asyncio.Task[None]) -> None:
        if supervisor.cancelled():
            return
        group = supervisor.exception()
        first = group.exceptions[0] if isinstance(group, ExceptionGroup) else group
        name, place = type(first).__name__, events.traceback_places(first) if first else ""
        self.loop_monitor.mark_dead(name)
        self.bus.publish(events.LoopDied("supervisor", name, place))
        self.failed = True
        self.stop.set()

    async def finish(self) -> int:
        """Let nobody new in, wait for those inside, close everything. Returns how many could not be waited for."""
        self.bus.publish(events.BridgeStopping(self.drain.in_flight, self.drain.orders_in_flight))
        self.service_status.notify_stopping()
        self.drain.begin(handover=self._has_inherited_socket)
        if self._has_inherited_socket and self._server is not None:
            self._server.close()  # who comes now waits in systemd's socket for our successor
        self.profile.streaming.hub.close_all("shutting_down")  # else they would be waited for
        self.profile.keeper.request_check()  # a look wakes those who wait for the session, so that they hear it
        await self.drain.wait_finished()
        if self._server is not None:
            self._server.close()
        await self._connection_limiter.wait_for_pending_heads()
        unfinished = await self.drain.wait_finished(timeout_s=1.0, orders_within=1.0)
        if self._runner is not None:
            await self._runner.cleanup()
        self.bus.publish(events.BridgeStopped(unfinished))
        return unfinished


def add_routes(router: web.UrlDispatcher) -> None:
    """Route what is our own to its handler, and everything else to the pass-through."""
    for route in ROUTES:
        for method, path in itertools.product(route.methods, route.spellings):
            router.add_route(method, path, route.handler, expect_handler=defer_100_continue)
    router.add_route("*", "/{tail:.*}", proxy, expect_handler=defer_100_continue)


async def defer_100_continue(_: web.Request) -> None:
    """`Expect: 100-continue` is answered when the body is wanted, not before the key was seen."""
