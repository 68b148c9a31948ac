"""Time in the simulator, at the speed that its user chooses.

The simulator reads time from the clock it was given and never from the machine. So a day of keep-alives can pass in a
test without waiting, and a demonstration can run ten times as fast as real time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import time as day_time
from typing import Protocol, runtime_checkable


class SimClock(Protocol):
    """The clock that the simulator needs: `FastClock`, or one that a test moves by hand."""

    def now(self) -> float:
        """Monotonic seconds; only differences have a meaning."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed on this clock."""
        ...


@runtime_checkable
class WallClock(Protocol):
    """A clock that also knows the date. The simulator uses the date if its clock has one."""

    def utc(self) -> datetime:
        """The date and time, aware and in UTC."""
        ...


class FastClock:
    """Time that runs `rate` times as fast as the machine's.

    Args:
        rate: seconds of this clock in one second of the machine.
        start: the date and time at which it starts; by default the machine's.
    """

    def __init__(self, rate: float = 1.0, start: datetime | None = None) -> None:
        self._rate = rate
        self._started_at = time.monotonic()
        self._start_date = start or datetime.now(UTC)

    def now(self) -> float:
        """See `SimClock.now`."""
        return self._started_at + self._elapsed()

    def utc(self) -> datetime:
        """See `WallClock.utc`."""
        return self._start_date + timedelta(seconds=self._elapsed())

    async def sleep(self, seconds: float) -> None:
        """See `SimClock.sleep`."""
        await asyncio.sleep(max(seconds, 0.0) / self._rate)

    def _elapsed(self) -> float:
        return (time.monotonic() - self._started_at) * self._rate


class Calendar:
    """The date for each moment of a clock. If the clock has no date, it is taken to start at the machine's date."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        day = clock.utc() if isinstance(clock, WallClock) else datetime.now(UTC)
        self._start = day - timedelta(seconds=clock.now())

    def utc_at(self, moment: float) -> datetime:
        """The date and time, in UTC, at a moment of the clock."""
        return self._start + timedelta(seconds=moment)

    def epoch_ms(self, moment: float) -> int:
        """The moment as IBKR writes it: milliseconds since 1970."""
        return int(self.utc_at(moment).timestamp() * 1000)

    def next_midnight(self, moment: float, zone: tzinfo) -> float:
        """The moment of the next midnight of a time zone."""
        utc = self.utc_at(moment)
        midnight = datetime.combine(utc.astimezone(zone).date() + timedelta(days=1), day_time(), zone)
        return moment + (midnight - utc).total_seconds()
