"""IBKR's limits and its penalty box."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.market.pacing import GLOBAL, LIMITS, PENALTY_S, Pacing


def test_limits_are_off_by_default() -> None:
    """Most tests send calls too fast."""
    pacing = Pacing(False)

    assert not any(pacing.count_call("/tickle", 0.0) for _ in range(100))
    assert pacing.refused_count == 0


def test_a_call_too_many_is_refused_until_the_window_has_passed() -> None:
    """A refused call counts too, so a client that goes on is refused for longer."""
    pacing = Pacing(True)

    refusals = [pacing.count_call("/portfolio/accounts", now) for now in (0.0, 4.0, 8.0, 13.0)]

    assert refusals == [False, True, True, False]
    assert pacing.refused_count == 2


def test_each_path_has_its_own_window() -> None:
    """A list of trades does not use up the limit of the list of orders."""
    pacing = Pacing(True)

    assert not pacing.count_call("/iserver/account/orders", 0.0)
    assert not pacing.count_call("/iserver/account/trades", 0.0)
    assert pacing.count_call("/iserver/account/orders", 0.1)


def test_paths_of_one_pattern_share_a_window() -> None:
    """All notifications count together."""
    pacing = Pacing(True)

    assert not pacing.count_call("/fyi/settings", 0.0)
    assert pacing.count_call("/fyi/unreadnumber", 0.5)


def test_too_many_calls_in_all_lead_to_the_penalty_box() -> None:
    """Every call is refused for fifteen minutes, however few come. Then calls are served again."""
    pacing = Pacing(True)
    for _ in range(GLOBAL.calls):
        assert not pacing.count_call("/iserver/accounts", 0.0)

    assert pacing.count_call("/iserver/accounts", 0.0)
    assert pacing.count_call("/portfolio/accounts", PENALTY_S - 1.0)
    assert not pacing.count_call("/iserver/accounts", PENALTY_S)


@pytest.mark.parametrize("path", ["/iserver/account/orders/x", "/x/tickle", "/iserver/accounts"])
def test_a_path_that_only_resembles_a_limited_one_counts_only_in_the_total(path: str) -> None:
    """A pattern must match the complete path."""
    pacing = Pacing(True)

    assert not any(pacing.count_call(path, 0.0) for _ in range(GLOBAL.calls))
    assert all(limit.calls <= GLOBAL.calls for limit in LIMITS)
