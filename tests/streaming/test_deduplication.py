"""What was told already, and what is news."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.streaming.deduplication import SeenRows
from ibkr_bridge.streaming.protocol import TopicKind


def trades(*names: str) -> list[dict[str, Any]]:
    """Rows of trades."""
    return [{"execution_id": name} for name in names]


def test_a_trade_is_news_once() -> None:
    """In whichever list it stands, with whatever IBKR adds to it later."""
    known = SeenRows(TopicKind.TRADES)

    assert known.unseen(trades("1", "2")) == trades("1", "2")
    assert known.unseen(trades("2", "3")) == trades("3")
    assert known.unseen([{"execution_id": "3", "commission": "1"}]) == []


def test_an_order_is_news_whenever_it_is_another() -> None:
    """The whole list after an outage tells nothing where nothing changed."""
    known = SeenRows(TopicKind.ORDERS)
    first, changed = {"orderId": 1, "status": "Submitted"}, {"orderId": 1, "status": "Filled"}

    assert known.unseen([first]) == [first]
    assert known.unseen([dict(reversed(first.items()))]) == []
    assert known.unseen([changed]) == [changed]
    assert known.unseen([first]) == [first]


def test_a_row_without_a_name_is_known_by_what_it_says() -> None:
    """IBKR leaves members out now and then."""
    known = SeenRows(TopicKind.TRADES)
    rows: list[dict[str, Any]] = [{"size": 1}, {"execution_id": None, "size": 2}, {"execution_id": [1]}]

    assert known.unseen(rows) == rows
    assert known.unseen(rows) == []


def test_what_is_remembered_has_a_bound() -> None:
    """The latest stay."""
    known = SeenRows(TopicKind.TRADES, max_rows=2)
    known.unseen(trades("1", "2", "3"))

    assert known.unseen(trades("3")) == []
    assert known.unseen(trades("1")) == trades("1")
