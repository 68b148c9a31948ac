"""Time in the simulator."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ibkr_bridge.sim.clock import Calendar, FastClock
from tests.clocks import NOON, ManualClock


class Timer:
    """A clock that knows no date."""

    def now(self) -> float:
        """See `SimClock.now`."""
        return 500.0

    async def sleep(self, seconds: float) -> None:
        """See `SimClock.sleep`."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The machine's own time, which the test sets."""
    machine_time = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: machine_time[0])
    return machine_time


def test_time_runs_at_the_given_rate(machine: list[float]) -> None:
    """Ten seconds pass during one second of a demonstration; the date moves with them."""
    clock = FastClock(10.0, NOON)
    began = clock.now()

    machine[0] += 1.0

    assert clock.now() - began == pytest.approx(10.0)
    assert clock.utc() == NOON + timedelta(seconds=10)


def test_without_a_date_it_begins_today() -> None:
    """IBKR's responses contain the date, and clients compare it with theirs."""
    before = datetime.now(UTC)

    today = FastClock().utc()

    assert before <= today <= datetime.now(UTC) + timedelta(seconds=1)


async def test_sleep_is_as_much_shorter_as_time_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment in the past is not waited for."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    clock = FastClock(4.0)
    await clock.sleep(2.0)
    await clock.sleep(-1.0)

    assert slept == [0.5, 0.0]


def test_a_calendar_follows_the_date_of_its_clock() -> None:
    """Moments before the start have a date too."""
    clock = ManualClock()
    calendar = Calendar(clock)

    assert calendar.utc_at(clock.now()) == NOON
    assert calendar.utc_at(clock.now() - 60.0) == NOON - timedelta(minutes=1)


def test_a_calendar_of_a_clock_without_a_date_begins_today() -> None:
    """Only the differences of such a clock have a meaning."""
    before = datetime.now(UTC)
    calendar = Calendar(Timer())

    assert before - timedelta(seconds=1) <= calendar.utc_at(500.0) <= datetime.now(UTC) + timedelta(seconds=1)
    assert calendar.utc_at(560.0) - calendar.utc_at(500.0) == timedelta(minutes=1)


@pytest.mark.parametrize(("day", "hours"), [(17, 12), (31, 12)])
def test_the_next_midnight_is_that_of_a_zone(day: int, hours: int) -> None:
    """The test's clock starts at noon in New York."""
    clock = ManualClock(NOON.replace(month=7, day=day))
    midnight = Calendar(clock).next_midnight(clock.now(), ZoneInfo("America/New_York"))

    assert midnight - clock.now() == hours * 3600


def test_a_day_on_which_clocks_go_back_is_an_hour_longer() -> None:
    """That is the first Sunday of November in New York."""
    clock = ManualClock(datetime(2026, 11, 1, 4, 0, tzinfo=UTC))
    midnight = Calendar(clock).next_midnight(clock.now(), ZoneInfo("America/New_York"))

    assert midnight - clock.now() == 25 * 3600


def test_ibkr_writes_dates_in_milliseconds() -> None:
    """They are integers."""
    clock = ManualClock()

    assert Calendar(clock).epoch_ms(clock.now() + 0.25) == int(NOON.timestamp() * 1000) + 250
