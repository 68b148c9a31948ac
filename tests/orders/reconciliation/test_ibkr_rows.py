"""Rows of IBKR's lists of orders and trades."""

from __future__ import annotations

import pytest

from ibkr_bridge.orders.reconciliation.ibkr_rows import (
    CANCELLED_STATUSES,
    FINAL_STATUSES,
    OrderListing,
    order_ids_of,
    read_orders,
    read_trades,
    row_of,
    status_of,
)


@pytest.mark.parametrize(
    ("body", "rows", "is_complete"),
    [
        (b'{"orders":[{"orderId":1}],"snapshot":true}', ({"orderId": 1},), True),
        (b'{"orders":[],"snapshot":true}', (), True),
        (b'{"orders":[{"orderId":1},7],"snapshot":false}', ({"orderId": 1},), False),
        (b'{"orders":[]}', (), False),
        (b'{"snapshot":true}', (), False),
        (b'{"orders":null,"snapshot":true}', (), False),
        (b'{"orders":[],"snapshot":1}', (), False),
        (b"[]", (), False),
        (b"<html>", (), False),
    ],
)
def test_a_list_is_complete_only_if_ibkr_says_so(body: bytes, rows: tuple[object, ...], is_complete: bool) -> None:
    """An order that is missing in an incomplete list may exist all the same."""
    assert read_orders(body) == (rows, is_complete)


@pytest.mark.parametrize(("body", "rows"), [(b'[{"a":1},2]', ({"a": 1},)), (b"{}", ()), (b"", ())])
def test_trades_are_the_objects_in_a_list(body: bytes, rows: tuple[object, ...]) -> None:
    """Any other body has no trades."""
    assert read_trades(body) == rows


@pytest.mark.parametrize("row", [{"orderId": 7}, {"order_id": "7"}])
def test_an_order_is_found_by_its_id_in_every_form(row: dict[str, object]) -> None:
    """IBKR's lists differ in the name of the id, and write it as a text or a number."""
    listing = OrderListing(orders=({"orderId": 77}, row))

    assert row_of("7", listing) is row
    assert row_of("8", listing) is None


def test_order_ids_are_distinct_and_in_order() -> None:
    """An order has many trades."""
    assert order_ids_of([{"orderId": 7}, {"order_id": "8"}, {"order_id": 7}, {"orderId": 0}, {}]) == ["7", "8"]


def test_a_row_without_a_status_has_an_empty_one() -> None:
    """A cancelled order is a final one."""
    assert (status_of({"status": "Filled"}), status_of({})) == ("Filled", "")
    assert CANCELLED_STATUSES < FINAL_STATUSES
