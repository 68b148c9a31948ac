"""IBKR's patience."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.market.pacing import GLOBAL, LIMITS, PENALTY_S, Pacing


def test_it_is_patient_where_nobody_asked_for_limits() -> None:
    """Most tests are in a hurry."""
    pacing = Pacing(False)

    assert not any(pacing.count_call("/tickle", 0.0) for _ in range(100))
    assert pacing.refused_count == 0


def test_a_call_too_many_is_refused_until_the_window_has_passed() -> None:
    """The refused one counts as well, so that whoever goes on asking is refused for longer."""
    pacing = Pacing(True)

    refusals = [pacing.count_call("/portfolio/accounts", now) for now in (0.0, 4.0, 8.0, 13.0)]

    assert refusals == [False, True, True, False]
    assert pacing.refused_count == 2


def test_each_path_has_its_own_window() -> None:
    """A list of trades does not use up the list of orders."""
    pacing = Pacing(True)

    assert not pacing.count_call("/iserver/account/orders", 0.0)
    assert not pacing.count_call("/iserver/account/trades", 0.0)
    assert pacing.count_call("/iserver/account/orders", 0.1)


def test_paths_of_one_pattern_share_a_window() -> None:
    """All notifications count together."""
    pacing = Pacing(True)

    assert not pacing.count_call("/fyi/settings", 0.0)
    assert pacing.count_call("/fyi/unreadnumber", 0.5)


def test_too_many_in_all_close_the_door_for_everything() -> None:
    """For a quarter of an hour, whatever is asked and however seldom; then all is well."""
    pacing = Pacing(True)
    for _ in range(GLOBAL.calls):
        assert not pacing.count_call("/iserver/accounts", 0.0)

    assert pacing.count_call("/iserver/accounts", 0.0)
    assert pacing.count_call("/portfolio/accounts", PENALTY_S - 1.0)
    assert not pacing.count_call("/iserver/accounts", PENALTY_S)


@pytest.mark.parametrize("path", ["/iserver/account/orders/x", "/x/tickle", "/iserver/accounts"])
def test_a_path_that_only_resembles_one_of_the_limits_is_counted_in_all_alone(path: str) -> None:
    """A pattern means the whole path."""
    pacing = Pacing(True)

    assert not any(pacing.count_call(path, 0.0) for _ in range(GLOBAL.calls))
    assert all(limit.calls <= GLOBAL.calls for limit in LIMITS)
