"""The rule that divides what all callers share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.shares import has_room


@pytest.mark.parametrize(
    ("reduced", "full", "has_reduced_share", "expected"),
    [
        (0, 0, True, True),
        (74, 0, True, True),
        (75, 0, True, False),
        (75, 0, False, True),
        (75, 24, False, True),
        (75, 25, False, False),
        (0, 99, True, True),
        (0, 100, True, False),
        (0, 99, False, True),
    ],
)
def test_reduced_shares_end_at_three_quarters(reduced: int, full: int, has_reduced_share: bool, expected: bool) -> None:
    """A full key may take what is left; nobody takes more than there is."""
    holders = [True] * reduced + [False] * full

    assert has_room(100, holders, has_reduced_share=has_reduced_share) is expected


@given(st.integers(1, 300), st.lists(st.booleans(), max_size=400))
def test_no_order_of_callers_takes_the_last_quarter_from_the_full_key(capacity: int, callers: list[bool]) -> None:
    """In any order of callers, those with a reduced share never hold more than three quarters."""
    holders: list[bool] = []
    for caller in callers:
        if has_room(capacity, holders, has_reduced_share=caller):
            holders.append(caller)

    assert len(holders) <= capacity
    assert sum(holders) <= capacity * 0.75
