"""Our life as systemd follows it: ready, how the session is, alive, reloading, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn, Protocol

from ibkr_bridge.events import Event, SessionChanged
from ibkr_bridge.observe.systemd import ALIVE, READY, STOPPING, SystemdNotifier, watchdog_interval
from ibkr_bridge.supervision import LoopMonitor

NO_WATCHDOG_INTERVAL_S = 3600.0  # seconds


class SessionReport(Protocol):
    """What systemd is told of the session."""

    @property
    def summary(self) -> str:
        """The state and what to do, in one line."""
        ...

    def problem(self) -> str | None:
        """What is wrong with the keeper itself; None while its rounds follow each other."""
        ...


class ServiceStatus:
    """Tells systemd how the bridge is.

    Args:
        env: the environment, in which systemd says what it wants.
        session: how the session is.
        loop_monitor: whether the loops run on time.
    """

    def __init__(self, env: Mapping[str, str], session: SessionReport, loop_monitor: LoopMonitor) -> None:
        self._systemd = SystemdNotifier(env)
        self._pause = watchdog_interval(env)
        self._session = session
        self._loop_monitor = loop_monitor

    def notify_ready(self) -> None:
        """We serve."""
        self._systemd.notify(READY, self._status_text())

    def on_event(self, event: Event) -> None:
        """What the session does, `systemctl status` shows."""
        if isinstance(event, SessionChanged):
            self._systemd.notify(self._status_text())

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While settings are read again; `systemctl reload` waits for its end, if it heard of the beginning in time."""
        self._systemd.notify_reloading()
        try:
            yield
        finally:
            self.notify_ready()

    def notify_stopping(self) -> None:
        """We end."""
        self._systemd.notify(STOPPING)

    async def watchdog_loop(self) -> NoReturn:
        """Show the watchdog that the loops go round, for ever; what is stuck is shown by silence, and in words."""
        was_stuck = False
        while True:
            await asyncio.sleep(self._pause or NO_WATCHDOG_INTERVAL_S)
            trouble = self._loop_monitor.problem() or self._session.problem()
            if trouble is None:
                self._systemd.notify(ALIVE, *((self._status_text(),) if was_stuck else ()))
            elif not was_stuck:
                self._systemd.notify(f"STATUS=stuck: {trouble}")
            was_stuck = trouble is not None

    def _status_text(self) -> str:
        return f"STATUS={self._session.summary}"
