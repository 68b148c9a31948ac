"""Topic snapshots: the full state of a topic, merged from IBKR's partial updates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.snapshot import MAX_ROWS, ROW_LAYOUT, TopicSnapshot
from ibkr_bridge.streaming.views import project, view_of

NAMES = st.sampled_from(["key", "orderId", "execution_id", "args", "result", "x"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


def snapshot_after(kind: TopicKind, *messages: dict[str, Any]) -> TopicSnapshot:
    """The snapshot after these messages, which arrive one second apart."""
    snapshot = TopicSnapshot(kind)
    for number, message in enumerate(messages):
        snapshot.add(message, float(number))
    return snapshot


def test_a_quote_has_the_latest_value_of_each_field() -> None:
    """IBKR sends only the fields that changed."""
    snapshot = snapshot_after(
        TopicKind.QUOTES, {"topic": "smd+7", "31": "1", "84": "2"}, {"topic": "smd+7"}, {"topic": "smd+7", "31": "3"}
    )

    assert snapshot.as_message() == {"topic": "smd+7", "31": "3", "84": "2"}
    assert snapshot.at == 2.0


@given(st.lists(st.dictionaries(st.sampled_from(["31", "84", "86"]), st.text(max_size=3))))
def test_a_snapshot_of_a_quote_is_the_sum_of_all_changes(changes: list[dict[str, str]]) -> None:
    """A subscriber that comes later must have the same quote as one that got every change."""
    complete: dict[str, str] = {}
    for change in changes:
        complete |= change

    assert snapshot_after(TopicKind.QUOTES, *changes).as_message() == complete


def test_after_an_outage_the_snapshot_starts_over_with_the_next_message() -> None:
    """Older values may be wrong by then. Until the next message the old snapshot is the only one there is."""
    snapshot = snapshot_after(TopicKind.QUOTES, {"31": "1", "84": "2"})
    snapshot.mark_stale()
    before = snapshot.as_message()
    snapshot.add({"31": "9"}, 5.0)

    assert (before, snapshot.as_message()) == ({"31": "1", "84": "2"}, {"31": "9"})


def test_orders_are_merged_row_by_row() -> None:
    """An update carries the id of the order and only the members that changed."""
    snapshot = snapshot_after(
        TopicKind.ORDERS,
        {"topic": "sor", "args": [{"orderId": 1, "status": "Submitted", "price": "5"}, {"orderId": 2}]},
        {"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}]},
        {"topic": "sor", "args": "nonsense"},
        {"topic": "sor", "args": [5, None, {"status": "without an id"}]},
    )

    assert snapshot.row(1) == {"orderId": 1, "status": "Filled", "price": "5"}
    assert {"orderId": 2} in snapshot.as_message()["args"]


def test_profit_and_loss_keeps_ibkrs_shape() -> None:
    """IBKR sends an object of named rows here, not a list, and clients expect that."""
    snapshot = snapshot_after(
        TopicKind.PNL,
        {"topic": "spl", "args": {"DU1.Core": {"dpl": 1, "nl": 2}}},
        {"topic": "spl", "args": {"DU1.Core": {"dpl": 3}}},
    )

    assert snapshot.as_message() == {"topic": "spl", "args": {"DU1.Core": {"dpl": 3, "nl": 2}}}
    assert snapshot.row("DU1.Core") == {"key": "DU1.Core", "dpl": 3, "nl": 2}


def test_a_ledger_keeps_the_values_that_did_not_change() -> None:
    """For a currency without a change IBKR sends only its key and the time."""
    snapshot = snapshot_after(
        TopicKind.LEDGER,
        {"topic": "sld+DU1", "result": [{"key": "LedgerListUSD", "timestamp": 1, "cashbalance": 5}]},
        {"topic": "sld+DU1", "result": [{"key": "LedgerListUSD", "timestamp": 2}]},
    )

    assert snapshot.as_message()["result"] == [{"key": "LedgerListUSD", "timestamp": 2, "cashbalance": 5}]


def test_the_snapshot_of_a_chart_is_its_first_message() -> None:
    """Later messages contain only its last candles."""
    chart = {"topic": "smh+7", "serverId": "20477", "data": [1, 2, 3]}

    assert snapshot_after(TopicKind.HISTORY, chart, {"topic": "smh+7", "data": [3]}).as_message() == chart


def test_the_number_of_rows_is_limited() -> None:
    """The oldest rows are dropped, so that the memory does not grow without end."""
    snapshot = snapshot_after(
        TopicKind.TRADES, {"args": [{"execution_id": str(number)} for number in range(MAX_ROWS + 5)]}
    )

    assert len(snapshot.as_message()["args"]) == MAX_ROWS
    assert snapshot.row("0") == {}


def test_a_field_that_is_no_longer_requested_is_dropped() -> None:
    """IBKR sends no more changes of it, so its value would become outdated without a sign."""
    snapshot = snapshot_after(TopicKind.QUOTES, {"topic": "smd+7", "conid": 7, "31": "1", "86": "2"})
    snapshot.set_fields(["31", "84"])

    assert snapshot.as_message() == {"topic": "smd+7", "conid": 7, "31": "1"}


def test_an_update_before_the_complete_list_keeps_what_was_known_of_the_order() -> None:
    """After an outage IBKR may send an update first, and it carries only what changed."""
    snapshot = snapshot_after(TopicKind.ORDERS, {"args": [{"orderId": 1, "ticker": "A", "status": "Submitted"}]})
    snapshot.mark_stale()
    snapshot.add({"args": [{"orderId": 1, "status": "Filled"}]}, 1.0)

    assert snapshot.as_message()["args"] == [{"orderId": 1, "ticker": "A", "status": "Filled"}]


@pytest.mark.parametrize("kind", list(ROW_LAYOUT))
@given(content=ANYTHING)
def test_no_message_breaks_a_snapshot(kind: TopicKind, content: Any) -> None:
    """A message in an unknown form must not end the feed of all other topics."""
    snapshot = TopicSnapshot(kind)
    for message in ({"args": content, "result": content}, {"args": [content, {"key": "a"}], "result": [content]}):
        snapshot.add(message, 0.0)
        assert isinstance(snapshot.as_message(), dict)


def test_a_message_with_a_few_candles_does_not_replace_a_chart() -> None:
    """It carries the id of the chart, but a new subscriber needs all candles."""
    chart = {"topic": "smh+7", "serverId": "1", "timePeriod": "1d", "data": [1, 2, 3]}
    snapshot = snapshot_after(TopicKind.HISTORY, chart, {"topic": "smh+7", "serverId": "1", "data": [{"c": 5}]})

    assert snapshot.as_message() == chart


QUOTE = {"topic": "smd+7", "conid": 7, "_updated": 1, "31": "1", "84": "2"}
ORDERS = {"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}, {"orderId": 2, "status": "PreSubmitted"}]}
SUMMARY: dict[str, Any] = {"result": [{"key": "a", "timestamp": 1, "value": 2, "currency": "USD"}, {"key": "b"}, 7]}
NOON = 1_781_712_000_000
TRADES = {
    "args": [
        {"execution_id": "old", "trade_time_r": NOON - 30 * 3600 * 1000},
        {"execution_id": "new", "trade_time_r": NOON + 1},
    ]
}


def part_for(topic: Topic, message: dict[str, Any], **args: Any) -> dict[str, Any] | None:
    """The part of a message for a subscriber that subscribed at noon with these arguments."""
    return project(topic.kind, view_of(Subscribe(topic, args), NOON), message)


def test_a_subscriber_gets_the_part_that_it_requested() -> None:
    """A message without any of it is not sent: it would be an event in which nothing changed."""
    quotes, orders, summary = Topic(TopicKind.QUOTES, "7"), Topic(TopicKind.ORDERS), Topic(TopicKind.SUMMARY, "DU1")

    assert part_for(quotes, QUOTE, fields=["31"]) == {"topic": "smd+7", "conid": 7, "_updated": 1, "31": "1"}
    assert part_for(quotes, QUOTE, fields=["86"]) is None
    assert part_for(quotes, QUOTE) == QUOTE
    assert part_for(orders, ORDERS, filters=["pre_submitted"]) == {"topic": "sor", "args": [ORDERS["args"][1]]}
    assert part_for(orders, ORDERS, filters=["cancelled"]) is None
    assert part_for(orders, ORDERS, filters=["sort_by_time"]) == ORDERS
    assert part_for(summary, SUMMARY, keys=["a"], fields=["currency"]) == {
        "result": [{"key": "a", "timestamp": 1, "currency": "USD"}]
    }
    assert part_for(summary, {"result": "unsubscribed"}, keys=["a"]) == {"result": "unsubscribed"}
    assert part_for(summary, {"result": [{"key": ["x"]}, {"key": None}]}, keys=["a"]) is None


def test_a_subscriber_gets_the_trades_of_the_requested_days() -> None:
    """IBKR sends the days that any subscriber requested. With `realtimeUpdatesOnly` there are only new trades."""
    trades = Topic(TopicKind.TRADES)

    def execution_ids(**args: Any) -> list[str]:
        message = part_for(trades, TRADES, **args)
        return [row["execution_id"] for row in message["args"]] if message else []

    assert execution_ids() == ["new"]
    assert execution_ids(days=2) == ["old", "new"]
    assert execution_ids(days=7, realtimeUpdatesOnly=True) == ["new"]
    assert part_for(trades, {"args": []}, days=1) == {"args": []}
