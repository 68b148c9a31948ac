"""What systemd is notified of: ready, the state of the session, signs of life, reloading, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn, Protocol

from ibkr_bridge.observe.systemd import ALIVE, READY, STOPPING, SystemdNotifier, watchdog_interval
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.supervision import LoopMonitor

NO_WATCHDOG_INTERVAL_S = 3600.0  # without a watchdog nobody waits for the next round


class SessionReport(Protocol):
    """The keeper of the session, for the watchdog."""

    def problem(self) -> str | None:
        """What is wrong with the keeper itself; None while its rounds are on time."""
        ...


class ServiceStatus:
    """Notifies systemd of the state of the bridge.

    Args:
        env: the environment, in which systemd sets its socket and the timeout of its watchdog.
        session: the keeper of the session.
        loop_monitor: knows whether the loops run on time.
        summary: returns the most important condition in one line.
    """

    def __init__(
        self, env: Mapping[str, str], session: SessionReport, loop_monitor: LoopMonitor, summary: Callable[[], str]
    ) -> None:
        self._systemd = SystemdNotifier(env)
        self._interval_s = watchdog_interval(env)
        self._session = session
        self._loop_monitor = loop_monitor
        self._summary = summary
        self._text = ""

    def notify_ready(self) -> None:
        """The bridge serves requests."""
        self._systemd.notify(READY, self._status_text())

    def on_conditions_change(self) -> None:
        """Update the line that `systemctl status` shows."""
        text = self._status_text()
        if text != self._text:
            self._text = text
            self._systemd.notify(text)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Notify systemd of the start and the end of a reload, for which `systemctl reload` waits."""
        self._systemd.notify_reloading()
        try:
            yield
        finally:
            self.notify_ready()

    def notify_stopping(self) -> None:
        """The bridge shuts down."""
        self._systemd.notify(STOPPING)

    async def watchdog_loop(self) -> NoReturn:
        """Send signs of life while all loops are on time.

        If a loop is stuck, the status line says so and no sign of life is sent; then systemd restarts the bridge.
        """
        was_stuck = False
        while True:
            await asyncio.sleep(self._interval_s or NO_WATCHDOG_INTERVAL_S)
            problem = self._loop_monitor.problem() or self._session.problem()
            if problem is None:
                self._systemd.notify(ALIVE, *((self._status_text(),) if was_stuck else ()))
            elif not was_stuck:
                self._systemd.notify(f"STATUS=stuck: {problem}")
            was_stuck = problem is not None

    def _status_text(self) -> str:
        return f"STATUS={escape_unprintable(self._summary())}"
