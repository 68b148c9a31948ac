"""How old the times of the journal are. Within one run the monotonic clock decides: the wall clock may jump. Pure.

A machine that starts without a clock of its own, or that gets its time from a network, may set its wall clock by hours
while the bridge runs. An identity that ends early by such a jump lets an order be placed twice. Only what an earlier
run has written gets its age from the wall clock: the age when this run began, plus the time since then.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ibkr_bridge.orders.journal.order_record import seconds_since


class RunAges:
    """The ages of journal entries in one run of the bridge.

    Args:
        utc: returns the wall-clock time.
        now: returns monotonic seconds; without it, all ages come from the wall clock.
    """

    def __init__(self, utc: Callable[[], datetime], now: Callable[[], float] | None = None) -> None:
        self._utc = utc
        self._now = now
        self._began_utc = utc()
        self._began = now() if now is not None else 0.0

    def mark(self) -> float | None:
        """The mark of something that happens now; it is kept beside the time that the journal has."""
        return self._now() if self._now is not None else None

    def elapsed(self) -> float:
        """Seconds since this run began."""
        return self._now() - self._began if self._now is not None else (self._utc() - self._began_utc).total_seconds()

    def born(self, at: str, mark: float | None = None) -> float:
        """A time of the journal in seconds since this run began; negative for an earlier run."""
        if self._now is not None and mark is not None:
            return mark - self._began
        return -seconds_since(at, self._began_utc)

    def mark_of(self, born: float) -> float | None:
        """The mark that belongs to such a time."""
        return self._began + born if self._now is not None else None

    @property
    def began_at(self) -> str:
        """When this run began, as the journal writes it."""
        return self._began_utc.isoformat(timespec="microseconds")

    def seconds_since(self, at: str, mark: float | None) -> float:
        """Seconds since a time of the journal; `mark` is None if an earlier run has written it."""
        if self._now is None:
            return seconds_since(at, self._utc())
        if mark is not None:
            return self._now() - mark
        return seconds_since(at, self._began_utc) + self._now() - self._began
