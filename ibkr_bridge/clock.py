"""The clock.

Rules read no clock: the time is passed in as `now`. Loops get a `Clock`, so that a test can move time by hand and a
simulator can run it fast. Intervals are monotonic seconds; `utc()` is for times that people read.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The three methods that loops use."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...

    def utc(self) -> datetime:
        """The wall-clock time, aware and in UTC."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Sleep for `seconds`, or until `event` is set. Returns whether it was set."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True


def utc_text(at: datetime | None) -> str | None:
    """A time as people and programs read it: `2026-06-17T16:00:00Z`."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def span_text(seconds: float) -> str:
    """A length of time in its two largest units: `3 h 12 min`."""
    left, parts = max(0, int(seconds)), list[str]()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if parts or count or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def utc_ms(at: datetime) -> int:
    """A time as IBKR writes it: milliseconds since 1970."""
    return int(at.timestamp() * 1000)
