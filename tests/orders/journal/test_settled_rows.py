"""Rows of settled orders: found by each of their names, counted, and removed when they are old."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.settled_rows import MAX_REMOVED, Names, SettledRow, SettledRows, names_of
from ibkr_bridge.orders.journal.transitions import OrderState

PLACED, REJECTED = OrderState.PLACED, OrderState.REJECTED
ALL_NAMES = Names("digest", ("first", "second"), ("r1",), ("77", "78"), ("owner", "fingerprint"))


def row(place: int, state: OrderState = PLACED, born: float = 0.0) -> SettledRow:
    """The row of an order."""
    return SettledRow(place, f"o{place}", state, born)


@pytest.fixture
def rows() -> SettledRows:
    """Three orders; the first and the third have the same names."""
    rows = SettledRows()
    rows.add([(row(1), ALL_NAMES), (row(2, REJECTED), Names("another")), (row(3, REJECTED), ALL_NAMES)])
    return rows


@pytest.mark.parametrize(
    "name",
    [
        Names(idempotency_digest="digest"),
        Names(coids=("second",)),
        Names(replies=("r1",)),
        Names(order_ids=("78",)),
        Names(anonymous=("owner", "fingerprint")),
    ],
)
def test_an_order_is_found_by_each_of_its_names(rows: SettledRows, name: Names) -> None:
    """The latest comes first."""
    assert rows.named(name) == [row(3, REJECTED), row(1)]
    assert rows.named(name, 1) == [row(3, REJECTED)]


@pytest.mark.parametrize("name", [Names(), Names("77"), Names(coids=("digest",)), Names(anonymous=("owner", "x"))])
def test_a_name_of_another_kind_finds_nothing(rows: SettledRows, name: Names) -> None:
    """A cOID may look like another order's number."""
    assert rows.named(name) == []


def test_orders_are_listed_from_the_latest_and_counted(rows: SettledRows) -> None:
    """Of one state or of all."""
    assert [each.place for each in rows.newest_first(None, 2)] == [3, 2]
    assert [each.place for each in rows.newest_first(PLACED, 5)] == [1]
    assert rows.counts == {PLACED: 1, REJECTED: 2}


def test_a_removed_order_is_not_found(rows: SettledRows) -> None:
    """Neither by its place nor by a name."""
    rows.remove(row(3, REJECTED))

    assert rows.find(3) is None
    assert rows.named(Names("digest")) == [row(1)]
    assert rows.counts == {PLACED: 1, REJECTED: 1}


def test_old_orders_are_removed_a_few_at_a_time() -> None:
    """The event loop waits for it."""
    rows = SettledRows()
    rows.add((row(place, born=float(place)), Names(str(place))) for place in range(1, 301))

    for _ in range(3):
        rows.remove_older(250.0)

    assert rows.counts.total() == 300 - 249
    assert MAX_REMOVED < 249
    assert rows.named(Names("249")) == []
    assert rows.named(Names("250")) == [row(250, born=250.0)]


def test_only_names_that_mean_something_are_kept() -> None:
    """A refused order has given up its names; a rejected one has given up its cOID."""
    record = OrderRecord("a", OrderOperation.PLACE, owner="me", fingerprint="f", coids=("mine",), order_ids=("7",))
    record.state = REJECTED
    assert names_of(record) == Names(anonymous=("me", "f"))
    record.state = PLACED
    assert names_of(record) == Names(coids=("mine",), order_ids=("7",), anonymous=("me", "f"))
    record.may_be_sent_again = True
    assert names_of(record) == Names()
