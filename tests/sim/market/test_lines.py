"""Market data lines: how many quotes may be open at once."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.market.lines import MOST, Lines


@pytest.fixture
def full() -> Lines:
    """As many as there may be."""
    lines = Lines()
    for conid in range(MOST):
        assert lines.take(conid, 0.0) is not None
    return lines


def test_one_too_many_is_refused_and_an_open_one_is_not(full: Lines) -> None:
    """Asking again for what is open takes nothing."""
    assert full.take(MOST, 0.0) is None
    assert full.take(0, 0.0) is not None
    assert MOST not in full


def test_a_line_that_was_given_back_is_free(full: Lines) -> None:
    """For another instrument; giving it back again does nothing."""
    assert full.give_back(0)
    assert not full.give_back(0)
    assert full.take(MOST, 0.0) is not None


def test_a_line_ends_at_its_time() -> None:
    """In that very moment."""
    lines = Lines()
    line = lines.take(1, 0.0, until=900.0)
    assert line is not None

    assert lines.take(1, 899.0) is line
    other = Lines()
    first = other.take(1, 0.0, until=900.0)
    assert other.take(1, 900.0) is not first


def test_who_asks_later_makes_it_last_longer_and_never_shorter() -> None:
    """A snapshot keeps it open until it is given back."""
    lines = Lines()
    line = lines.take(1, 0.0)
    lines.take(1, 1.0, until=10.0)
    lines.take(2, 1000.0)

    assert line is not None
    assert lines.holds(1, line)


def test_a_line_that_was_opened_anew_is_another() -> None:
    """Whoever had the old one must not close the new."""
    lines = Lines()
    old = lines.take(1, 0.0)
    lines.give_back(1)
    new = lines.take(1, 1.0)

    assert old is not None
    assert new is not None
    assert (lines.holds(1, old), lines.holds(1, new)) == (False, True)


def test_all_end_together(full: Lines) -> None:
    """With their session."""
    full.clear()

    assert 0 not in full
    assert full.take(MOST, 0.0) is not None
