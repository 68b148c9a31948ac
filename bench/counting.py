"""Count how many moments fall into one window of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def busiest(times: Iterable[float], seconds: float) -> int:
    """Return the largest number of moments in any window of that length, wherever the window begins."""
    ordered, max_count, first = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - seconds:
            first += 1
        max_count = max(max_count, last - first + 1)
    return max_count
