"""A clock that stands still until a test moves it.

It is a clock of the bridge (`now`, `utc`, `wait`) and of the simulator (`now`, `sleep`), so both have the same time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)  # a Wednesday, noon in New York: no maintenance near


class ManualClock:
    """Time that a test moves by hand; sleeping tasks wake in the order of their alarms."""

    def __init__(self, start: datetime = NOON) -> None:
        self._start = start
        self._now = 1_000.0
        self._order = itertools.count()
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def utc(self) -> datetime:
        """Wall time, which moves with `now`."""
        return self._start + timedelta(seconds=self._now - 1_000.0)

    async def sleep(self, seconds: float) -> None:
        """Sleep until a test has moved time by so much."""
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._alarms, (self._now + max(seconds, 0.0), next(self._order), alarm))
        self._changed.set()
        try:
            await alarm
        finally:
            self._alarms = [entry for entry in self._alarms if entry[2] is not alarm]
            heapq.heapify(self._alarms)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Sleep, but wake early when `event` is set; return whether it is set."""
        tasks = [asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return event.is_set()

    async def wait_for_sleepers(self, count: int) -> None:
        """Wait until at least `count` tasks sleep: if these are all, time may be moved."""
        while len(self._alarms) < count:
            self._changed.clear()
            await self._changed.wait()

    @property
    def next_alarm(self) -> float:
        """Seconds until the first sleeping task wakes."""
        return self._alarms[0][0] - self._now

    def advance(self, seconds: float) -> None:
        """Move time forward and wake every task whose alarm has passed."""
        self._now += seconds
        while self._alarms and self._alarms[0][0] <= self._now + 1e-9:
            alarm = heapq.heappop(self._alarms)[2]  # removed here, so that a woken task no longer counts as asleep
            if not alarm.done():
                alarm.set_result(None)
