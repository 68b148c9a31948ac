"""Exact sliding windows: at most so many calls in any so many seconds, as IBKR counts them. Pure.

It is unknown when a call arrives at IBKR: at some moment between its start and its response. So it occupies its place
from its start until its response plus the length of the window. Whatever the delays, no window of that length at IBKR
then has more calls than there are places.
"""

from __future__ import annotations

from collections import deque

from ibkr_bridge.ibkr.endpoint import RateLimit

CLOCK_MARGIN = 1.0001  # longer than IBKR's windows by more than two clocks can differ


class SlidingWindow:
    """The places of one limit.

    Args:
        rate_limit: how many calls in how many seconds.
    """

    def __init__(self, rate_limit: RateLimit) -> None:
        self._calls, self._seconds = rate_limit.calls, rate_limit.period_s * CLOCK_MARGIN
        self._inside = 0
        self._leaving: deque[float] = deque()  # when the places of answered calls become free, the soonest first

    def __repr__(self) -> str:
        return f"<SlidingWindow {self._inside} inside, {len(self._leaving)} leaving, of {self._calls}>"

    def used(self, now: float) -> int:
        """Places taken; the rest of the budget is free."""
        while self._leaving and self._leaving[0] <= now:
            self._leaving.popleft()
        return self._inside + len(self._leaving)

    def has_room(self, now: float, *, answered_only: bool = False) -> bool:
        """Whether a call may start now, if only calls that have been answered count, or if all do."""
        return self.used(now) - (self._inside if answered_only else 0) < self._calls

    def begin_call(self) -> None:
        """Count a call that starts."""
        self._inside += 1

    def end_call(self, now: float, *, sent: bool) -> None:
        """Record the end of a call; one that was never sent frees its place at once."""
        self._inside -= 1
        if sent:
            self._leaving.append(now + self._seconds)

    def occupy(self, until: float) -> None:
        """Mark a place as used by a call of an earlier run."""
        self._leaving = deque(sorted([*self._leaving, until]))

    def next_free_at(self, now: float) -> float | None:
        """When the next place becomes free without a response; None if that needs one."""
        if self.has_room(now):
            return now
        return self._leaving[0] if self._leaving else None

    def forecast(self, now: float, service_s: float) -> WindowForecast:
        """Its places as they will become free, if each call is inside for `service_s` seconds."""
        free = [now] * max(0, self._calls - self.used(now))
        return WindowForecast([*free, *self._leaving, *[now + self._seconds] * self._inside], self._seconds + service_s)


class WindowForecast:
    """Predicts when the places of one window become free for the calls that wait.

    Args:
        places: when each of them is free.
        reuse_after_s: seconds from a call's start until its place is free again.
    """

    def __init__(self, places: list[float], reuse_after_s: float) -> None:
        self._places = places
        self._reuse_after_s = reuse_after_s

    @property
    def first_start(self) -> float:
        """When the next call can start."""
        return min(self._places)

    def reserve(self, start: float) -> None:
        """Take a place for a call that starts then: the one that becomes free last, so that the earlier ones stay for
        others.
        """
        self._places.remove(max(at for at in self._places if at <= start))
        self._places.append(start + self._reuse_after_s)
