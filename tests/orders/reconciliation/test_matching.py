"""How an order, a change and a cancel are recognised in IBKR's lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.order_tickets import OrderTickets, parse_order_tickets
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.reconciliation.ibkr_rows import MatchResult, OrderListing, read_orders, read_trades
from ibkr_bridge.orders.reconciliation.matching import match, match_criteria


def record(kind: OrderOperation, **known: Any) -> OrderRecord:
    """An order that is looked for."""
    made = OrderRecord("o", kind, "DU1", coids=tuple(known.pop("names", ())))
    made.match_criteria = known
    return made


def row(**given: Any) -> dict[str, Any]:
    """An order as IBKR lists it."""
    return {
        "orderId": 7,
        "status": "Submitted",
        "acct": "DU1",
        "price": "187.50",
        "totalSize": 1.0,
        "timeInForce": "DAY",
        **given,
    }


def looked(kind: OrderOperation, *rows: dict[str, Any], whole: bool = True, **known: Any) -> bool | None:
    """Whether it is done; None where nobody can say yet."""
    match_result = match(record(kind, **known), OrderListing(rows, (), whole))
    return match_result.is_done if match_result is not None else None


def test_an_order_is_recognised_by_its_name() -> None:
    """Among the orders or, when it is filled and gone, among the trades."""
    placed = record(OrderOperation.PLACE, names=["mine", "mine-2"])

    assert match(placed, OrderListing((row(order_ref="mine"),))) == MatchResult(
        True, {"by": "cOID in orders", "order_ids": ["7"], "status": "Submitted"}
    )
    assert match(placed, OrderListing((), ({"order_ref": "mine-2", "order_id": 8},))) == MatchResult(
        True, {"by": "cOID in trades", "order_ids": ["8"], "status": ""}
    )
    assert match(placed, OrderListing((row(order_ref="another"), row()))) is None
    assert match(record(OrderOperation.PLACE), OrderListing((row(order_ref=""), row(order_ref=None)))) is None


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ("Submitted", None),
        ("PreSubmitted", None),
        ("Cancelled", True),
        ("PendingCancel", True),
        ("PreCancelled", True),
        ("Inactive", None),
        ("Filled", False),
    ],
)
def test_a_cancel_is_recognised_by_the_orders_state(status: str, done: bool | None) -> None:
    """Filled is never to be cancelled."""
    assert looked(OrderOperation.CANCEL, row(status=status), order="7") is done
    assert looked(OrderOperation.CANCEL, row(status=status, orderId=8), order="7") is None


def test_cancelling_all_is_recognised_by_none_being_left() -> None:
    """In a list that is whole, and of this account."""
    assert looked(OrderOperation.CANCEL, row(status="Cancelled"), row(acct="DU2"), order="-1") is True
    assert looked(OrderOperation.CANCEL, row(), order="-1") is None
    assert looked(OrderOperation.CANCEL, order="-1", whole=False) is None


@pytest.mark.parametrize("when", [{"trade_time_r": 1_781_600_000_000}, {"trade_time": "20260616-16:00:00"}])
def test_a_trade_of_the_day_before_is_another_orders(when: dict[str, Any]) -> None:
    """IBKR takes the same cOID again after a day."""
    placed = record(OrderOperation.PLACE, names=["mine"])
    placed.created = "2026-06-17T16:00:00.000000+00:00"

    assert match(placed, OrderListing((), ({"order_ref": "mine", "order_id": 8, **when},))) is None
    assert (
        match(placed, OrderListing((), ({"order_ref": "mine", "order_id": 8, "trade_time": "20260617-16:00:01"},)))
        is not None
    )


def test_an_answered_notice_is_recognised_by_the_order_working() -> None:
    """An order that stands still has not been answered."""
    assert looked(OrderOperation.ANSWER, row(), order="7") is True
    assert looked(OrderOperation.ANSWER, row(status="Inactive"), order="7") is None


def test_what_will_be_recognised_is_noted_when_it_is_sent() -> None:
    """Of a change its figures, of a cancel its order; nothing that is not needed."""
    figures = {"price": 187.5, "quantity": 2, "tif": "GTC", "auxPrice": ""}
    ticket = json.dumps({"conid": 1, "orderType": "LMT", **figures}).encode()

    assert match_criteria(OrderOperation.MODIFY, "7", parse_order_tickets(ticket)) == {
        "order": "7",
        "figures": {"price": "187.5", "quantity": "2", "tif": "GTC"},
        "type": "LMT",
    }
    assert match_criteria(OrderOperation.CANCEL, "7", OrderTickets()) == {"order": "7"}
    assert match_criteria(OrderOperation.ANSWER, "notification", parse_order_tickets(b'{"orderId": 9}')) == {
        "order": "9"
    }
    assert match_criteria(OrderOperation.PLACE, "orders", parse_order_tickets(ticket)) == {}


def test_a_list_tells_whether_it_is_whole() -> None:
    """The first one of a session is not."""
    assert read_orders(b'{"orders":[{"orderId":1},5],"snapshot":true}') == (({"orderId": 1},), True)
    assert read_orders(b'{"orders":[],"snapshot":false}') == ((), False)
    assert read_orders(b'{"snapshot":true}') == ((), False)
    assert read_trades(b'[{"order_id":1}]') == ({"order_id": 1},)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["orders", "snapshot", "orderId", "status", "order_ref", "price", "totalSize"]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(
    told=anything,
    kind=st.sampled_from([OrderOperation.PLACE, OrderOperation.MODIFY, OrderOperation.CANCEL, OrderOperation.ANSWER]),
)
def test_no_list_confuses_the_search(told: object, kind: OrderOperation) -> None:
    """Whatever IBKR sends."""
    body = json.dumps(told).encode()
    rows, is_whole = read_orders(body)
    sought = record(kind, names=["mine"], order="7", figures={"price": "1", "tif": "x"})

    match(sought, OrderListing(rows, read_trades(body), is_whole))
