"""IBKR's hundred market data lines, which streams and quote snapshots share."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import MarketDataLimit
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES, MarketDataLineUsage


def conids(first: int, count: int) -> list[str]:
    """The ids of `count` contracts."""
    return [str(number) for number in range(first, first + count)]


def test_the_least_recently_used_lines_are_closed_first() -> None:
    """One line is closed for each one that is needed. Lines of streamed contracts are not closed."""
    freed: list[str] = []
    lines = MarketDataLineUsage(freed.append)
    lines.opened_by_call("me", conids(0, MAX_MARKET_DATA_LINES), frozenset())
    lines.opened_by_call("me", ["0"], frozenset())

    lines.opened_by_call("me", ["1000"], frozenset())
    lines.reserve_for_streams(frozenset({"2000", "2"}))

    assert freed == ["1", "3"]
    assert len(lines) == MAX_MARKET_DATA_LINES - 1  # one line belongs to a stream only


def test_a_new_contract_is_refused_while_streams_use_all_lines() -> None:
    """IBKR would silently send no quotes for it. A call for a contract that is streamed needs no further line."""
    lines = MarketDataLineUsage(lambda _: None)
    streamed = frozenset(conids(0, MAX_MARKET_DATA_LINES))

    lines.opened_by_call("me", ["5"], streamed)
    with pytest.raises(MarketDataLimit):
        lines.opened_by_call("me", ["1000"], streamed)
    with pytest.raises(MarketDataLimit):
        lines.reserve_for_streams(streamed | {"1000"})


def test_a_contract_is_closed_when_its_last_caller_releases_it() -> None:
    """A caller must not close the contracts of another caller."""
    lines = MarketDataLineUsage(lambda _: None)
    lines.opened_by_call("me", ["1", "2"], frozenset())
    lines.opened_by_call("you", ["2"], frozenset())

    assert lines.conids_of("me") == ["1", "2"]
    assert lines.release("me", "1") is True
    assert lines.release("me", "2") is False
    assert lines.release("you", "2") is True
    assert lines.release("you", "7") is False
    assert len(lines) == 0


# -- the reduced share

SHARE = 75  # of a hundred


def test_calls_with_a_reduced_share_release_their_own_oldest_lines() -> None:
    """Those of the full key stay."""
    freed: list[str] = []
    lines = MarketDataLineUsage(freed.append)
    lines.opened_by_call("full", conids(500, 20), frozenset())
    lines.opened_by_call("token", conids(0, SHARE), frozenset(), frozenset())

    lines.opened_by_call("token", ["1000"], frozenset(), frozenset())

    assert freed == ["0"]
    assert len(lines) == 20 + SHARE


def test_streams_with_a_reduced_share_count_in_it_too() -> None:
    """A call is refused when the streams use all of it, and one of the full key is not."""
    lines = MarketDataLineUsage(lambda _: None)
    streamed = frozenset(conids(0, SHARE))

    with pytest.raises(MarketDataLimit):
        lines.opened_by_call("token", ["1000"], streamed, streamed)
    lines.opened_by_call("token", ["5"], streamed, streamed)  # it is streamed anyway
    lines.opened_by_call("full", ["1000"], streamed)

    assert len(lines) == 2


def test_a_contract_that_the_full_key_streams_costs_a_token_nothing() -> None:
    """It is sent anyway."""
    lines = MarketDataLineUsage(lambda _: None)
    reduced = frozenset(conids(0, SHARE))

    lines.opened_by_call("token", ["900"], reduced | {"900"}, reduced)

    assert lines.conids_of("token") == ["900"]
