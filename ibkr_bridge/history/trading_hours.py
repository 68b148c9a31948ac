"""When US stocks trade: Monday to Friday from 09:30 to 16:00 in New York, without the holidays of the New York Stock
Exchange, and until 13:00 on its short days. Pure but for the data file, which is part of the code.

`tools/trading_days.py` writes the file from the package `holidays`; a test compares them. Source of the hours and of
the early closings: https://www.nyse.com/markets/hours-calendars.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

DATA_FILE = Path(__file__).with_name("nyse_days.json")
ZONE = "America/New_York"
OPENING, CLOSING, EARLY_CLOSING = time(9, 30), time(16), time(13)
WEEKEND = (5, 6)  # Saturday and Sunday, as `date.weekday` counts


@dataclass(frozen=True)
class Interval:
    """A time from a beginning to an end, both in UTC."""

    begin: datetime
    end: datetime

    def overlap_s(self, begin: datetime, end: datetime) -> float:
        """Seconds that it has in common with another time."""
        return max(0.0, (min(self.end, end) - max(self.begin, begin)).total_seconds())


@dataclass(frozen=True)
class ExchangeDays:
    """The days on which the exchange is closed, or closes early, though they are no weekend."""

    closed: frozenset[date]
    early: frozenset[date]


def trading_times(begin: datetime, end: datetime) -> Iterator[Interval]:
    """The trading hours that lie between two times, cut to them."""
    day = begin.astimezone(ZoneInfo(ZONE)).date()
    while (opening := _in_utc(day, OPENING)) < end:
        if is_trading_day(day):
            closing = _in_utc(day, EARLY_CLOSING if day in exchange_days().early else CLOSING)
            if max(opening, begin) < min(closing, end):
                yield Interval(max(opening, begin), min(closing, end))
        day += timedelta(days=1)


def is_trading_day(day: date) -> bool:
    """Whether the exchange opens on a day."""
    return day.weekday() not in WEEKEND and day not in exchange_days().closed


@cache
def exchange_days() -> ExchangeDays:
    """The days of the data file."""
    content = json.loads(DATA_FILE.read_text(encoding="utf-8"))
    return ExchangeDays(*(frozenset(map(date.fromisoformat, content[name])) for name in ("closed", "early")))


def _in_utc(day: date, at: time) -> datetime:
    return datetime.combine(day, at, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
