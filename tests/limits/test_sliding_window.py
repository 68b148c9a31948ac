"""Exact sliding windows, as IBKR counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.ibkr.endpoint import RateLimit
from ibkr_bridge.limits.sliding_window import SlidingWindow

PERIOD_S = 10.0
PERIOD_WITH_MARGIN_S = PERIOD_S * 1.0001  # two clocks differ by less


def new_window(calls: int = 2) -> SlidingWindow:
    """A window for this number of calls in 10 s."""
    return SlidingWindow(RateLimit(calls, PERIOD_S, "ours"))


def test_a_call_is_counted_from_its_start_until_one_period_after_its_response() -> None:
    """IBKR counts it at an unknown time between its start and its response."""
    window = new_window(1)
    window.begin_call()
    assert not window.has_room(1_000_000.0)

    window.end_call(100.0, sent=True)

    assert not window.has_room(100.0 + PERIOD_WITH_MARGIN_S - 0.001)
    assert window.has_room(100.0 + PERIOD_WITH_MARGIN_S)


def test_a_call_that_was_not_sent_is_not_counted() -> None:
    """IBKR never counted it."""
    window = new_window(1)
    window.begin_call()

    window.end_call(100.0, sent=False)

    assert (window.has_room(100.0), window.used(100.0)) == (True, 0)


def test_a_call_of_an_earlier_run_is_counted_until_its_time() -> None:
    """It is counted even if the window learns of it late."""
    window = new_window()
    window.begin_call()
    window.end_call(0.0, sent=True)

    window.occupy(5.0)

    assert (window.used(4.9), window.used(5.0), window.used(PERIOD_WITH_MARGIN_S)) == (2, 1, 0)


def test_room_comes_with_time_only_after_a_response() -> None:
    """While all calls are in flight, only a response starts the period after which there is room."""
    window = new_window(2)
    assert window.next_free_at(1.0) == 1.0
    window.begin_call()
    window.begin_call()
    assert window.next_free_at(1.0) is None

    window.end_call(2.0, sent=True)

    assert window.next_free_at(3.0) == 2.0 + PERIOD_WITH_MARGIN_S


def test_a_forecast_reserves_the_latest_free_place() -> None:
    """A call that starts late must not take an earlier place from other calls."""
    window = new_window(2)
    window.begin_call()
    window.end_call(0.0, sent=True)
    forecast = window.forecast(5.0, service_s=1.0)
    assert forecast.first_start == 5.0

    forecast.reserve(PERIOD_WITH_MARGIN_S + 1.0)
    assert forecast.first_start == 5.0
    forecast.reserve(6.0)

    assert forecast.first_start == 6.0 + PERIOD_WITH_MARGIN_S + 1.0


def test_a_forecast_expects_a_call_in_flight_to_end_now() -> None:
    """Its place is then free one period from now."""
    window = new_window(1)
    window.begin_call()

    assert window.forecast(5.0, service_s=1.0).first_start == 5.0 + PERIOD_WITH_MARGIN_S


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 5.0), st.floats(0.0, 1.0)), max_size=60), st.integers(1, 4)
)
def test_ibkr_never_counts_more_calls_than_the_limit(calls: list[tuple[float, float, float]], max_calls: int) -> None:
    """For any delays: IBKR counts each call at some time between its start and its response."""
    window, now, seen = new_window(max_calls), 0.0, list[float]()

    for gap_s, duration_s, seen_part in calls:
        now += gap_s
        if window.has_room(now):
            window.begin_call()
            seen.append(now + duration_s * seen_part)
            now += duration_s
            window.end_call(now, sent=True)

    seen.sort()
    assert all(later - earlier >= PERIOD_S for earlier, later in zip(seen, seen[max_calls:], strict=False))


@pytest.mark.parametrize("calls", [1, 3])
def test_a_new_window_has_room_for_exactly_its_limit(calls: int) -> None:
    """The call after the last one has no room."""
    window = new_window(calls)

    for _ in range(calls):
        assert window.has_room(0.0)
        window.begin_call()

    assert not window.has_room(0.0)
