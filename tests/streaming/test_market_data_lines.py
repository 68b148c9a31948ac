"""IBKR's hundred lines of market data, shared by streams and snapshots."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import LineLimit
from ibkr_bridge.streaming.market_data_lines import MOST_LINES, Lines


def names(first: int, count: int) -> list[str]:
    """So many contracts."""
    return [str(number) for number in range(first, first + count)]


def test_the_line_nobody_looked_at_for_the_longest_time_is_given_back() -> None:
    """One for each that is needed, and none that is streamed."""
    freed: list[str] = []
    lines = Lines(freed.append)
    lines.looked("me", names(0, MOST_LINES), frozenset())
    lines.looked("me", ["0"], frozenset())

    lines.looked("me", ["1000"], frozenset())
    lines.streams(frozenset({"2000", "2"}))

    assert freed == ["1", "3"]
    assert len(lines) == MOST_LINES - 1  # one line is a stream's alone


def test_streams_leave_no_room_for_more_than_there_is() -> None:
    """Whoever comes last is refused; what is streamed anyway needs no room."""
    lines = Lines(lambda _: None)
    streamed = frozenset(names(0, MOST_LINES))

    lines.looked("me", ["5"], streamed)
    with pytest.raises(LineLimit):
        lines.looked("me", ["1000"], streamed)
    with pytest.raises(LineLimit):
        lines.streams(streamed | {"1000"})


def test_a_contract_is_given_back_when_its_last_caller_does() -> None:
    """Each for itself."""
    lines = Lines(lambda _: None)
    lines.looked("me", ["1", "2"], frozenset())
    lines.looked("you", ["2"], frozenset())

    assert lines.of("me") == ["1", "2"]
    assert lines.drop("me", "1") is True
    assert lines.drop("me", "2") is False
    assert lines.drop("you", "2") is True
    assert lines.drop("you", "7") is False
    assert len(lines) == 0
