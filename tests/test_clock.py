"""The clock of the machine, and how times are written for people and for programs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from ibkr_bridge.clock import SystemClock, span_text, utc_ms, utc_text

AT = datetime(2026, 6, 17, 16, 0, 0, 250_000, tzinfo=UTC)


async def test_a_wait_ends_with_its_event_or_its_time() -> None:
    """The result says whether the event was set."""
    clock, event = SystemClock(), asyncio.Event()
    assert await clock.wait(event, 0.001) is False

    event.set()

    assert await clock.wait(event, 60.0) is True


async def test_a_wait_for_no_time_does_not_sleep() -> None:
    """A loop that is late goes on at once, and a time in the past is no error."""
    clock = SystemClock()

    assert await clock.wait(asyncio.Event(), 0.0) is False
    assert await clock.wait(asyncio.Event(), -1.0) is False


def test_monotonic_seconds_never_go_back_and_the_wall_clock_is_aware() -> None:
    """Intervals come from the monotonic clock; people read the wall clock, in UTC."""
    clock = SystemClock()
    first = clock.now()

    assert clock.now() >= first
    assert clock.utc().tzinfo is UTC


def test_times_are_in_seconds_for_people_and_in_milliseconds_for_ibkr() -> None:
    """A time that is not known stays None."""
    assert (utc_text(AT), utc_text(None), utc_ms(AT)) == ("2026-06-17T16:00:00Z", None, 1_781_712_000_250)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: int, text: str) -> None:
    """Nobody needs the seconds of a day."""
    assert span_text(seconds) == text
