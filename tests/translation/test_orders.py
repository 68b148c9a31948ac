"""What the journal knows and what IBKR's list shows, as one order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.models.orders import OrderKind, OrderOrigin, OrderState, OrderStatus, OrderType
from ibkr_bridge.translation.orders import (
    JournaledOrder,
    order_of,
    order_of_row,
    orders_made_elsewhere,
    row_of_status,
    status_of,
)
from tests.translation import shown

TICKET = {"conid": "265598", "ticker": "AAPL", "side": "BUY", "orderType": "LMT", "quantity": "10", "price": "150"}
ROW = {
    "acct": "DU1",
    "orderId": 7,
    "conid": 265598,
    "ticker": "AAPL",
    "secType": "STK",
    "side": "BUY",
    "orderType": "Limit",
    "totalSize": Decimal(10),
    "filledQuantity": Decimal(4),
    "remainingQuantity": Decimal(6),
    "avgPrice": "149.5",
    "price": "151",
    "status": "Submitted",
    "order_ref": "mine",
    "lastExecutionTime_r": 1_700_000_000_000,
}


def journaled(state: OrderState = OrderState.PLACED, **members: Any) -> JournaledOrder:
    """An order of the journal."""
    all_members: dict[str, Any] = {
        "kind": OrderKind.PLACE,
        "account": "DU1",
        "coids": ("mine",),
        "order_ids": ("7",),
        "ibkr_status": "PreSubmitted",
        "ticket": TICKET,
        "error": None,
        "created": "2023-11-14T22:13:00.000000Z",
        "updated": "2023-11-14T22:13:01.000000Z",
        **members,
    }
    return JournaledOrder(id="j", state=state, **all_members)


def test_the_list_is_newer_than_the_journal() -> None:
    """Fills and changed prices stand there."""
    order = order_of(journaled(), [ROW])

    assert shown(order.status, order.filled, order.average_price) == (OrderStatus.WORKING, 4, Decimal("149.5"))
    assert shown(order.limit_price, order.type) == (151, OrderType.LIMIT)
    assert (order.updated and order.updated.second) == 20


def test_without_a_row_the_ticket_describes_the_order() -> None:
    """What only IBKR knows is unknown."""
    order = order_of(journaled(), [])

    assert shown(order.symbol, order.quantity, order.limit_price, order.filled) == ("AAPL", 10, 150, None)
    assert order.status is OrderStatus.WORKING


@pytest.mark.parametrize("state", [each for each in OrderState if each is not OrderState.PLACED])
def test_only_a_placed_order_has_a_status(state: OrderState) -> None:
    """IBKR does not have the others, or nobody knows."""
    assert order_of(journaled(state), [ROW]).status is None


def test_a_row_of_another_order_is_not_used() -> None:
    """Numbers are compared, not names."""
    assert order_of(journaled(), [{**ROW, "orderId": 8}]).filled is None


def test_orders_of_the_journal_are_not_made_elsewhere() -> None:
    """Every other row of IBKR's list is."""
    rows: list[dict[str, Any]] = [ROW, {**ROW, "orderId": 8}, {"orderId": None}]

    (order,) = orders_made_elsewhere(rows, ["7"])

    assert (order.id, order.origin, order.client_order_id) == ("8", OrderOrigin.ELSEWHERE, "mine")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PreSubmitted", OrderStatus.WORKING),
        ("Filled", OrderStatus.FILLED),
        ("PendingCancel", OrderStatus.CANCELLING),
        ("Cancelled", OrderStatus.CANCELLED),
        ("Inactive", OrderStatus.INACTIVE),
        ("PendingSubmit", OrderStatus.PENDING),
        ("something new", None),
        (None, None),
    ],
)
def test_the_words_of_ibkr_have_one_meaning(word: str | None, status: OrderStatus | None) -> None:
    """A word that is not known says nothing."""
    assert status_of(word) is status


def test_the_answer_about_one_order_has_other_names() -> None:
    """They become those of the list."""
    row = row_of_status({"order_id": 7, "cum_fill": 4, "size": "6", "total_size": "10", "order_status": "Submitted"})

    assert row is not None
    order = order_of_row(row)
    assert order is not None
    assert shown(order.id, order.filled, order.remaining, order.quantity) == ("7", 4, 6, 10)
    assert (row_of_status({"error": "x"}), row_of_status([])) == (None, None)


def test_a_name_that_the_bridge_made_is_not_the_callers() -> None:
    """The caller gave none."""
    order = order_of(journaled(coids=("brdg-1a2b",)), [])

    assert (order.client_order_id, order.coid) == (None, "brdg-1a2b")


@given(
    st.dictionaries(
        st.sampled_from([*ROW, "parentId", "outsideRTH", "totalCashSize"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_any_row_can_be_read(row: dict[str, object]) -> None:
    """IBKR's answers are broken until parsed."""
    order_of_row(row)
    order_of(journaled(), [row])
