"""How often the brokerage session may be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
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


def waited_out(backoff: ReopenBackoff, now: float) -> float:
    """The moment of the next try, when each is made as soon as it may be."""
    return now + backoff.wait_to_open(now, maintenance=False)


def test_the_first_try_goes_out_at_once() -> None:
    """A lost session is lost for good within 30 seconds."""
    assert ReopenBackoff().wait_to_open(1000.0, maintenance=False) == 0
    assert ReopenBackoff().wait_to_open(1000.0, maintenance=True) == 0
    assert ReopenBackoff().wait_to_reclaim(1000.0) == 0


def test_failing_tries_come_ever_more_slowly() -> None:
    """1, 5, 15, 30, 60 seconds, then a minute each: quick at first, polite in the long run."""
    backoff, now, gaps = ReopenBackoff(), 1000.0, []

    for _ in range(7):
        backoff.record_attempt(now, reclaim=False)
        was, now = now, waited_out(backoff, now)
        gaps.append(now - was)

    assert gaps == [1, 5, 15, 30, 60, 60, 60]


def test_tries_in_a_row_are_counted() -> None:
    """The log says which attempt it was."""
    backoff = ReopenBackoff()

    assert [backoff.record_attempt(float(at), reclaim=False) for at in (0, 1, 6)] == [1, 2, 3]


def test_after_twenty_failures_the_hour_is_waited_out() -> None:
    """IBKR counts openings; a storm helps nobody."""
    backoff, now, tries = ReopenBackoff(), 1000.0, []
    for _ in range(MAX_FAILED_PER_HOUR):
        now = waited_out(backoff, now)
        backoff.record_attempt(now, reclaim=False)
        tries.append(now)

    following = waited_out(backoff, now)

    assert following == tries[0] + HOUR_S


def test_success_lets_the_next_loss_be_repaired_at_once() -> None:
    """And the try that succeeded is no failure."""
    backoff = ReopenBackoff()
    for at in (0.0, 1.0, 6.0):
        backoff.record_attempt(at, reclaim=False)

    backoff.record_success()

    assert backoff.wait_to_open(6.0, maintenance=False) == 0


def test_success_without_a_try_changes_nothing() -> None:
    """The Gateway, or a person, opened the session: earlier failures still count."""
    backoff, now = ReopenBackoff(), 0.0
    for _ in range(MAX_FAILED_PER_HOUR):
        now = waited_out(backoff, now)
        backoff.record_attempt(now, reclaim=False)
    backoff.record_success()
    backoff.record_success()
    backoff.record_success()

    backoff.record_attempt(now, reclaim=False)

    assert backoff.wait_to_open(now, maintenance=False) > 1000


def test_a_fresh_login_is_left_to_the_gateway_for_a_moment() -> None:
    """It opens the session by itself within three to four seconds."""
    backoff = ReopenBackoff()

    backoff.grant_grace(100.0)

    assert backoff.wait_to_open(100.0, maintenance=False) == GRACE_S
    assert backoff.wait_to_open(100.0 + GRACE_S, maintenance=False) == 0


def test_in_a_known_window_only_the_first_try_hurries() -> None:
    """While IBKR maintains itself nothing is gained by asking often."""
    backoff = ReopenBackoff()

    backoff.record_attempt(0.0, reclaim=False)

    assert backoff.wait_to_open(0.0, maintenance=True) == MAINTENANCE_GAP_S
    assert backoff.wait_to_open(0.0, maintenance=False) == 1


def test_after_three_reclaims_the_rival_keeps_the_session() -> None:
    """Two machines that both take it back would kick each other for ever."""
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


ACTS = st.tuples(
    st.sampled_from([0, 1, 2, 5, 15, 30, 60, 200, 900, 3599, 3600]),  # whole seconds: floats stay exact
    st.sampled_from(["open", "open", "open", "reclaim", "succeeded", "hold back"]),
    st.booleans(),
)


class Diary:
    """A ration used as the keeper uses it, and everything that came of it."""

    def __init__(self) -> None:
        self.backoff = ReopenBackoff()
        self.failed: list[float] = []
        self.reclaims: list[float] = []
        self.row: list[float] = []
        self.held_until = 0.0

    def act(self, what: str, now: float, *, maintenance: bool) -> None:
        """Do it if it may be done, and hold the promises against it."""
        if what == "succeeded":
            self.backoff.record_success()
            if self.row:
                self.failed.pop()
            self.row, self.held_until = [], 0.0
        elif what == "hold back":
            self.backoff.grant_grace(now)
            self.held_until = now + GRACE_S
        elif self._wait(what, now, maintenance=maintenance) <= 0:
            self._try(now, reclaim=what == "reclaim", maintenance=maintenance and what == "open")

    def _wait(self, what: str, now: float, *, maintenance: bool) -> float:
        if what == "reclaim":
            return self.backoff.wait_to_reclaim(now)
        return self.backoff.wait_to_open(now, maintenance=maintenance)

    def _try(self, now: float, *, reclaim: bool, maintenance: bool) -> None:
        least = max(GAPS_S[min(len(self.row), len(GAPS_S) - 1)], MAINTENANCE_GAP_S if maintenance else 0.0)
        assert not self.row or now - self.row[-1] >= least
        assert now >= self.held_until
        self.backoff.record_attempt(now, reclaim=reclaim)
        self.row.append(now)
        self.failed.append(now)
        self.reclaims += [now] if reclaim else []
        assert sum(now - at < HOUR_S for at in self.failed) <= MAX_FAILED_PER_HOUR
        assert sum(now - at < HOUR_S for at in self.reclaims) <= MAX_RECLAIMS_PER_HOUR


@settings(deadline=None)
@given(st.lists(ACTS, max_size=120))
def test_no_history_exceeds_the_ration(acts: list[tuple[int, str, bool]]) -> None:
    """Never more than 20 failures or 3 reclaims in any hour, never closer than the gaps."""
    diary, now = Diary(), 0.0

    for passed, what, maintenance in acts:
        now += passed
        diary.act(what, now, maintenance=maintenance)


@settings(deadline=None)
@given(st.lists(ACTS, max_size=60), st.booleans())
def test_the_wait_that_is_told_is_long_enough_and_never_endless(
    acts: list[tuple[int, str, bool]], maintenance: bool
) -> None:
    """Whoever waits as long as was said may go, and nobody waits longer than the hour."""
    diary, now = Diary(), 0.0
    for passed, what, quiet in acts:
        now += passed
        diary.act(what, now, maintenance=quiet)

    wait = diary.backoff.wait_to_open(now, maintenance=maintenance)

    assert 0 <= wait <= HOUR_S
    assert diary.backoff.wait_to_open(now + wait, maintenance=maintenance) == 0
    assert diary.backoff.wait_to_reclaim(now) >= diary.backoff.wait_to_open(now, maintenance=False)


@pytest.mark.parametrize("now", [0.0, 0.25, 1e6])
def test_a_ration_begins_at_any_time_of_the_clock(now: float) -> None:
    """Monotonic clocks start anywhere, zero included."""
    assert ReopenBackoff().wait_to_open(now, maintenance=True) == 0
