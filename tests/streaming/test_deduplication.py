"""Which rows of orders and trades were sent to subscribers before, and which are new."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.streaming.deduplication import SeenRows
from ibkr_bridge.streaming.protocol import TopicKind


def trades(*execution_ids: str) -> list[dict[str, Any]]:
    """Rows of trades."""
    return [{"execution_id": execution_id} for execution_id in execution_ids]


def test_a_trade_is_new_once() -> None:
    """IBKR repeats it in later lists, and adds its commission later. A subscriber must not count it twice."""
    seen_rows = SeenRows(TopicKind.TRADES)

    assert seen_rows.unseen(trades("1", "2")) == trades("1", "2")
    assert seen_rows.unseen(trades("2", "3")) == trades("3")
    assert seen_rows.unseen([{"execution_id": "3", "commission": "1"}]) == []


def test_an_order_is_new_whenever_its_row_has_changed() -> None:
    """After an outage IBKR sends the complete list; orders that did not change are no events."""
    seen_rows = SeenRows(TopicKind.ORDERS)
    first, changed = {"orderId": 1, "status": "Submitted"}, {"orderId": 1, "status": "Filled"}

    assert seen_rows.unseen([first]) == [first]
    assert seen_rows.unseen([dict(reversed(first.items()))]) == []
    assert seen_rows.unseen([changed]) == [changed]
    assert seen_rows.unseen([first]) == [first]


def test_a_row_without_an_id_is_compared_by_its_content() -> None:
    """IBKR sometimes leaves out the member with the id."""
    seen_rows = SeenRows(TopicKind.TRADES)
    rows: list[dict[str, Any]] = [{"size": 1}, {"execution_id": None, "size": 2}, {"execution_id": [1]}]

    assert seen_rows.unseen(rows) == rows
    assert seen_rows.unseen(rows) == []


def test_the_number_of_remembered_rows_is_limited() -> None:
    """The memory of a busy account must not grow without end. The latest rows are kept."""
    seen_rows = SeenRows(TopicKind.TRADES, max_rows=2)
    seen_rows.unseen(trades("1", "2", "3"))

    assert seen_rows.unseen(trades("3")) == []
    assert seen_rows.unseen(trades("1")) == trades("1")
