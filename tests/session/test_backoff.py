"""How often the brokerage session may be requested."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.session.backoff import (
    GAPS_S,
    GRACE_S,
    HOUR_S,
    MAINTENANCE_GAP_S,
    MAX_FAILED_PER_HOUR,
    MAX_RECLAIMS_PER_HOUR,
    ReopenBackoff,
)


def next_attempt_at(backoff: ReopenBackoff, now: float) -> float:
    """The earliest time of the next attempt."""
    return now + backoff.wait_to_open(now, maintenance=False)


def test_the_first_attempt_is_made_at_once() -> None:
    """The Gateway ends the login within 30 seconds after the session was lost."""
    assert ReopenBackoff().wait_to_open(1000.0, maintenance=False) == 0
    assert ReopenBackoff().wait_to_open(1000.0, maintenance=True) == 0
    assert ReopenBackoff().wait_to_reclaim(1000.0) == 0


def test_the_gaps_between_failed_attempts_grow() -> None:
    """Most losses end after seconds. In a long one, frequent attempts only use up the number that IBKR allows."""
    backoff, now, gaps = ReopenBackoff(), 1000.0, []

    for _ in range(7):
        backoff.record_attempt(now, reclaim=False)
        before, now = now, next_attempt_at(backoff, now)
        gaps.append(now - before)

    assert gaps == [1, 5, 15, 30, 60, 60, 60]


def test_attempts_in_a_row_are_counted() -> None:
    """The log contains the number of each attempt."""
    backoff = ReopenBackoff()

    assert [backoff.record_attempt(float(at), reclaim=False) for at in (0, 1, 6)] == [1, 2, 3]


def test_after_twenty_failed_attempts_the_next_one_waits_for_the_end_of_the_hour() -> None:
    """IBKR counts the attempts, and many of them do not help."""
    backoff, now, attempts = ReopenBackoff(), 1000.0, []
    for _ in range(MAX_FAILED_PER_HOUR):
        now = next_attempt_at(backoff, now)
        backoff.record_attempt(now, reclaim=False)
        attempts.append(now)

    following = next_attempt_at(backoff, now)

    assert following == attempts[0] + HOUR_S


def test_after_a_success_the_first_attempt_of_the_next_loss_is_made_at_once() -> None:
    """The gaps belong to one loss; a new loss has to be repaired quickly."""
    backoff = ReopenBackoff()
    for at in (0.0, 1.0, 6.0):
        backoff.record_attempt(at, reclaim=False)

    backoff.record_success()

    assert backoff.wait_to_open(6.0, maintenance=False) == 0


def test_a_success_without_an_attempt_changes_nothing() -> None:
    """The Gateway or a person opened the session, so the failed attempts of the last hour still count."""
    backoff, now = ReopenBackoff(), 0.0
    for _ in range(MAX_FAILED_PER_HOUR):
        now = next_attempt_at(backoff, now)
        backoff.record_attempt(now, reclaim=False)
    backoff.record_success()
    backoff.record_success()
    backoff.record_success()

    backoff.record_attempt(now, reclaim=False)

    assert backoff.wait_to_open(now, maintenance=False) > 1000


def test_after_a_fresh_login_the_attempt_waits_for_the_gateway() -> None:
    """The Gateway opens the session itself within three to four seconds."""
    backoff = ReopenBackoff()

    backoff.grant_grace(100.0)

    assert backoff.wait_to_open(100.0, maintenance=False) == GRACE_S
    assert backoff.wait_to_open(100.0 + GRACE_S, maintenance=False) == 0


def test_in_a_maintenance_window_the_gaps_after_the_first_attempt_are_a_minute() -> None:
    """More attempts do not help before IBKR's maintenance is over."""
    backoff = ReopenBackoff()

    backoff.record_attempt(0.0, reclaim=False)

    assert backoff.wait_to_open(0.0, maintenance=True) == MAINTENANCE_GAP_S
    assert backoff.wait_to_open(0.0, maintenance=False) == 1


def test_after_three_reclaims_in_an_hour_the_session_is_left_to_the_competing_program() -> None:
    """Two programs that both take the session back would end each other's session for ever."""
    backoff, now = ReopenBackoff(), 0.0
    for _ in range(MAX_RECLAIMS_PER_HOUR):
        assert not backoff.reclaims_exhausted(now)
        now += backoff.wait_to_reclaim(now)
        backoff.record_attempt(now, reclaim=True)
        backoff.record_success()

    assert backoff.reclaims_exhausted(now)
    assert backoff.wait_to_reclaim(now) == HOUR_S - now
    assert backoff.wait_to_open(now, maintenance=False) == 0
    assert not backoff.reclaims_exhausted(HOUR_S)


STEPS = st.tuples(
    st.sampled_from([0, 1, 2, 5, 15, 30, 60, 200, 900, 3599, 3600]),  # whole seconds: floats stay exact
    st.sampled_from(["open", "open", "open", "reclaim", "succeed", "grant grace"]),
    st.booleans(),
)


class CheckedBackoff:
    """A backoff that is used as the keeper uses it. Each attempt is checked against the documented limits."""

    def __init__(self) -> None:
        self.backoff = ReopenBackoff()
        self.failed: list[float] = []
        self.reclaims: list[float] = []
        self.in_a_row: list[float] = []
        self.grace_until = 0.0

    def apply(self, step: str, now: float, *, maintenance: bool) -> None:
        """Apply one step; an attempt is made only if the backoff allows it now."""
        if step == "succeed":
            self.backoff.record_success()
            if self.in_a_row:
                self.failed.pop()
            self.in_a_row, self.grace_until = [], 0.0
        elif step == "grant grace":
            self.backoff.grant_grace(now)
            self.grace_until = now + GRACE_S
        elif self._wait_before(step, now, maintenance=maintenance) <= 0:
            self._attempt(now, reclaim=step == "reclaim", maintenance=maintenance and step == "open")

    def _wait_before(self, step: str, now: float, *, maintenance: bool) -> float:
        if step == "reclaim":
            return self.backoff.wait_to_reclaim(now)
        return self.backoff.wait_to_open(now, maintenance=maintenance)

    def _attempt(self, now: float, *, reclaim: bool, maintenance: bool) -> None:
        min_gap_s = max(GAPS_S[min(len(self.in_a_row), len(GAPS_S) - 1)], MAINTENANCE_GAP_S if maintenance else 0.0)
        assert not self.in_a_row or now - self.in_a_row[-1] >= min_gap_s
        assert now >= self.grace_until
        self.backoff.record_attempt(now, reclaim=reclaim)
        self.in_a_row.append(now)
        self.failed.append(now)
        self.reclaims += [now] if reclaim else []
        assert sum(now - at < HOUR_S for at in self.failed) <= MAX_FAILED_PER_HOUR
        assert sum(now - at < HOUR_S for at in self.reclaims) <= MAX_RECLAIMS_PER_HOUR


@given(st.lists(STEPS, max_size=120))
def test_no_history_exceeds_the_limits(steps: list[tuple[int, str, bool]]) -> None:
    """No hour has more than 20 failed attempts or 3 reclaims, and no two attempts are closer than the gaps."""
    checked, now = CheckedBackoff(), 0.0

    for passed_s, step, maintenance in steps:
        now += passed_s
        checked.apply(step, now, maintenance=maintenance)


@given(st.lists(STEPS, max_size=60), st.booleans())
def test_after_the_returned_wait_an_attempt_is_allowed(steps: list[tuple[int, str, bool]], maintenance: bool) -> None:
    """The keeper sleeps as long as this wait, so it must be long enough, and never longer than an hour."""
    checked, now = CheckedBackoff(), 0.0
    for passed_s, step, is_maintenance in steps:
        now += passed_s
        checked.apply(step, now, maintenance=is_maintenance)

    wait = checked.backoff.wait_to_open(now, maintenance=maintenance)

    assert 0 <= wait <= HOUR_S
    assert checked.backoff.wait_to_open(now + wait, maintenance=maintenance) == 0
    assert checked.backoff.wait_to_reclaim(now) >= checked.backoff.wait_to_open(now, maintenance=False)


@pytest.mark.parametrize("now", [0.0, 0.25, 1e6])
def test_a_new_backoff_allows_an_attempt_at_any_time_of_the_clock(now: float) -> None:
    """A monotonic clock may start at any value, also at zero."""
    assert ReopenBackoff().wait_to_open(now, maintenance=True) == 0
