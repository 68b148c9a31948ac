"""The last full picture of a topic."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.stream.pictures import MOST_ROWS, Picture
from ibkr_bridge.stream.shares import part
from ibkr_bridge.stream.topics import Kind


def picture(kind: Kind, *messages: dict[str, Any]) -> Picture:
    """What is known after these messages."""
    made = Picture(kind)
    for number, message in enumerate(messages):
        made.add(message, float(number))
    return made


def test_a_quote_is_put_together_from_its_changes() -> None:
    """The newest of each field."""
    made = picture(
        Kind.QUOTES, {"topic": "smd+7", "31": "1", "84": "2"}, {"topic": "smd+7"}, {"topic": "smd+7", "31": "3"}
    )

    assert made.told() == {"topic": "smd+7", "31": "3", "84": "2"}
    assert made.at == 2.0


@given(st.lists(st.dictionaries(st.sampled_from(["31", "84", "86"]), st.text(max_size=3))))
def test_a_picture_is_what_all_changes_add_up_to(changes: list[dict[str, str]]) -> None:
    """Whatever came in whichever order."""
    whole: dict[str, str] = {}
    for change in changes:
        whole |= change

    assert picture(Kind.QUOTES, *changes).told() == whole


def test_after_an_outage_the_picture_starts_over() -> None:
    """With the next message; until then the old one is what there is."""
    made = picture(Kind.QUOTES, {"31": "1", "84": "2"})
    made.start_over()
    before = made.told()
    made.add({"31": "9"}, 5.0)

    assert (before, made.told()) == ({"31": "1", "84": "2"}, {"31": "9"})


def test_orders_are_merged_row_by_row() -> None:
    """Updates carry what changed, and the order's number."""
    made = picture(
        Kind.ORDERS,
        {"topic": "sor", "args": [{"orderId": 1, "status": "Submitted", "price": "5"}, {"orderId": 2}]},
        {"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}]},
        {"topic": "sor", "args": "nonsense"},
        {"topic": "sor", "args": [5, None, {"status": "without a number"}]},
    )

    assert made.row(1) == {"orderId": 1, "status": "Filled", "price": "5"}
    assert {"orderId": 2} in made.told()["args"]


def test_profit_and_loss_keeps_ibkrs_shape() -> None:
    """An object of named rows."""
    made = picture(
        Kind.PNL,
        {"topic": "spl", "args": {"DU1.Core": {"dpl": 1, "nl": 2}}},
        {"topic": "spl", "args": {"DU1.Core": {"dpl": 3}}},
    )

    assert made.told() == {"topic": "spl", "args": {"DU1.Core": {"dpl": 3, "nl": 2}}}
    assert made.row("DU1.Core") == {"key": "DU1.Core", "dpl": 3, "nl": 2}


def test_a_ledger_remembers_what_did_not_change() -> None:
    """IBKR tells such a currency by its key alone."""
    made = picture(
        Kind.LEDGER,
        {"topic": "sld+DU1", "result": [{"key": "LedgerListUSD", "timestamp": 1, "cashbalance": 5}]},
        {"topic": "sld+DU1", "result": [{"key": "LedgerListUSD", "timestamp": 2}]},
    )

    assert made.told()["result"] == [{"key": "LedgerListUSD", "timestamp": 2, "cashbalance": 5}]


def test_a_chart_is_its_first_message() -> None:
    """Follow-ups tell a candle or two."""
    chart = {"topic": "smh+7", "serverId": "20477", "data": [1, 2, 3]}

    assert picture(Kind.HISTORY, chart, {"topic": "smh+7", "data": [3]}).told() == chart


def test_rows_do_not_gather_for_ever() -> None:
    """The oldest go."""
    made = picture(Kind.TRADES, {"args": [{"execution_id": str(number)} for number in range(MOST_ROWS + 5)]})

    assert len(made.told()["args"]) == MOST_ROWS
    assert made.row("0") == {}


def test_a_reader_gets_what_was_asked_for() -> None:
    """And nothing at all where nothing of that changed."""
    quote = {"topic": "smd+7", "conid": 7, "_updated": 1, "31": "1", "84": "2"}
    orders = {"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}, {"orderId": 2, "status": "PreSubmitted"}]}

    assert part(Kind.QUOTES, frozenset({"31"}), quote) == {"topic": "smd+7", "conid": 7, "_updated": 1, "31": "1"}
    assert part(Kind.QUOTES, frozenset({"86"}), quote) is None
    assert part(Kind.QUOTES, None, quote) == quote
    assert part(Kind.ORDERS, frozenset({"pre_submitted"}), orders) == {"topic": "sor", "args": [orders["args"][1]]}
    assert part(Kind.ORDERS, frozenset({"cancelled"}), orders) is None
    assert part(Kind.SUMMARY, frozenset({"a"}), {"result": [{"key": "a"}, {"key": "b"}, 7]}) == {
        "result": [{"key": "a"}]
    }
    assert part(Kind.SUMMARY, frozenset({"a"}), {"result": "unsubscribed"}) == {"result": "unsubscribed"}
