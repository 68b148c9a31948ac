"""How many lines of the log callers can cause; what is more is summed up. Pure: the time is passed in.

systemd's journal drops the lines of a service that writes more than 10,000 in 30 seconds, whatever they say. So the
lines of requests are limited here, those of callers without a key to a few, and lines of orders always find room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ibkr_bridge import events

SUMMARY_INTERVAL_S = 10.0  # seconds in which lines are summed up


@dataclass(frozen=True)
class Rate:
    """So many lines at once, and so many a second after that."""

    burst: float
    per_s: float


RATES: Mapping[str, Rate] = {
    # Together less than 6000 lines in 30 s; journald takes 10,000 by default.
    "callers without a key": Rate(burst=60, per_s=1),
    "callers with a key": Rate(burst=1000, per_s=150),
}
WITHOUT_KEY, WITH_KEY = RATES


def group_of(event: events.Event) -> str | None:
    """Whose lines they are; None if such lines are always written."""
    if isinstance(event, events.RequestMalformed | events.ConnectionLimitReached | events.ReplyUnread):
        return WITHOUT_KEY
    if isinstance(event, events.RequestServed):
        return WITHOUT_KEY if event.key in (events.NO_KEY, events.WRONG_KEY) else WITH_KEY
    return None


@dataclass
class _Group:
    lines_left: float
    at: float
    summed_since: float = 0.0
    summed: Counter[str] = field(default_factory=Counter)


class LineLimits:
    """Which lines are written, and which are summed up."""

    def __init__(self, now: float) -> None:
        self._groups = {name: _Group(rate.burst, now) for name, rate in RATES.items()}

    def admit(self, event: events.Event, now: float) -> bool:
        """Whether the line of an event is written; if not, it is counted."""
        name = group_of(event)
        if name is None:
            return True
        group, rate = self._groups[name], RATES[name]
        group.lines_left = min(rate.burst, group.lines_left + (now - group.at) * rate.per_s)
        group.at = now
        if group.lines_left >= 1:
            group.lines_left -= 1
            return True
        group.summed_since = group.summed_since if group.summed else now
        label = f"{event.event} {event.status}" if isinstance(event, events.RequestServed) else event.event
        group.summed[label] += 1
        return False

    def due_summaries(self, now: float) -> list[events.LinesSummedUp]:
        """The summaries whose time is over."""
        due = [
            (name, group)
            for name, group in self._groups.items()
            if group.summed and now - group.summed_since >= SUMMARY_INTERVAL_S
        ]
        return [self._end_summary(name, group, now) for name, group in due]

    @property
    def has_summed(self) -> bool:
        """Whether there are lines that no summary has reported."""
        return any(group.summed for group in self._groups.values())

    def _end_summary(self, name: str, group: _Group, now: float) -> events.LinesSummedUp:
        parts = ", ".join(f"{count} × {label}" for label, count in group.summed.most_common())
        total, seconds = group.summed.total(), round(now - group.summed_since, 1)
        group.summed.clear()
        return events.LinesSummedUp(name, total, seconds, parts)
