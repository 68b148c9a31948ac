"""Market data lines: how many quotes may be open at once."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.market.lines import MAX_LINES, MarketDataLines


@pytest.fixture
def full() -> MarketDataLines:
    """The largest possible number of open lines."""
    lines = MarketDataLines()
    for conid in range(MAX_LINES):
        assert lines.open_line(conid, 0.0) is not None
    return lines


def test_one_too_many_is_refused_and_an_open_one_is_not(full: MarketDataLines) -> None:
    """A repeated request for an open line takes no other line."""
    assert full.open_line(MAX_LINES, 0.0) is None
    assert full.open_line(0, 0.0) is not None
    assert MAX_LINES not in full


def test_a_released_line_is_free(full: MarketDataLines) -> None:
    """Another contract can use it. Releasing it again does nothing."""
    assert full.close_line(0)
    assert not full.close_line(0)
    assert full.open_line(MAX_LINES, 0.0) is not None


def test_a_line_ends_at_its_time() -> None:
    """It is closed at that very moment."""
    lines = MarketDataLines()
    line = lines.open_line(1, 0.0, open_until=900.0)
    assert line is not None

    assert lines.open_line(1, 899.0) is line
    other = MarketDataLines()
    first = other.open_line(1, 0.0, open_until=900.0)
    assert other.open_line(1, 900.0) is not first


def test_a_later_request_makes_a_line_last_longer_and_never_shorter() -> None:
    """A snapshot keeps it open until it is released."""
    lines = MarketDataLines()
    line = lines.open_line(1, 0.0)
    lines.open_line(1, 1.0, open_until=10.0)
    lines.open_line(2, 1000.0)

    assert line is not None
    assert lines.is_open(1, line)


def test_a_line_that_was_opened_again_is_another() -> None:
    """The holder of the old line must not close the new one."""
    lines = MarketDataLines()
    old = lines.open_line(1, 0.0)
    lines.close_line(1)
    new = lines.open_line(1, 1.0)

    assert old is not None
    assert new is not None
    assert (lines.is_open(1, old), lines.is_open(1, new)) == (False, True)


def test_all_lines_can_be_released_together(full: MarketDataLines) -> None:
    """They end with their session."""
    full.clear()

    assert 0 not in full
    assert full.open_line(MAX_LINES, 0.0) is not None
