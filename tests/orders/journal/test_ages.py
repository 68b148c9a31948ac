"""Ages of orders, while the wall clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ibkr_bridge.orders.journal.ages import RunAges

START = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)


class JumpingClock:
    """A wall clock and a monotonic one that a test moves apart."""

    def __init__(self) -> None:
        self.jump_s = 0.0
        self.elapsed_s = 0.0

    def utc(self) -> datetime:
        """The wall-clock time."""
        return START + timedelta(seconds=self.elapsed_s + self.jump_s)

    def now(self) -> float:
        """Monotonic seconds."""
        return 77.0 + self.elapsed_s


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 0.0])
def test_an_age_of_this_run_ignores_the_wall_clock(jump_s: float) -> None:
    """Forwards and backwards."""
    clock = JumpingClock()
    ages = RunAges(clock.utc, clock.now)
    at, mark = clock.utc().isoformat(), ages.mark()
    clock.elapsed_s, clock.jump_s = 12.0, jump_s

    assert ages.seconds_since(at, mark) == 12.0


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 0.0])
def test_an_age_of_an_earlier_run_begins_with_the_wall_clock_of_the_start(jump_s: float) -> None:
    """Nothing else is known of it; from then on it grows steadily."""
    clock = JumpingClock()
    at = (clock.utc() - timedelta(seconds=100)).isoformat()
    ages = RunAges(clock.utc, clock.now)
    clock.elapsed_s, clock.jump_s = 12.0, jump_s

    assert ages.seconds_since(at, None) == 112.0


def test_without_a_monotonic_clock_the_wall_clock_counts() -> None:
    """As in programs that only read a journal."""
    clock = JumpingClock()
    ages = RunAges(clock.utc)
    at = clock.utc().isoformat()
    clock.jump_s = 5.0

    assert (ages.mark(), ages.seconds_since(at, None)) == (None, 5.0)


def test_the_start_of_a_run_is_written_as_the_journal_writes_times() -> None:
    """It stands for the time at which an earlier run ended, with its caller connected."""
    clock = JumpingClock()
    ages = RunAges(clock.utc, clock.now)
    clock.elapsed_s = 12.0

    assert ages.began_at == "2026-02-03T04:05:00.000000+00:00"


@pytest.mark.parametrize("has_monotonic", [True, False])
def test_a_time_is_counted_from_the_start_of_the_run(has_monotonic: bool) -> None:
    """Rows of settled orders keep this number alone; the mark is made of it again."""
    clock = JumpingClock()
    ages = RunAges(clock.utc, clock.now if has_monotonic else None)
    clock.elapsed_s = 12.0
    at, mark = clock.utc().isoformat(), ages.mark()

    born = ages.born(at, mark)

    assert (born, ages.elapsed()) == (12.0, 12.0)
    assert ages.mark_of(born) == mark
    assert ages.born((START - timedelta(seconds=5)).isoformat()) == -5.0
