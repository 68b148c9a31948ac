"""IBKR's hundred lines of market data, shared by streams and snapshots."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import MarketDataLimit
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES, MarketDataLineUsage


def names(first: int, count: int) -> list[str]:
    """So many contracts."""
    return [str(number) for number in range(first, first + count)]


def test_the_line_nobody_looked_at_for_the_longest_time_is_given_back() -> None:
    """One for each that is needed, and none that is streamed."""
    freed: list[str] = []
    lines = MarketDataLineUsage(freed.append)
    lines.opened_by_call("me", names(0, MAX_MARKET_DATA_LINES), frozenset())
    lines.opened_by_call("me", ["0"], frozenset())

    lines.opened_by_call("me", ["1000"], frozenset())
    lines.reserve_for_streams(frozenset({"2000", "2"}))

    assert freed == ["1", "3"]
    assert len(lines) == MAX_MARKET_DATA_LINES - 1  # one line is a stream's alone


def test_streams_leave_no_room_for_more_than_there_is() -> None:
    """Whoever comes last is refused; what is streamed anyway needs no room."""
    lines = MarketDataLineUsage(lambda _: None)
    streamed = frozenset(names(0, MAX_MARKET_DATA_LINES))

    lines.opened_by_call("me", ["5"], streamed)
    with pytest.raises(MarketDataLimit):
        lines.opened_by_call("me", ["1000"], streamed)
    with pytest.raises(MarketDataLimit):
        lines.reserve_for_streams(streamed | {"1000"})


def test_a_contract_is_given_back_when_its_last_caller_does() -> None:
    """Each for itself."""
    lines = MarketDataLineUsage(lambda _: None)
    lines.opened_by_call("me", ["1", "2"], frozenset())
    lines.opened_by_call("you", ["2"], frozenset())

    assert lines.conids_of("me") == ["1", "2"]
    assert lines.release("me", "1") is True
    assert lines.release("me", "2") is False
    assert lines.release("you", "2") is True
    assert lines.release("you", "7") is False
    assert len(lines) == 0
