"""The monitor of the event loop and of the loops that must not end."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.supervision import BEAT_INTERVAL_S, MAX_LAG_S, LoopMonitor


class ManualTime:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_on_time_is_no_problem() -> None:
    """A bridge that is on time must not be restarted."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S
    loop_monitor.beat()

    assert loop_monitor.problem() is None


def test_a_late_beat_is_a_problem_until_the_next_beat_in_time() -> None:
    """The problem ends with the next beat that is in time."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S + MAX_LAG_S + 0.5
    loop_monitor.beat()
    late = loop_monitor.problem()
    manual_time.now += BEAT_INTERVAL_S
    loop_monitor.beat()

    assert late == "the event loop is 2.5 s late"
    assert loop_monitor.problem() is None


def test_a_loop_that_hangs_now_is_a_problem() -> None:
    """A beat that is overdue counts as a late beat."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S + MAX_LAG_S + 1

    assert loop_monitor.problem() == "the event loop is 3.0 s late"


def test_a_beat_within_the_limit_is_no_problem() -> None:
    """A busy second is normal."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S + MAX_LAG_S
    loop_monitor.beat()

    assert loop_monitor.problem() is None


def test_a_loop_that_ended_stays_a_problem() -> None:
    """A keeper that ended silently would be worse than any error, so the problem stays."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    loop_monitor.mark_dead("Keeper.keep")
    manual_time.now += BEAT_INTERVAL_S
    loop_monitor.beat()

    assert loop_monitor.problem() == "a loop has ended: Keeper.keep"


async def test_the_monitor_beats_once_a_second() -> None:
    """The beats of this loop show whether the event loop is on time."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        manual_time.now += seconds
        if len(slept) > 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await loop_monitor.run_loop(sleep)

    assert slept == [BEAT_INTERVAL_S] * 4
    assert repr(loop_monitor) == "<LoopMonitor 0 ms late>"
