"""A clock that stands still until a test moves it.

It serves the bridge (`now`, `utc`, `wait`) and the simulator (`now`, `sleep`) alike, so that both live in one time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)  # a Wednesday, noon in New York: no maintenance near


class ManualClock:
    """Time moved by hand; whoever sleeps wakes in the order of their alarms."""

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
        """The wall's time, moving with `now`."""
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
        """Sleep, or wake early when `event` is set; say whether it was."""
        tasks = [asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return event.is_set()

    async def asleep(self, count: int) -> None:
        """Wait until at least so many sleep: then nobody is at work and time may move."""
        while len(self._alarms) < count:
            self._changed.clear()
            await self._changed.wait()

    @property
    def next_alarm(self) -> float:
        """Seconds until the first sleeper wakes."""
        return self._alarms[0][0] - self._now

    def advance(self, seconds: float) -> None:
        """Move time and wake everybody who is due."""
        self._now += seconds
        while self._alarms and self._alarms[0][0] <= self._now + 1e-9:
            alarm = heapq.heappop(self._alarms)[2]  # at once: whoever wakes does not count as asleep any more
            if not alarm.done():
                alarm.set_result(None)
