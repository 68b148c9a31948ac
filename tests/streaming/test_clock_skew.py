"""How far this machine's clock is from IBKR's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.streaming.clock_skew import MIN_HEARTBEATS, WINDOW, ClockSkew

NOON = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


def skew_of(*late_s: float, ahead_s: float = 0.0) -> ClockSkew:
    """What heartbeats show that came so many seconds late, on a clock that is so far ahead."""
    skew = ClockSkew()
    for number, each_s in enumerate(late_s):
        sent_at = NOON + timedelta(seconds=10 * number)
        skew.observe(int(sent_at.timestamp() * 1000), sent_at + timedelta(seconds=each_s + ahead_s))
    return skew


@pytest.mark.parametrize("ahead_s", [0.0, 120.0, -120.0])
def test_a_late_heartbeat_makes_no_skew(ahead_s: float) -> None:
    """A heartbeat can come late and never early, so the nearest one counts."""
    assert skew_of(30.0, 0.0, 15.0, ahead_s=ahead_s).seconds == ahead_s


def test_before_some_heartbeats_nothing_is_known() -> None:
    """The first one may have waited for the network."""
    assert skew_of(*[60.0] * (MIN_HEARTBEATS - 1)).seconds is None
    assert skew_of(*[60.0] * MIN_HEARTBEATS).seconds == 60.0


def test_a_clock_that_was_set_is_right_after_a_minute() -> None:
    """Older heartbeats are forgotten."""
    skew = skew_of(*[0.0] * WINDOW, ahead_s=-300.0)
    for _ in range(WINDOW):
        skew.observe(NOON_MS, NOON)

    assert skew.seconds == 0.0


def test_without_a_feed_nothing_is_known() -> None:
    """What was seen an hour ago says nothing."""
    skew = skew_of(*[60.0] * WINDOW)
    skew.reset()

    assert skew.seconds is None


@given(JSON)
def test_no_heartbeat_confuses_it(heartbeat: object) -> None:
    """The feed sends what it likes."""
    skew = ClockSkew()
    for _ in range(MIN_HEARTBEATS):
        skew.observe(heartbeat, NOON)

    assert skew.seconds is None or isinstance(skew.seconds, float)
