"""How a change of an order is recognised in IBKR's list."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.reconciliation.ibkr_rows import MatchResult, OrderListing
from ibkr_bridge.orders.reconciliation.modify_matching import match_pending, matches_finally, visible_order_type


def record(**wanted: Any) -> OrderRecord:
    """A change that is looked for."""
    made = OrderRecord("o", OrderOperation.MODIFY, "DU1")
    made.match_criteria = wanted
    return made


def row(**given: Any) -> dict[str, Any]:
    """An order as IBKR lists it."""
    kind = {"orderType": "Limit", "origOrderType": "LIMIT"}
    figures = {"price": "187.50", "totalSize": 1.0, "timeInForce": "DAY"}
    return {"orderId": 7, "status": "Submitted", **kind, **figures, **given}


def done(match_result: MatchResult | None) -> bool | None:
    """What it says; None where nobody can say."""
    return match_result.is_done if match_result is not None else None


def looked(*rows: dict[str, Any], **wanted: Any) -> bool | None:
    """Whether a change is made that may still be on its way."""
    return done(match_pending(record(**wanted), OrderListing(rows, (), True)))


def judged(*rows: dict[str, Any], **wanted: Any) -> bool | None:
    """Whether a change is made that can be on its way no longer."""
    known = {"order": "7", "figures": {"price": "187.5", "quantity": "1"}, "type": "LMT"}
    return done(matches_finally(record(**(known | wanted)), OrderListing(rows, (), True)))


def test_a_change_is_recognised_by_its_figures() -> None:
    """However they are written; an order that has ended can be changed no more."""
    known: dict[str, Any] = {
        "order": "7",
        "figures": {"price": "187.5", "quantity": "1", "tif": "day"},
        "was": {"price": "188"},
    }

    assert looked(row(), **known) is True
    assert looked(row(price="188"), **known) is None
    assert looked(row(price="188", status="Filled"), **known) is False
    assert looked(row(), order="7", figures={}) is None


@pytest.mark.parametrize("was", [{}, {"price": "187.50"}, {"quantity": "1.0", "tif": "DAY"}])
def test_figures_that_were_there_before_prove_no_change(was: dict[str, str]) -> None:
    """What else was to change does not show in the list."""
    figures = {"price": "187.5", "quantity": "1", "tif": "day"}

    assert looked(row(), order="7", figures=figures, was=was) is None


def test_an_order_that_stands_as_it_was_to_be_was_changed_or_never_had_to_be() -> None:
    """When the change can be on its way no longer."""
    assert judged(row()) is True
    assert judged(row(price="188")) is False
    assert judged(row(status="Filled")) is True
    assert judged(row(orderId=8)) is None


@pytest.mark.parametrize(
    ("kind", "listed", "is_told"),
    [
        ("LMT", {"orderType": "Limit", "origOrderType": "LIMIT"}, True),
        ("LMT", {"orderType": "LMT", "origOrderType": None}, True),
        ("STOP_LIMIT", {"orderType": "Stop Limit", "origOrderType": "STOP_LIMIT"}, True),
        ("MIDPRICE", {"orderType": "Limit", "origOrderType": "LIMIT"}, False),
        ("LMT", {"orderType": None, "origOrderType": ""}, False),
    ],
)
def test_the_kind_of_an_order_can_be_what_was_to_change(kind: str, listed: dict[str, Any], is_told: bool) -> None:
    """It has many spellings; one that is not known proves nothing."""
    assert judged(row(**listed), type=kind) is (True if is_told else None)


@pytest.mark.parametrize("hidden", [{"outsideRTH": True}, {"trailingAmt": 1}, {"strategy": "Vwap"}, {"anything": 0}])
def test_what_the_list_does_not_show_cannot_be_told(hidden: dict[str, Any]) -> None:
    """Then figures prove nothing, however long one waits; that they are others still does."""
    ticket = {
        "conid": 1,
        "acctId": "DU1",
        "cOID": "x",
        "orderType": "LMT",
        "price": 187.5,
        "quantity": 1,
        "side": "BUY",
    }
    wanted = {"order": "7", "figures": {"price": "187.5"}}

    assert visible_order_type(ticket) == {"type": "LMT"}
    assert visible_order_type(ticket | hidden) == {}
    assert done(matches_finally(record(**wanted), OrderListing((row(),)))) is None
    assert done(matches_finally(record(**wanted), OrderListing((row(price=1),)))) is False
