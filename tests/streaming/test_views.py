"""Views: the part of a message that a subscriber gets."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.views import DAY_MS, FULL_VIEW, MINUTE_MS, View, is_covered, project, view_of

NOW_MS = 1_781_712_000_000
K = TopicKind


def view(kind: TopicKind, args: dict[str, Any]) -> View:
    """The view of a subscriber with these arguments."""
    return view_of(Subscribe(Topic(kind, "8"), args), NOW_MS)


@pytest.mark.parametrize("kind", [K.QUOTES, K.ORDERS, K.SUMMARY, K.LEDGER, K.PNL, K.HISTORY, K.SESSION])
def test_a_subscriber_without_arguments_gets_the_complete_message(kind: TopicKind) -> None:
    """Nothing has to be filtered, so the message is not copied either."""
    message = {"topic": "x", "31": "1"}

    assert view(kind, {}) == FULL_VIEW
    assert project(kind, FULL_VIEW, message) is message


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ({"topic": "t", "conid": 8, "31": "1", "84": "2"}, {"topic": "t", "conid": 8, "31": "1"}),
        ({"topic": "t", "conid": 8, "84": "2"}, None),
        ({"topic": "t", "conid": 8, "_updated": 5}, None),
    ],
)
def test_a_quote_is_sent_with_the_requested_fields(message: dict[str, Any], part: object) -> None:
    """A message with none of them is not sent: nothing that was requested has changed."""
    assert project(K.QUOTES, view(K.QUOTES, {"fields": ["31"]}), message) == part


@pytest.mark.parametrize("kind", [K.SUMMARY, K.LEDGER])
def test_rows_are_filtered_by_their_keys_and_members(kind: TopicKind) -> None:
    """The members that identify a row stay in it, whatever was requested."""
    message = {"result": [{"key": "A", "x": 1, "y": 2, "timestamp": 3}, {"key": "B", "x": 4}, 7]}

    assert project(kind, view(kind, {"keys": ["A"], "fields": ["x"]}), message) == {
        "result": [{"key": "A", "x": 1, "timestamp": 3}]
    }
    assert project(kind, view(kind, {"keys": ["C"]}), message) is None


def test_orders_are_filtered_by_state_in_every_spelling() -> None:
    """IBKR's own filters stop its stream, so the bridge filters. `sort_by_time` is not a state and filters nothing."""
    orders_view = view(K.ORDERS, {"filters": ["pre_submitted", "sort_by_time"]})
    message = {"args": [{"orderId": 1, "status": "PreSubmitted"}, {"orderId": 2, "status": "Filled"}, None]}

    assert project(K.ORDERS, orders_view, message) == {"args": [{"orderId": 1, "status": "PreSubmitted"}]}
    assert view(K.ORDERS, {"filters": ["sort_by_time"]}) == FULL_VIEW


def test_a_message_without_rows_is_sent_to_all_subscribers() -> None:
    """An empty list is information: there are no orders."""
    orders_view = view(K.ORDERS, {"filters": ["filled"]})

    assert project(K.ORDERS, orders_view, {"args": []}) == {"args": []}
    assert project(K.ORDERS, orders_view, {"args": "x"}) == {"args": "x"}


@pytest.mark.parametrize(
    ("args", "days"), [({}, 1), ({"days": 3}, 3), ({"days": 99}, 7), ({"days": 3, "realtimeUpdatesOnly": True}, 0)]
)
def test_trades_of_the_requested_days_and_one_more_minute_are_sent(args: dict[str, Any], days: int) -> None:
    """IBKR's clock may be behind ours, and an extra trade is better than a missing one."""
    trades_view = view(K.TRADES, args)

    behind = NOW_MS - days * DAY_MS - trades_view.since_ms

    assert MINUTE_MS <= behind < 2 * MINUTE_MS


def test_the_time_of_a_trade_may_be_in_seconds_or_milliseconds() -> None:
    """The name of the member does not say the unit. A trade without a time is sent: better one too many than a gap."""
    trades_view = View(since_ms=NOW_MS)
    rows = [
        {"n": 1, "trade_time_r": NOW_MS},
        {"n": 2, "trade_time_r": NOW_MS - 1},
        {"n": 3, "trade_time_r": NOW_MS // 1000},
        {"n": 4, "trade_time_r": NOW_MS // 1000 - 1},
        {"n": 5},
        {"n": 6, "trade_time_r": 0},
        {"n": 7, "trade_time_r": float("nan")},
    ]

    part = project(K.TRADES, trades_view, {"args": rows})

    assert part is not None
    assert [row["n"] for row in part["args"]] == [1, 3, 5, 6, 7]


@pytest.mark.parametrize(
    ("requested", "needed", "covered"),
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
def test_a_new_request_is_needed_only_if_the_last_one_does_not_cover_it(
    requested: dict[str, Any], needed: dict[str, Any], covered: bool
) -> None:
    """An empty list means everything, so only another empty list covers it."""
    assert is_covered(requested, needed) is covered
