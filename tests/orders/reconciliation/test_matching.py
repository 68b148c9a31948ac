"""How a placement, a change and a cancel are found in IBKR's lists."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.order_tickets import OrderTickets, parse_order_tickets
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.reconciliation.ibkr_rows import MatchResult, OrderListing, read_orders, read_trades
from ibkr_bridge.orders.reconciliation.matching import has_similar, match, match_criteria
from ibkr_bridge.orders.reconciliation.possible_duplicates import similarity


def record(kind: OrderOperation, **criteria: Any) -> OrderRecord:
    """The record of an order that is searched for; the other arguments are its match criteria."""
    order_record = OrderRecord("o", kind, "DU1", coids=tuple(criteria.pop("names", ())))
    order_record.match_criteria = criteria
    return order_record


def row(**changes: Any) -> dict[str, Any]:
    """An order as IBKR lists it."""
    return {
        "orderId": 7,
        "status": "Submitted",
        "acct": "DU1",
        "price": "187.50",
        "totalSize": 1.0,
        "timeInForce": "DAY",
        **changes,
    }


def is_done(kind: OrderOperation, *rows: dict[str, Any], is_complete: bool = True, **criteria: Any) -> bool | None:
    """True if the rows show that the call was carried out, None if they show neither that nor the opposite."""
    match_result = match(record(kind, **criteria), OrderListing(rows, (), is_complete))
    return match_result.is_done if match_result is not None else None


def test_a_placement_is_found_by_its_coid() -> None:
    """Among the orders or, if it was filled and is no longer listed, among the trades."""
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
    ("status", "expected"),
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
def test_a_cancel_is_recognised_by_the_status_of_the_order(status: str, expected: bool | None) -> None:
    """A filled order can no longer be cancelled."""
    assert is_done(OrderOperation.CANCEL, row(status=status), order="7") is expected
    assert is_done(OrderOperation.CANCEL, row(status=status, orderId=8), order="7") is None


def test_a_cancel_of_all_orders_is_done_if_none_is_open() -> None:
    """The list must be complete, and only orders of the same account count."""
    assert is_done(OrderOperation.CANCEL, row(status="Cancelled"), row(acct="DU2"), order="-1") is True
    assert is_done(OrderOperation.CANCEL, row(), order="-1") is None
    assert is_done(OrderOperation.CANCEL, row(acct=None, account="DU1"), order="-1") is None
    assert is_done(OrderOperation.CANCEL, row(acct="DU2", account="DU2"), order="-1") is True
    assert is_done(OrderOperation.CANCEL, order="-1", is_complete=False) is None


@pytest.mark.parametrize("trade_time", [{"trade_time_r": 1_781_600_000_000}, {"trade_time": "20260616-16:00:00"}])
def test_a_trade_of_an_earlier_day_belongs_to_another_order(trade_time: dict[str, Any]) -> None:
    """IBKR accepts the same cOID again after a day."""
    placed = record(OrderOperation.PLACE, names=["mine"])
    placed.created = "2026-06-17T16:00:00.000000+00:00"

    assert match(placed, OrderListing((), ({"order_ref": "mine", "order_id": 8, **trade_time},))) is None
    assert (
        match(placed, OrderListing((), ({"order_ref": "mine", "order_id": 8, "trade_time": "20260617-16:00:01"},)))
        is not None
    )


@pytest.mark.parametrize(("trade_time", "is_own"), [("15:58:00", True), ("15:57:59", False)])
@pytest.mark.parametrize("is_text", [True, False])
def test_a_trade_may_be_two_minutes_older_than_its_order(trade_time: str, is_own: bool, is_text: bool) -> None:
    """IBKR's clock and ours may differ by so much."""
    placed = record(OrderOperation.PLACE, names=["mine"])
    placed.created = "2026-06-17T16:00:00.000000+00:00"
    time_ms = 1000 * datetime.fromisoformat(f"2026-06-17T{trade_time}+00:00").timestamp()
    when = {"trade_time": f"20260617-{trade_time}"} if is_text else {"trade_time_r": time_ms}

    assert (match(placed, OrderListing((), ({"order_ref": "mine", "order_id": 8, **when},))) is not None) is is_own


def test_the_status_of_a_bracket_is_that_of_its_first_order() -> None:
    """Its children wait for the parent."""
    placed = record(OrderOperation.PLACE, names=["mine", "mine-2"])
    rows = row(order_ref="mine"), row(order_ref="mine-2", orderId=8, status="Inactive")

    match_result = match(placed, OrderListing(rows))

    assert match_result is not None
    assert (match_result.facts["status"], match_result.facts["order_ids"]) == ("Submitted", ["7", "8"])


def test_an_order_without_known_tickets_may_be_any() -> None:
    """Nothing shows that it is not there. Of known tickets, only an alike row can be the order."""
    unknown, known = record(OrderOperation.PLACE), record(OrderOperation.PLACE)
    known.match_criteria = similarity([{"conid": 8, "side": "BUY"}])

    assert has_similar(unknown, OrderListing())
    assert not has_similar(known, OrderListing())
    assert not has_similar(known, OrderListing((row(conid=9, side="BUY"),)))
    assert has_similar(known, OrderListing((row(conid=8, side="BUY"),)))


def test_an_answered_notice_is_recognised_by_an_active_order() -> None:
    """An inactive order still waits for the answer."""
    assert is_done(OrderOperation.ANSWER, row(), order="7") is True
    for status in ("Inactive", "WarnState", ""):
        assert is_done(OrderOperation.ANSWER, row(status=status), order="7") is None


def test_the_match_criteria_are_recorded_when_a_call_is_sent() -> None:
    """The figures of a change, the order of a cancel, and nothing that is not needed."""
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


def test_a_list_shows_whether_it_is_complete() -> None:
    """The first one of a session is not."""
    assert read_orders(b'{"orders":[{"orderId":1},5],"snapshot":true}') == (({"orderId": 1},), True)
    assert read_orders(b'{"orders":[],"snapshot":false}') == ((), False)
    assert read_orders(b'{"snapshot":true}') == ((), False)
    assert read_trades(b'[{"order_id":1}]') == ({"order_id": 1},)


json_values = st.recursive(
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
    value=json_values,
    kind=st.sampled_from([OrderOperation.PLACE, OrderOperation.MODIFY, OrderOperation.CANCEL, OrderOperation.ANSWER]),
)
def test_no_list_makes_the_search_raise(value: object, kind: OrderOperation) -> None:
    """IBKR may send any JSON."""
    body = json.dumps(value).encode()
    rows, is_complete = read_orders(body)
    sought = record(kind, names=["mine"], order="7", figures={"price": "1", "tif": "x"})

    match(sought, OrderListing(rows, read_trades(body), is_complete))
