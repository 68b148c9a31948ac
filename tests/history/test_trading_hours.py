"""The hours in which US stocks trade."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from ibkr_bridge.history.trading_hours import DATA_FILE, Interval, is_trading_day, trading_times
from tools.trading_days import exchange_days


def test_the_data_file_is_what_the_package_holidays_says() -> None:
    """`python -m tools.trading_days` writes it."""
    assert json.loads(DATA_FILE.read_text()) == exchange_days()


@pytest.mark.parametrize(
    ("day", "opening", "closing"),
    [
        ("2026-06-17", "13:30", "20:00"),  # summer time in New York
        ("2026-12-01", "14:30", "21:00"),  # winter time
        ("2026-11-27", "14:30", "18:00"),  # the day after Thanksgiving ends early
    ],
)
def test_the_hours_of_a_day_in_utc(day: str, opening: str, closing: str) -> None:
    """Of the regular session."""
    begin = datetime.fromisoformat(f"{day}T00:00+00:00")

    (hours,) = trading_times(begin, begin.replace(hour=23))

    assert (f"{hours.begin:%H:%M}", f"{hours.end:%H:%M}") == (opening, closing)


@pytest.mark.parametrize("day", [date(2026, 12, 25), date(2026, 6, 20), date(2026, 6, 21), date(2026, 4, 3)])
def test_holidays_and_weekends_have_no_trading_hours(day: date) -> None:
    """Christmas, a Saturday, a Sunday and Good Friday."""
    assert not is_trading_day(day)


def test_the_hours_of_a_week_are_cut_to_what_is_asked() -> None:
    """From Friday noon to Monday ten o'clock in New York."""
    hours = list(trading_times(datetime(2026, 6, 12, 16, 0, tzinfo=UTC), datetime(2026, 6, 15, 14, 0, tzinfo=UTC)))

    assert [(each.end - each.begin).total_seconds() / 3600 for each in hours] == [4.0, 0.5]


def test_no_time_has_no_trading_hours() -> None:
    """An end before the beginning too."""
    now = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)

    assert list(trading_times(now, now)) == []


def test_times_apart_have_nothing_in_common() -> None:
    """Not even a negative number of seconds."""
    hours = Interval(datetime(2026, 6, 17, 13, tzinfo=UTC), datetime(2026, 6, 17, 14, tzinfo=UTC))

    assert hours.overlap_s(datetime(2026, 6, 17, 15, tzinfo=UTC), datetime(2026, 6, 17, 16, tzinfo=UTC)) == 0.0
