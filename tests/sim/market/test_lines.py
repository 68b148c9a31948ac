"""Market data lines: how many quotes may be open at once."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.market.lines import MAX_LINES, MarketDataLines


@pytest.fixture
def full() -> MarketDataLines:
    """As many as there may be."""
    lines = MarketDataLines()
    for conid in range(MAX_LINES):
        assert lines.open_line(conid, 0.0) is not None
    return lines


def test_one_too_many_is_refused_and_an_open_one_is_not(full: MarketDataLines) -> None:
    """Asking again for what is open takes nothing."""
    assert full.open_line(MAX_LINES, 0.0) is None
    assert full.open_line(0, 0.0) is not None
    assert MAX_LINES not in full


def test_a_line_that_was_given_back_is_free(full: MarketDataLines) -> None:
    """For another instrument; giving it back again does nothing."""
    assert full.close_line(0)
    assert not full.close_line(0)
    assert full.open_line(MAX_LINES, 0.0) is not None


def test_a_line_ends_at_its_time() -> None:
    """In that very moment."""
    lines = MarketDataLines()
    line = lines.open_line(1, 0.0, open_until=900.0)
    assert line is not None

    assert lines.open_line(1, 899.0) is line
    other = MarketDataLines()
    first = other.open_line(1, 0.0, open_until=900.0)
    assert other.open_line(1, 900.0) is not first


def test_who_asks_later_makes_it_last_longer_and_never_shorter() -> None:
    """A snapshot keeps it open until it is given back."""
    lines = MarketDataLines()
    line = lines.open_line(1, 0.0)
    lines.open_line(1, 1.0, open_until=10.0)
    lines.open_line(2, 1000.0)

    assert line is not None
    assert lines.is_open(1, line)


def test_a_line_that_was_opened_anew_is_another() -> None:
    """Whoever had the old one must not close the new."""
    lines = MarketDataLines()
    old = lines.open_line(1, 0.0)
    lines.close_line(1)
    new = lines.open_line(1, 1.0)

    assert old is not None
    assert new is not None
    assert (lines.is_open(1, old), lines.is_open(1, new)) == (False, True)


def test_all_end_together(full: MarketDataLines) -> None:
    """With their session."""
    full.clear()

    assert 0 not in full
    assert full.open_line(MAX_LINES, 0.0) is not None
