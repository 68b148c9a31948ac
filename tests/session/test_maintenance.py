"""The maintenance windows of IBKR."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.config.settings import Region, Settings
from ibkr_bridge.config.value_types import WeeklyMoment, WeeklyWindow
from ibkr_bridge.session.maintenance import ZONES, next_reset, window_end
from tests.clocks import NOON
from tests.harness import KEY

PUBLISHED = Settings.from_env({"IBKR_BRIDGE_KEY": KEY}).maintenance
NEW_YORK = ZoneInfo("America/New_York")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # made aware
WINDOWS = st.sampled_from(
    [*PUBLISHED, WeeklyWindow.parse("daily 01:00-01:15"), WeeklyWindow.parse("daily 00:00-24:00")]
)


def at(text: str, zone: str = "America/New_York") -> datetime:
    """A local time of this zone, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-06-17 12:00", None),
        ("2026-06-17 00:00", "2026-06-17 00:10"),
        ("2026-06-17 00:09:59", "2026-06-17 00:10"),
        ("2026-06-17 00:10", None),
        ("2026-06-17 01:05", "2026-06-17 01:15"),
        ("2026-06-20 01:05", None),
        ("2026-06-20 17:59", None),
        ("2026-06-20 18:00", "2026-06-21 00:00"),
        ("2026-06-20 23:59:59", "2026-06-21 00:00"),
        ("2026-12-16 01:05", "2026-12-16 01:15"),
    ],
)
def test_the_default_windows_are_those_that_ibkr_publishes(moment: str, end: str | None) -> None:
    """A session that is lost at midnight raises no alarm; one that is lost at noon does."""
    assert window_end(at(moment), Region.AMERICA, PUBLISHED) == (at(end) if end else None)


@pytest.mark.parametrize("region", Region)
def test_windows_are_in_the_local_time_of_their_region(region: Region) -> None:
    """Midnight in Zug is afternoon in New York."""
    midnight = at("2026-06-17 00:05", ZONES[region])

    assert window_end(midnight, region, PUBLISHED) == at("2026-06-17 00:10", ZONES[region])
    assert not [other for other in Region if other is not region and window_end(midnight, other, PUBLISHED)]


def test_overlapping_windows_end_with_the_last_one() -> None:
    """Callers get one Retry-After for all of them."""
    windows = (WeeklyWindow.parse("daily 12:00-12:30"), WeeklyWindow.parse("wed 11:00-13:00"))

    assert window_end(NOON, Region.AMERICA, windows) == NOON + timedelta(hours=1)


def test_without_windows_there_is_no_maintenance() -> None:
    """With the setting `none`, a loss raises an alarm at every hour."""
    assert window_end(at("2026-06-17 00:05"), Region.AMERICA, ()) is None


@pytest.mark.parametrize(
    ("moment", "reset"),
    [
        ("2026-06-17 12:00", "2026-06-18 00:00"),
        ("2026-06-17 00:00", "2026-06-18 00:00"),
        ("2026-06-17 23:59:59", "2026-06-18 00:00"),
        ("2026-12-31 20:00", "2027-01-01 00:00"),
        ("2026-03-08 00:30", "2026-03-09 00:00"),
        ("2026-11-01 00:30", "2026-11-02 00:00"),
    ],
)
def test_the_next_reset_is_the_next_midnight_of_the_region(moment: str, reset: str) -> None:
    """Also on days of 23 and 25 hours."""
    assert next_reset(at(moment), Region.AMERICA) == at(reset)


@given(MOMENTS, st.sampled_from(Region), st.lists(WINDOWS, max_size=3))
@example(datetime(2026, 11, 1, 6, 5, tzinfo=UTC), Region.AMERICA, [WeeklyWindow.parse("daily 01:00-01:15")])
@example(datetime(2026, 11, 1, 5, 5, tzinfo=UTC), Region.AMERICA, [WeeklyWindow.parse("daily 01:00-01:15")])
def test_a_window_ends_in_the_future_within_25_hours(
    moment: datetime, region: Region, windows: list[WeeklyWindow]
) -> None:
    """Retry-After is counted from it: an end in the past would let all callers return at once."""
    end = window_end(moment, region, windows)

    assert end is None or moment < end <= moment + timedelta(hours=25)


@given(MOMENTS, st.sampled_from(Region))
def test_the_next_reset_is_in_the_future_within_25_hours(moment: datetime, region: Region) -> None:
    """The longest day of the year has 25 hours."""
    reset = next_reset(moment, region)

    assert moment < reset <= moment + timedelta(hours=25)
    assert reset.astimezone(ZoneInfo(ZONES[region])).strftime("%H:%M:%S") == "00:00:00"


SUNDAY = WeeklyMoment.parse("sun 01:00 America/New_York")


@pytest.mark.parametrize(
    ("moment", "reset"),
    [
        ("2026-06-17 12:00", "2026-06-21 01:00"),
        ("2026-06-21 00:59:59", "2026-06-21 01:00"),
        ("2026-06-21 01:00", "2026-06-28 01:00"),
        ("2026-10-31 12:00", "2026-11-01 01:00"),  # an hour that there is twice
    ],
)
def test_an_ib_gateway_is_reset_once_a_week(moment: str, reset: str) -> None:
    """In New York, wherever the region is."""
    assert next_reset(at(moment), Region.ASIA, (SUNDAY,)) == at(reset)


def test_the_first_of_several_resets_counts() -> None:
    """Whatever their order in the setting."""
    daily = WeeklyMoment.parse("daily 00:00")

    assert next_reset(at("2026-06-20 23:30"), Region.AMERICA, (SUNDAY, daily)) == at("2026-06-21 00:00")
    assert next_reset(at("2026-06-21 00:30"), Region.AMERICA, (SUNDAY, daily)) == at("2026-06-21 01:00")


@given(MOMENTS, st.sampled_from(Region))
def test_a_weekly_reset_is_in_the_future_within_a_week_and_an_hour(moment: datetime, region: Region) -> None:
    """In the week in which clocks change it has another length."""
    assert moment < next_reset(moment, region, (SUNDAY,)) <= moment + timedelta(days=7, hours=1)
