"""The daemon: it builds every part of the bridge once, starts it, and stops it in order."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from ibkr_bridge import VERSION, events
from ibkr_bridge.application import ApplicationParts, build_application
from ibkr_bridge.clock import Clock, SystemClock
from ibkr_bridge.conditions.board import ConditionBoard
from ibkr_bridge.conditions.rules import BridgeFacts, bridge_conditions
from ibkr_bridge.conditions.state_directory import StateDirectory
from ibkr_bridge.config.profile_files import read_profiles
from ibkr_bridge.config.settings import RoadKind, Settings, SettingsError, UnappliedSettings, names_needing_restart
from ibkr_bridge.config.value_types import is_loopback
from ibkr_bridge.history.recorder import HistoryRecorder
from ibkr_bridge.limits.address_ceiling import AddressCeilings
from ibkr_bridge.observe.metrics import Metrics
from ibkr_bridge.observe.request_counts import RequestCounts
from ibkr_bridge.observe.service_status import ServiceStatus
from ibkr_bridge.orders.journal.threads import JournalThreads
from ibkr_bridge.profiles.company import Company
from ibkr_bridge.profiles.condition_facts import find_conditions
from ibkr_bridge.profiles.credentials import Credentials
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.manager import ProfileManager
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.sealed_store import SealedStore
from ibkr_bridge.profiles.status import ProfileStatus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import DemoControl
from ibkr_bridge.server.connection import ClientConnection, ConnectionLimiter, ControlConnection
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.listener import control_socket, listening_socket
from ibkr_bridge.server.named_keys import NamedKeysError, load_named_keys
from ibkr_bridge.server.profile_administration import ProfileAdministration
from ibkr_bridge.server.profile_connections import ProfileConnections
from ibkr_bridge.server.request_samples import RequestSamples
from ibkr_bridge.server.running_mark import RunningMark
from ibkr_bridge.state_file import check_private, check_writable
from ibkr_bridge.supervision import LoopMonitor, run_until_first_ends

HISTORY_FILE = "bridge.history.db"
PROFILES = "profiles"
"""The directory, in the state directory, of the profiles that were made while the bridge ran."""
STATE_DIR_HINT = (
    "Orders are refused, and cookies and the trading pause are not saved. "
    "Make the state directory writable for this user."
)


class Bridge:
    """One daemon, from binding its socket to the end of the process.

    Args:
        settings: the settings.
        bus: publishes the events; subscribe before `start`.
        redactor: gets every secret.
        clock: the time, for the keeper and for all waits.
        env: the environment variables through which systemd passes its socket and watchdog.
        options: limits and schedules for tests and benchmarks; the usual ones if left out.
        demo: sends commands to the simulator behind it; None if this is no demo.
    """

    def __init__(
        self,
        settings: Settings,
        bus: events.Bus,
        redactor: Redactor,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        options: ProfileOptions | None = None,
        demo: DemoControl | None = None,
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.redactor = redactor
        self.clock = clock or SystemClock()
        self.drain = Drain()
        self.loop_monitor = LoopMonitor()
        self.stop = asyncio.Event()
        self.failed = False
        self.keys = KeyRing(settings, self.clock.utc, bus)
        self.unapplied = UnappliedSettings()
        self.conditions = ConditionBoard(self.clock.utc, bus)
        self.state_directory = StateDirectory(settings.state_dir)
        self._running_mark = RunningMark(settings.state_dir)
        self._counts = RequestCounts()
        self._samples = RequestSamples(self.clock)
        bus.subscribe(self._counts.on_event)
        bus.subscribe(self._samples.on_event)
        self._demo = demo
        self._env = env or {}
        self._options = options or ProfileOptions()
        self._has_inherited_socket = False
        self._profiles: ProfileManager | None = None
        self._ceilings = AddressCeilings(self.clock)
        self._journal_threads = JournalThreads()
        self._sealed = SealedStore(settings)
        self._credentials = Credentials(self._sealed, redactor)
        self._connections: ProfileConnections | None = None
        self._service: ServiceStatus | None = None
        self._history: HistoryRecorder | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._control: asyncio.Server | None = None
        self._connection_limiter = ConnectionLimiter(bus)

    @property
    def profiles(self) -> ProfileManager:
        """All profiles; they exist once the bridge has started."""
        if self._profiles is None:
            raise RuntimeError("the bridge has not been started")
        return self._profiles

    @property
    def profile(self) -> Profile:
        """The profile `main`."""
        return self.profiles.main

    @property
    def history(self) -> HistoryRecorder:
        """The history; it exists once the bridge has started."""
        if self._history is None:
            raise RuntimeError("the bridge has not been started")
        return self._history

    @property
    def connections(self) -> ProfileConnections:
        """The connections of the users to IBKR; they exist once the bridge has started."""
        if self._connections is None:
            raise RuntimeError("the bridge has not been started")
        return self._connections

    @property
    def service_status(self) -> ServiceStatus:
        """The status for systemd; it exists once the bridge has started."""
        if self._service is None:
            raise RuntimeError("the bridge has not been started")
        return self._service

    @property
    def url(self) -> str:
        """The address at which it listens, with the actual port."""
        host, port = self._server.sockets[0].getsockname()[:2] if self._server else ("", 0)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Bind the socket, build all parts, and accept connections.

        Raises:
            OSError: the port is in use, or a file of the settings cannot be read.
        """
        self._register_secrets(self.settings)
        listening, self._has_inherited_socket = listening_socket(self.settings, self._env)
        try:
            await self._build()
            await self._listen(listening)
        except BaseException:
            listening.close()
            raise
        self._publish_started()

    def _register_secrets(self, settings: Settings) -> None:
        for secret in settings.secrets:
            self.redactor.add_secret(secret, permanent=True)
        for number in settings.allowed_accounts:
            self.redactor.add_account(number)

    async def _build(self) -> None:
        settings = self.settings if self._prepare_state_dir() else dataclasses.replace(self.settings, state_dir=None)
        self._load_named_keys()
        self._history = HistoryRecorder(
            settings.state_dir / HISTORY_FILE if settings.state_dir else None, self.clock, self.bus
        )
        self.conditions.add_source(lambda: bridge_conditions(self._bridge_facts()))
        self.conditions.on_change.subscribe(self._history.on_conditions)
        self._profiles = ProfileManager(settings, self._build_profile, self.clock, self.bus)
        self._profiles.on_added.subscribe(self._watch_profile)
        self._profiles.on_removed.subscribe(self._forget_profile)
        company = Company(self._sealed, self.redactor)
        self._connections = ProfileConnections(
            self._profiles.registry, self._credentials, company, self.clock, self.redactor
        )
        self._profiles.on_removed.subscribe(self.connections.forget)
        self.keys.subscribe(lambda _: self._close_invalid_streams())
        self._service = ServiceStatus(
            self._env, self.profile.keeper, self.loop_monitor, lambda: self.conditions.summary(self.profile.name)
        )
        self._runner = web.AppRunner(self._application(), shutdown_timeout=1.0)
        await self._runner.setup()

    def _load_named_keys(self) -> None:
        """Add the named keys of the state directory. Without them the keys of the settings are still good."""
        try:
            self.keys.replace(self.settings, load_named_keys(self._usable_state_dir()))
        except NamedKeysError as exc:
            self.bus.publish(events.StateUnavailable("the named keys", exc.detail, exc.hint))

    def _build_profile(self, settings: Settings) -> Profile:
        ceiling = self._ceilings.of(egress_of(settings))
        parts = (self.clock, self.bus, self.redactor, self._options)
        load_credential = functools.partial(self._credentials.load, settings)
        return build_profile(settings.profile, settings, *parts, load_credential, ceiling, self._journal_threads)

    def _watch_profile(self, profile: Profile) -> None:
        """Let the conditions and the history follow a profile, and keep the numbers of its accounts out of the log."""
        for number in profile.settings.allowed_accounts:
            self.redactor.add_account(number)
        self.conditions.add_source(lambda: find_conditions(profile), profile.name, str(profile.settings.gateway_url))
        keeper = profile.keeper
        self.history.on_state(profile.name, keeper.session.state.value)
        keeper.on_change.subscribe(lambda _: self.history.on_state(profile.name, keeper.session.state.value))

    def _other_profiles(self) -> list[Settings]:
        """The profiles of the files, but for those that cannot be used, which the log names."""
        main = self.profile.settings
        managed = main.state_dir / PROFILES if main.state_dir else None
        profiles, problems = read_profiles([path for path in (main.profiles, managed) if path is not None], main)
        self.profiles.refused = tuple(problems)
        for problem in problems:
            self.bus.publish(events.ProfileRefused(str(problem), profile=problem.profile))
        return profiles

    def _renew_access(self, name: str) -> None:
        """Another program has changed the credential of a profile."""
        if name in self.profiles.registry:
            self.profiles.registry.get(name).keeper.renew_access()

    def _forget_profile(self, profile: Profile) -> None:
        self.conditions.remove_sources(profile.name)
        self.history.on_removed(profile.name)

    def _close_invalid_streams(self) -> None:
        for profile in self.profiles.registry:
            profile.streaming.hub.close_invalid()

    def _statuses(self) -> dict[str, ProfileStatus]:
        """The status of each profile, for the metrics."""
        return {
            profile.name: profile.status(
                is_draining=self.drain.is_draining, conditions=self.conditions.current(profile.name)
            )
            for profile in self.profiles.registry
        }

    def _bridge_facts(self) -> BridgeFacts:
        directory = self.state_directory.state
        return BridgeFacts(
            is_draining=self.drain.is_draining,
            state_problem=directory.problem,
            free_bytes=directory.free_bytes,
            history_problem=self.history.problem,
            reload_problems=self.unapplied.refusal,
            restart_needed=self.unapplied.names,
            mode=self.settings.trading_mode.value,
            wanted_mode=self.unapplied.wanted_mode,
        )

    def _administration(self) -> ProfileAdministration:
        main = self.profile.settings
        directory = main.state_dir / PROFILES if main.state_dir else None
        return ProfileAdministration(self.profiles, self.keys, main, directory, self.clock, self._credentials)

    def _application(self) -> web.Application:
        parts = ApplicationParts(
            *(self.settings, self.bus, self.clock, self.redactor, self.keys, self.drain, self.loop_monitor),
            *(self.unapplied, self.conditions, self.history, self.profiles.registry, self._administration()),
            self.connections,
            *(Metrics(self._counts, self._statuses), self._samples, self._demo),
        )
        return build_application(parts, (self._open_profiles, self._run_loops))

    async def _listen(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = self._runner.server if self._runner else None
        if server is None:
            raise RuntimeError("the application has not been set up")
        connection = functools.partial(ClientConnection, server, self._connection_limiter, loop)
        self._server = await loop.create_server(connection, sock=listening, backlog=512)
        control = control_socket(self._usable_state_dir())
        if control is not None:
            on_control = functools.partial(ControlConnection, server, ConnectionLimiter(self.bus), loop)
            self._control = await loop.create_unix_server(on_control, sock=control)

    def _publish_started(self) -> None:
        settings = self.settings
        self.bus.publish(
            events.BridgeStarted(
                self.url, str(settings.gateway_url), settings.trading_mode.value, settings.read_only, VERSION
            )
        )
        self.service_status.notify_ready()
        self.conditions.on_change.subscribe(lambda _: self.service_status.on_conditions_change())
        self.profile.keeper.on_change.subscribe(lambda _: self.service_status.on_conditions_change())

    def reload(self, read: Callable[[], Settings], read_all: Callable[[], Settings] | None = None) -> Settings | None:
        """Read the settings again and replace the keys; requests are not interrupted. Returns the new settings.

        Args:
            read: reads the settings; if it raises, nothing changes, and the log says what is wrong.
            read_all: reads the settings as a restart would, to report those that are not applied; `read` if left out.
        """
        with self.service_status.reloading():
            try:
                settings, named_keys = read(), load_named_keys(self._usable_state_dir())
            except (SettingsError, NamedKeysError) as exc:
                self._refuse_reload(exc)
                return None
            self.unapplied.refusal = None
            self._register_secrets(settings)
            self.keys.replace(settings, named_keys)
            self.bus.publish(events.BridgeReloaded(repr(self.keys), settings.log_level.value))
            self._report_unapplied(read_all or (lambda: settings))
            self._running_mark.count_reload(None)
            return settings

    def _refuse_reload(self, exc: SettingsError | NamedKeysError) -> None:
        problems = exc.problems if isinstance(exc, SettingsError) else [exc]
        self.unapplied.refusal = "; ".join(str(problem) for problem in problems)
        self.bus.publish(events.ReloadRefused(self.unapplied.refusal))
        self._running_mark.count_reload(self.unapplied.refusal)

    def _report_unapplied(self, read_all: Callable[[], Settings]) -> None:
        try:
            settings = read_all()
            names = names_needing_restart(self.settings, settings)
            self.unapplied.wanted_mode = settings.trading_mode.value
        except SettingsError as exc:  # a restart would be refused because of these
            names = tuple(problem.name for problem in exc.problems)
        self.unapplied.names = names
        if names:
            self.bus.publish(events.RestartNeeded(", ".join(names)))

    def _prepare_state_dir(self) -> bool:
        """Make and check the state directory. Returns whether it may be used, now or when it has been repaired."""
        path = self.settings.state_dir
        if path is None:
            self.bus.publish(events.StateUnavailable("the state directory", "there is none", STATE_DIR_HINT))
            return False
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(path)
            check_writable(path)
        except OSError as exc:
            reason = exc.strerror or type(exc).__name__
            self.bus.publish(events.StateUnavailable("the state directory", reason, STATE_DIR_HINT))
            return not os.path.lexists(path) or _is_private(path)
        return True

    def _usable_state_dir(self) -> Path | None:
        """The state directory; None if there is none, or if others could put files into it."""
        path = self.settings.state_dir
        return path if path is not None and _is_private(path) else None

    async def _open_profiles(self, _: web.Application) -> AsyncIterator[None]:
        """Load the state of an earlier run; at the end save it again."""
        await self.profiles.start(self._other_profiles())
        if self.settings.database_url is not None:
            self._sealed.on_change(self._renew_access)
        if self._usable_state_dir() is not None:
            self._running_mark.open()
        yield
        await self.connections.close()
        await self.profiles.close()
        self._journal_threads.close()
        await self._sealed.close()
        await self.history.close()
        self._running_mark.close()

    async def _run_loops(self, _: web.Application) -> AsyncIterator[None]:
        """Run the long-lived loops while the application runs; if one ends, the daemon stops."""
        loops = self.profile.loops()
        supervisor = asyncio.create_task(
            run_until_first_ends(
                *loops,
                self.loop_monitor.run_loop,
                self.service_status.watchdog_loop,
                self.conditions.run_loop,
                self.state_directory.run_loop,
                self.history.run_loop,
                self._ceilings.run_loop,
            ),
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

    def _drop_disconnected(self) -> None:
        for profile in self.profiles.registry:
            profile.admission.drop_disconnected()

    async def finish(self) -> int:
        """Stop accepting requests, wait for those in progress, and close everything. Returns how many were not
        finished."""
        self.bus.publish(events.BridgeStopping(self.drain.in_flight, self.drain.orders_in_flight))
        self.service_status.notify_stopping()
        self.drain.begin(handover=self._has_inherited_socket)
        if self._has_inherited_socket and self._server is not None:
            self._server.close()  # new connections queue in systemd's socket until the next process accepts them
        for profile in self.profiles.registry:
            profile.streaming.hub.close_all("shutting_down")  # else the drain would wait for them
            profile.keeper.request_check()  # a check wakes the calls that wait for the session, so that they end
        self._connection_limiter.on_closed = self._drop_disconnected
        self._drop_disconnected()
        await self.drain.wait_finished()
        for server in (self._server, self._control):
            if server is not None:
                server.close()
        await self._connection_limiter.wait_for_pending_heads()
        unfinished = await self.drain.wait_finished(timeout_s=1.0, orders_within=1.0)
        if self._runner is not None:
            await self._runner.cleanup()
        self.bus.publish(events.BridgeStopped(unfinished))
        return unfinished


def egress_of(settings: Settings) -> str:
    """A name of the address that IBKR sees: that of this machine, or of another one where the Gateway runs."""
    is_elsewhere = settings.road is RoadKind.GATEWAY and not is_loopback(settings.gateway_url.host)
    return settings.gateway_url.host if is_elsewhere else settings.local_address or "this machine"


def _is_private(path: Path) -> bool:
    try:
        check_private(path)
    except OSError:
        return False
    return True
