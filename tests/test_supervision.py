"""Whether the daemon is alive inside."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.supervision import BEAT_INTERVAL_S, MAX_LAG_S, LoopMonitor


class ManualTime:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_on_time_is_well() -> None:
    """A healthy bridge is not restarted."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S
    loop_monitor.beat()

    assert loop_monitor.problem() is None


def test_a_late_beat_is_trouble_until_the_next_one_in_time() -> None:
    """A hang that is over is told once, and forgiven."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S + MAX_LAG_S + 0.5
    loop_monitor.beat()
    late = loop_monitor.problem()
    manual_time.now += BEAT_INTERVAL_S
    loop_monitor.beat()

    assert late == "the event loop is 2.5 s late"
    assert loop_monitor.problem() is None


def test_a_loop_that_hangs_right_now_is_noticed() -> None:
    """The beat that does not come tells as much as the one that comes late."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S + MAX_LAG_S + 1

    assert loop_monitor.problem() == "the event loop is 3.0 s late"


def test_being_a_little_late_is_no_trouble() -> None:
    """A busy second is ordinary."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    manual_time.now += BEAT_INTERVAL_S + MAX_LAG_S
    loop_monitor.beat()

    assert loop_monitor.problem() is None


def test_a_dead_loop_is_named_and_never_forgiven() -> None:
    """A keeper that has died in silence is the worst state there is."""
    manual_time = ManualTime()
    loop_monitor = LoopMonitor(manual_time)

    loop_monitor.mark_dead("Keeper.keep")
    manual_time.now += BEAT_INTERVAL_S
    loop_monitor.beat()

    assert loop_monitor.problem() == "a loop has ended: Keeper.keep"


async def test_it_beats_once_a_second_for_ever() -> None:
    """The one loop that watches all the others."""
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
