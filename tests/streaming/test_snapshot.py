"""The last full picture of a topic."""

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


def picture(kind: TopicKind, *messages: dict[str, Any]) -> TopicSnapshot:
    """What is known after these messages."""
    made = TopicSnapshot(kind)
    for number, message in enumerate(messages):
        made.add(message, float(number))
    return made


def test_a_quote_is_put_together_from_its_changes() -> None:
    """The newest of each field."""
    made = picture(
        TopicKind.QUOTES, {"topic": "smd+7", "31": "1", "84": "2"}, {"topic": "smd+7"}, {"topic": "smd+7", "31": "3"}
    )

    assert made.as_message() == {"topic": "smd+7", "31": "3", "84": "2"}
    assert made.at == 2.0


@given(st.lists(st.dictionaries(st.sampled_from(["31", "84", "86"]), st.text(max_size=3))))
def test_a_picture_is_what_all_changes_add_up_to(changes: list[dict[str, str]]) -> None:
    """Whatever came in whichever order."""
    whole: dict[str, str] = {}
    for change in changes:
        whole |= change

    assert picture(TopicKind.QUOTES, *changes).as_message() == whole


def test_after_an_outage_the_picture_starts_over() -> None:
    """With the next message; until then the old one is what there is."""
    made = picture(TopicKind.QUOTES, {"31": "1", "84": "2"})
    made.mark_stale()
    before = made.as_message()
    made.add({"31": "9"}, 5.0)

    assert (before, made.as_message()) == ({"31": "1", "84": "2"}, {"31": "9"})


def test_orders_are_merged_row_by_row() -> None:
    """Updates carry what changed, and the order's number."""
    made = picture(
        TopicKind.ORDERS,
        {"topic": "sor", "args": [{"orderId": 1, "status": "Submitted", "price": "5"}, {"orderId": 2}]},
        {"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}]},
        {"topic": "sor", "args": "nonsense"},
        {"topic": "sor", "args": [5, None, {"status": "without a number"}]},
    )

    assert made.row(1) == {"orderId": 1, "status": "Filled", "price": "5"}
    assert {"orderId": 2} in made.as_message()["args"]


def test_profit_and_loss_keeps_ibkrs_shape() -> None:
    """An object of named rows."""
    made = picture(
        TopicKind.PNL,
        {"topic": "spl", "args": {"DU1.Core": {"dpl": 1, "nl": 2}}},
        {"topic": "spl", "args": {"DU1.Core": {"dpl": 3}}},
    )

    assert made.as_message() == {"topic": "spl", "args": {"DU1.Core": {"dpl": 3, "nl": 2}}}
    assert made.row("DU1.Core") == {"key": "DU1.Core", "dpl": 3, "nl": 2}


def test_a_ledger_remembers_what_did_not_change() -> None:
    """IBKR tells such a currency by its key alone."""
    made = picture(
        TopicKind.LEDGER,
        {"topic": "sld+DU1", "result": [{"key": "LedgerListUSD", "timestamp": 1, "cashbalance": 5}]},
        {"topic": "sld+DU1", "result": [{"key": "LedgerListUSD", "timestamp": 2}]},
    )

    assert made.as_message()["result"] == [{"key": "LedgerListUSD", "timestamp": 2, "cashbalance": 5}]


def test_a_chart_is_its_first_message() -> None:
    """Follow-ups tell a candle or two."""
    chart = {"topic": "smh+7", "serverId": "20477", "data": [1, 2, 3]}

    assert picture(TopicKind.HISTORY, chart, {"topic": "smh+7", "data": [3]}).as_message() == chart


def test_rows_do_not_gather_for_ever() -> None:
    """The oldest go."""
    made = picture(TopicKind.TRADES, {"args": [{"execution_id": str(number)} for number in range(MAX_ROWS + 5)]})

    assert len(made.as_message()["args"]) == MAX_ROWS
    assert made.row("0") == {}


def test_what_ibkr_is_not_asked_for_any_more_is_forgotten() -> None:
    """It would get old unseen."""
    made = picture(TopicKind.QUOTES, {"topic": "smd+7", "conid": 7, "31": "1", "86": "2"})
    made.set_fields(["31", "84"])

    assert made.as_message() == {"topic": "smd+7", "conid": 7, "31": "1"}


def test_an_update_may_come_before_the_whole_list() -> None:
    """What is known of the order from before stays with it."""
    made = picture(TopicKind.ORDERS, {"args": [{"orderId": 1, "ticker": "A", "status": "Submitted"}]})
    made.mark_stale()
    made.add({"args": [{"orderId": 1, "status": "Filled"}]}, 1.0)

    assert made.as_message()["args"] == [{"orderId": 1, "ticker": "A", "status": "Filled"}]


@pytest.mark.parametrize("kind", list(ROW_LAYOUT))
@given(told=ANYTHING)
def test_no_message_confuses_a_picture(kind: TopicKind, told: Any) -> None:
    """Whatever IBKR says, the picture is one."""
    made = TopicSnapshot(kind)
    for message in ({"args": told, "result": told}, {"args": [told, {"key": "a"}], "result": [told]}):
        made.add(message, 0.0)
        assert isinstance(made.as_message(), dict)


def test_a_scrap_of_a_chart_is_no_chart() -> None:
    """Even one that bears the chart's id."""
    chart = {"topic": "smh+7", "serverId": "1", "timePeriod": "1d", "data": [1, 2, 3]}
    made = picture(TopicKind.HISTORY, chart, {"topic": "smh+7", "serverId": "1", "data": [{"c": 5}]})

    assert made.as_message() == chart


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


def seen(topic: Topic, message: dict[str, Any], **args: Any) -> dict[str, Any] | None:
    """What somebody gets of a message who came at noon and wished for this."""
    return project(topic.kind, view_of(Subscribe(topic, args), NOON), message)


def test_a_reader_gets_what_was_asked_for() -> None:
    """And nothing at all where nothing of that changed."""
    quotes, orders, summary = Topic(TopicKind.QUOTES, "7"), Topic(TopicKind.ORDERS), Topic(TopicKind.SUMMARY, "DU1")

    assert seen(quotes, QUOTE, fields=["31"]) == {"topic": "smd+7", "conid": 7, "_updated": 1, "31": "1"}
    assert seen(quotes, QUOTE, fields=["86"]) is None
    assert seen(quotes, QUOTE) == QUOTE
    assert seen(orders, ORDERS, filters=["pre_submitted"]) == {"topic": "sor", "args": [ORDERS["args"][1]]}
    assert seen(orders, ORDERS, filters=["cancelled"]) is None
    assert seen(orders, ORDERS, filters=["sort_by_time"]) == ORDERS
    assert seen(summary, SUMMARY, keys=["a"], fields=["currency"]) == {
        "result": [{"key": "a", "timestamp": 1, "currency": "USD"}]
    }
    assert seen(summary, {"result": "unsubscribed"}, keys=["a"]) == {"result": "unsubscribed"}
    assert seen(summary, {"result": [{"key": ["x"]}, {"key": None}]}, keys=["a"]) is None


def test_trades_are_of_as_many_days_as_were_asked_for() -> None:
    """Another reader may have asked for more; who wants only new ones gets no others."""
    trades = Topic(TopicKind.TRADES)

    def told(**args: Any) -> list[str]:
        message = seen(trades, TRADES, **args)
        return [row["execution_id"] for row in message["args"]] if message else []

    assert told() == ["new"]
    assert told(days=2) == ["old", "new"]
    assert told(days=7, realtimeUpdatesOnly=True) == ["new"]
    assert seen(trades, {"args": []}, days=1) == {"args": []}
