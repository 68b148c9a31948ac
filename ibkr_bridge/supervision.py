"""Supervision: whether the loops run, and whether the event loop is on time.

One supervised loop measures how late it wakes up. `/livez` reads the result: if the event loop hangs for seconds, or a
supervised loop has ended, the process should be restarted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

BEAT_INTERVAL_S = 1.0  # seconds
MAX_LAG_S = 2.0  # seconds; a healthy event loop is late by milliseconds


class LoopMonitor:
    """Measures how late the event loop is, and records a supervised loop that has ended."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last = now()
        self._late_s = 0.0
        self._dead: str | None = None

    def __repr__(self) -> str:
        return f"<LoopMonitor {self._late_s * 1000:.0f} ms late>"

    def problem(self) -> str | None:
        """What is wrong, as text; None if nothing is."""
        if self._dead is not None:
            return f"a loop has ended: {self._dead}"
        late_s = max(self._late_s, self._now() - self._last - BEAT_INTERVAL_S)
        return f"the event loop is {late_s:.1f} s late" if late_s > MAX_LAG_S else None

    def mark_dead(self, loop: str) -> None:
        """Record that a supervised loop has ended."""
        self._dead = loop

    def beat(self) -> None:
        """Measure how late the event loop is."""
        now = self._now()
        self._late_s, self._last = max(0.0, now - self._last - BEAT_INTERVAL_S), now

    async def run_loop(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> NoReturn:
        """Measure once a second, until cancelled."""
        while True:
            await sleep(BEAT_INTERVAL_S)
            self.beat()


Loop = Callable[[], Coroutine[Any, Any, NoReturn]]


async def run_until_first_ends(*loops: Loop) -> None:
    """Run loops until one of them ends; then cancel the others and say why."""
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop(), name=loop.__qualname__)
