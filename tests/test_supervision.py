"""Whether the daemon is alive inside."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.supervision import EVERY, TOO_LATE, Pulse


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_on_time_is_well() -> None:
    """A healthy bridge is not restarted."""
    hand = Hand()
    pulse = Pulse(hand)

    hand.now += EVERY
    pulse.beat()

    assert pulse.trouble() is None


def test_a_late_beat_is_trouble_until_the_next_one_in_time() -> None:
    """A hang that is over is told once, and forgiven."""
    hand = Hand()
    pulse = Pulse(hand)

    hand.now += EVERY + TOO_LATE + 0.5
    pulse.beat()
    late = pulse.trouble()
    hand.now += EVERY
    pulse.beat()

    assert late == "the event loop is 2.5 s late"
    assert pulse.trouble() is None


def test_a_loop_that_hangs_right_now_is_noticed() -> None:
    """The beat that does not come tells as much as the one that comes late."""
    hand = Hand()
    pulse = Pulse(hand)

    hand.now += EVERY + TOO_LATE + 1

    assert pulse.trouble() == "the event loop is 3.0 s late"


def test_being_a_little_late_is_no_trouble() -> None:
    """A busy second is ordinary."""
    hand = Hand()
    pulse = Pulse(hand)

    hand.now += EVERY + TOO_LATE
    pulse.beat()

    assert pulse.trouble() is None


def test_a_dead_loop_is_named_and_never_forgiven() -> None:
    """A keeper that has died in silence is the worst state there is."""
    hand = Hand()
    pulse = Pulse(hand)

    pulse.died("Keeper.keep")
    hand.now += EVERY
    pulse.beat()

    assert pulse.trouble() == "a loop has ended: Keeper.keep"


async def test_it_beats_once_a_second_for_ever() -> None:
    """The one loop that watches all the others."""
    hand = Hand()
    pulse = Pulse(hand)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        hand.now += seconds
        if len(slept) > 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await pulse.keep(sleep)

    assert slept == [EVERY] * 4
    assert repr(pulse) == "<Pulse 0 ms late>"
