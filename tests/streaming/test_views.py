"""Which part of a message is for whom."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.views import DAY_MS, FULL_VIEW, MINUTE_MS, View, is_covered, project, view_of

NOW_MS = 1_781_712_000_000
K = TopicKind


def view(kind: TopicKind, args: dict[str, Any]) -> View:
    """What somebody is to get."""
    return view_of(Subscribe(Topic(kind, "8"), args), NOW_MS)


@pytest.mark.parametrize("kind", [K.QUOTES, K.ORDERS, K.SUMMARY, K.LEDGER, K.PNL, K.HISTORY, K.SESSION])
def test_who_names_nothing_gets_everything(kind: TopicKind) -> None:
    """The message passes as it is."""
    message = {"topic": "x", "31": "1"}

    assert view(kind, {}) == FULL_VIEW
    assert project(kind, FULL_VIEW, message) is message


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"topic": "t", "conid": 8, "31": "1", "84": "2"}, {"topic": "t", "conid": 8, "31": "1"}),
        ({"topic": "t", "conid": 8, "84": "2"}, None),
        ({"topic": "t", "conid": 8, "_updated": 5}, None),
    ],
)
def test_a_quote_is_told_with_the_fields_that_were_asked_for(message: dict[str, Any], told: object) -> None:
    """A message with none of them is not told at all."""
    assert project(K.QUOTES, view(K.QUOTES, {"fields": ["31"]}), message) == told


@pytest.mark.parametrize("kind", [K.SUMMARY, K.LEDGER])
def test_rows_are_told_by_their_keys_and_members(kind: TopicKind) -> None:
    """What names a row stays in it."""
    message = {"result": [{"key": "A", "x": 1, "y": 2, "timestamp": 3}, {"key": "B", "x": 4}, 7]}

    assert project(kind, view(kind, {"keys": ["A"], "fields": ["x"]}), message) == {
        "result": [{"key": "A", "x": 1, "timestamp": 3}]
    }
    assert project(kind, view(kind, {"keys": ["C"]}), message) is None


def test_orders_are_told_by_their_states_however_those_are_written() -> None:
    """IBKR's own filters would silence its stream; the order of time is no state."""
    wanted = view(K.ORDERS, {"filters": ["pre_submitted", "sort_by_time"]})
    message = {"args": [{"orderId": 1, "status": "PreSubmitted"}, {"orderId": 2, "status": "Filled"}, None]}

    assert project(K.ORDERS, wanted, message) == {"args": [{"orderId": 1, "status": "PreSubmitted"}]}
    assert view(K.ORDERS, {"filters": ["sort_by_time"]}) == FULL_VIEW


def test_a_message_without_rows_is_told_to_everybody() -> None:
    """That a list is empty is news."""
    wanted = view(K.ORDERS, {"filters": ["filled"]})

    assert project(K.ORDERS, wanted, {"args": []}) == {"args": []}
    assert project(K.ORDERS, wanted, {"args": "x"}) == {"args": "x"}


@pytest.mark.parametrize(
    ("args", "days"), [({}, 1), ({"days": 3}, 3), ({"days": 99}, 7), ({"days": 3, "realtimeUpdatesOnly": True}, 0)]
)
def test_trades_are_told_of_as_many_days_as_were_asked_for(args: dict[str, Any], days: int) -> None:
    """And of a minute more, since IBKR's clock may be behind ours."""
    wanted = view(K.TRADES, args)

    behind = NOW_MS - days * DAY_MS - wanted.since_ms

    assert MINUTE_MS <= behind < 2 * MINUTE_MS


def test_a_trade_is_judged_by_its_time_in_seconds_or_milliseconds() -> None:
    """One that says no time is told: too many is better than too few."""
    wanted = View(since_ms=NOW_MS)
    rows = [
        {"n": 1, "trade_time_r": NOW_MS},
        {"n": 2, "trade_time_r": NOW_MS - 1},
        {"n": 3, "trade_time_r": NOW_MS // 1000},
        {"n": 4, "trade_time_r": NOW_MS // 1000 - 1},
        {"n": 5},
        {"n": 6, "trade_time_r": 0},
        {"n": 7, "trade_time_r": float("nan")},
    ]

    told = project(K.TRADES, wanted, {"args": rows})

    assert told is not None
    assert [row["n"] for row in told["args"]] == [1, 3, 5, 6, 7]


@pytest.mark.parametrize(
    ("asked", "wanted", "covered"),
    [
        ({"fields": ["31", "84"]}, {"fields": ["31"]}, True),
        ({"fields": ["31"]}, {"fields": ["31", "84"]}, False),
        ({"fields": []}, {"fields": []}, True),
        ({"fields": []}, {"fields": ["31"]}, False),
        ({"fields": ["31"]}, {"fields": []}, False),
        ({"days": 3}, {"days": 1}, False),
        ({"days": 3}, {"days": 3}, True),
        ({}, {"days": 3}, False),
    ],
)
def test_ibkr_is_asked_again_only_for_what_it_does_not_bring(
    asked: dict[str, Any], wanted: dict[str, Any], covered: bool
) -> None:
    """An empty list stands for everything, and so is covered by itself alone."""
    assert is_covered(asked, wanted) is covered
