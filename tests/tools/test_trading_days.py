"""The trading days, written from the package `holidays`."""

from __future__ import annotations

from datetime import date

from tools.trading_days import YEARS, exchange_days


def test_they_reach_far_enough() -> None:
    """Some years before the data end, somebody has to write them again: this test then fails."""
    assert date.today().year + 2 in YEARS  # noqa: DTZ011  # a year is enough


def test_no_day_is_both_closed_and_short() -> None:
    """Nor on a weekend."""
    days = exchange_days()

    assert set(days["closed"]).isdisjoint(days["early"])
    assert all(date.fromisoformat(each).weekday() < 5 for each in days["closed"] + days["early"])
