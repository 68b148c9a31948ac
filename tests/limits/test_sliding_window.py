"""Exact sliding windows, as the far side counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.ibkr.endpoint import RateLimit
from ibkr_bridge.limits.sliding_window import CLOCK_MARGIN, SlidingWindow

LENGTH = 10.0
AFTER = LENGTH * CLOCK_MARGIN


def window(calls: int = 2) -> SlidingWindow:
    """So many calls in ten seconds."""
    return SlidingWindow(RateLimit(calls, LENGTH, "ours"))


def test_a_place_is_taken_from_the_start_of_a_call_until_its_answer_and_the_length_on_top() -> None:
    """Nobody here knows when in between the far side counts it."""
    made = window(1)
    made.begin_call()
    assert not made.has_room(1_000_000.0)

    made.end_call(100.0, sent=True)

    assert not made.has_room(100.0 + AFTER - 0.001)
    assert made.has_room(100.0 + AFTER)


def test_a_call_that_never_left_gives_its_place_back_at_once() -> None:
    """The far side never counted it."""
    made = window(1)
    made.begin_call()

    made.end_call(100.0, sent=False)

    assert (made.has_room(100.0), made.used(100.0)) == (True, 0)


def test_a_place_of_an_earlier_life_is_taken_until_its_time() -> None:
    """However late it is told of it."""
    made = window()
    made.begin_call()
    made.end_call(0.0, sent=True)

    made.occupy(5.0)

    assert (made.used(4.9), made.used(5.0), made.used(AFTER)) == (2, 1, 0)


def test_time_alone_frees_a_place_only_where_a_call_was_answered() -> None:
    """Where all are inside, an answer is what helps."""
    made = window(2)
    assert made.next_free_at(1.0) == 1.0
    made.begin_call()
    made.begin_call()
    assert made.next_free_at(1.0) is None

    made.end_call(2.0, sent=True)

    assert made.next_free_at(3.0) == 2.0 + AFTER


def test_a_forecast_takes_the_latest_free_place_and_leaves_the_earlier_ones() -> None:
    """A call that starts late anyway must not take an early place from others."""
    made = window(2)
    made.begin_call()
    made.end_call(0.0, sent=True)
    forecast = made.forecast(5.0, stay=1.0)
    assert forecast.first_start == 5.0

    forecast.reserve(AFTER + 1.0)
    assert forecast.first_start == 5.0
    forecast.reserve(6.0)

    assert forecast.first_start == 6.0 + AFTER + 1.0


def test_a_call_inside_is_expected_to_free_its_place_a_length_from_now() -> None:
    """If it were answered now."""
    made = window(1)
    made.begin_call()

    assert made.forecast(5.0, stay=1.0).first_start == 5.0 + AFTER


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 5.0), st.floats(0.0, 1.0)), max_size=60), st.integers(1, 4)
)
def test_the_far_side_never_counts_more_than_the_limit_in_any_window(
    calls: list[tuple[float, float, float]], places: int
) -> None:
    """Whatever the delays: each call is seen at some moment between its start and its answer."""
    made, now, seen = window(places), 0.0, list[float]()

    for gap, takes, part in calls:
        now += gap
        if made.has_room(now):
            made.begin_call()
            seen.append(now + takes * part)
            now += takes
            made.end_call(now, sent=True)

    seen.sort()
    assert all(later - earlier >= LENGTH for earlier, later in zip(seen, seen[places:], strict=False))


@pytest.mark.parametrize("calls", [1, 3])
def test_a_fresh_window_has_all_its_places(calls: int) -> None:
    """And no more."""
    made = window(calls)

    for _ in range(calls):
        assert made.has_room(0.0)
        made.begin_call()

    assert not made.has_room(0.0)
