"""How much of the trading hours a session was ready. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ibkr_bridge.history.records import StateSpan
from ibkr_bridge.history.trading_hours import Interval, trading_times

READY = "ready"
SAME_MOMENT = timedelta(seconds=1)  # two states follow each other directly; else the bridge did not run between them


@dataclass(frozen=True)
class Availability:
    """The figures of one period."""

    trading_s: float
    """Seconds of trading hours since the history began."""
    ready_s: float
    """Seconds of them in which the session was ready."""
    losses: int
    """How often a ready session was lost, at any hour."""
    mean_repair_s: float | None
    """Mean seconds from a loss to the next time that it was ready; None if there was no loss, or it still lasts."""

    @property
    def share(self) -> float | None:
        """The part of the trading hours in which the session was ready, 0 to 1; None if there were none."""
        return self.ready_s / self.trading_s if self.trading_s else None

    @property
    def text(self) -> str:
        """The figures in one line."""
        share = "no trading hours yet" if self.share is None else f"ready {percent(self.share)} of trading hours"
        losses = "no loss" if not self.losses else f"{self.losses} loss{'es' if self.losses > 1 else ''}"
        repair = "" if self.mean_repair_s is None else f", mean repair {self.mean_repair_s:.0f} s"
        return f"{share}, {losses}{repair}"


def percent(share: float) -> str:
    """A share as a percentage. It is rounded down, so that only a whole is shown as 100 %."""
    tenths = int(share * 1000 + 1e-9)
    return f"{tenths // 10}.{tenths % 10} %" if tenths < 1000 else "100 %"


def measure(spans: Sequence[StateSpan], begin: datetime, end: datetime) -> Availability:
    """The availability between two times. Hours before the first span are not counted: nothing is known of them.

    Args:
        spans: the states, in the order of their beginnings; there may be fifty thousand.
        begin: the beginning of the period.
        end: its end.
    """
    if not spans:
        return Availability(0.0, 0.0, 0, None)
    hours = list(trading_times(max(begin, spans[0].began), end))
    near = _window(spans, begin, end)
    repairs = list(_repairs(near, begin, end))
    done = [each for each in repairs if each is not None]
    trading_s = sum((each.end - each.begin).total_seconds() for each in hours)
    return Availability(
        trading_s=trading_s,
        ready_s=min(trading_s, _ready_s(near, hours)),  # a clock that was set back makes two states overlap
        losses=len(repairs),
        mean_repair_s=sum(done) / len(done) if done else None,
    )


def _window(spans: Sequence[StateSpan], begin: datetime, end: datetime) -> Sequence[StateSpan]:
    """The spans that matter for a period: from the last one before it to the next ready one after it."""
    first = max(0, bisect_left(spans, begin, key=_beginning) - 1)
    last = bisect_left(spans, end, key=_beginning)
    while last < len(spans) and spans[last].state != READY:
        last += 1
    return spans[first : last + 1]


def _beginning(span: StateSpan) -> datetime:
    return span.began


def _ready_s(spans: Iterable[StateSpan], hours: Sequence[Interval]) -> float:
    total, ends = 0.0, [each.end for each in hours]
    for span in (each for each in spans if each.state == READY):
        for hour in hours[bisect_right(ends, span.began) :]:
            if hour.begin >= span.ended:
                break
            total += hour.overlap_s(span.began, span.ended)
    return total


def _repairs(spans: Sequence[StateSpan], begin: datetime, end: datetime) -> Iterable[float | None]:
    """Seconds until the session was ready again after each loss, the latest first; None if that has not happened."""
    back: datetime | None = None
    for before, after in reversed(list(pairwise(spans))):
        is_loss = before.state == READY and after.state != READY and after.began - before.ended <= SAME_MOMENT
        if is_loss and begin <= after.began < end:
            yield None if back is None else (back - after.began).total_seconds()
        if after.state == READY:
            back = after.began
