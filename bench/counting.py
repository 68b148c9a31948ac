"""How many of so many moments fall into one window of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def busiest(times: Iterable[float], seconds: float) -> int:
    """The most moments in any window of that length, wherever it begins."""
    ordered, most, first = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
