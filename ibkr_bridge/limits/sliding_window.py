"""Exact sliding windows: never more than so many calls in any so many seconds, as the far side counts them. Pure.

When a call arrives over there nobody here knows: at some moment between its start and its answer. So it occupies its
place from its start until its answer and the window's length on top. Whatever the delays, no window of that length over
there then holds more calls than there are places.
"""

from __future__ import annotations

from collections import deque

from ibkr_bridge.ibkr.endpoint import RateLimit

CLOCK_MARGIN = 1.0001  # longer than IBKR's own windows by more than two clocks go apart


class SlidingWindow:
    """The places of one limit.

    Args:
        pace: how many calls in how many seconds.
    """

    def __init__(self, pace: RateLimit) -> None:
        self._calls, self._seconds = pace.calls, pace.period_s * CLOCK_MARGIN
        self._inside = 0
        self._leaving: deque[float] = deque()  # when the places of answered calls become free, the soonest first

    def __repr__(self) -> str:
        return f"<SlidingWindow {self._inside} inside, {len(self._leaving)} leaving, of {self._calls}>"

    def used(self, now: float) -> int:
        """Places taken; the rest of the budget is free."""
        while self._leaving and self._leaving[0] <= now:
            self._leaving.popleft()
        return self._inside + len(self._leaving)

    def has_room(self, now: float) -> bool:
        """Whether a call may start now."""
        return self.used(now) < self._calls

    def enter(self) -> None:
        """A call starts."""
        self._inside += 1

    def leave(self, now: float, *, sent: bool) -> None:
        """A call has been answered, or never will be; one that was never sent gives its place back at once."""
        self._inside -= 1
        if sent:
            self._leaving.append(now + self._seconds)

    def occupy(self, until: float) -> None:
        """A call of an earlier life takes a place until then."""
        self._leaving = deque(sorted([*self._leaving, until]))

    def next_free_at(self, now: float) -> float | None:
        """When time alone makes the next place free; None where that takes an answer."""
        if self.has_room(now):
            return now
        return self._leaving[0] if self._leaving else None

    def forecast(self, now: float, stay: float) -> WindowForecast:
        """Its places as they will become free, if each call is inside for `stay` seconds."""
        free = [now] * max(0, self._calls - self.used(now))
        return WindowForecast([*free, *self._leaving, *[now + self._seconds] * self._inside], self._seconds + stay)


class WindowForecast:
    """When the places of one window become free, and are taken by those who wait.

    Args:
        places: when each of them is free.
        again: seconds from a call's start until its place is free again.
    """

    def __init__(self, places: list[float], again: float) -> None:
        self._places = places
        self._again = again

    @property
    def first_start(self) -> float:
        """When the next call can start."""
        return min(self._places)

    def reserve(self, start: float) -> None:
        """A call starts then; it takes the place that became free last, and leaves the earlier ones to others."""
        self._places.remove(max(at for at in self._places if at <= start))
        self._places.append(start + self._again)
