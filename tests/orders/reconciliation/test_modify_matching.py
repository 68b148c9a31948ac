"""How a change of an order is found in IBKR's list."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.reconciliation.ibkr_rows import MatchResult, OrderListing
from ibkr_bridge.orders.reconciliation.modify_matching import (
    figures_of_ticket,
    match_pending,
    matches_finally,
    visible_order_type,
)


def record(**criteria: Any) -> OrderRecord:
    """The record of a change that is searched for, with these match criteria."""
    order_record = OrderRecord("o", OrderOperation.MODIFY, "DU1")
    order_record.match_criteria = criteria
    return order_record


def row(**changes: Any) -> dict[str, Any]:
    """An order as IBKR lists it."""
    kind = {"orderType": "Limit", "origOrderType": "LIMIT"}
    figures = {"price": "187.50", "totalSize": 1.0, "timeInForce": "DAY"}
    return {"orderId": 7, "status": "Submitted", **kind, **figures, **changes}


def is_done(match_result: MatchResult | None) -> bool | None:
    """The verdict of a result, or None without a result."""
    return match_result.is_done if match_result is not None else None


def pending_verdict(*rows: dict[str, Any], **criteria: Any) -> bool | None:
    """The verdict on a change that may still be in flight."""
    return is_done(match_pending(record(**criteria), OrderListing(rows, (), True)))


def final_verdict(*rows: dict[str, Any], **criteria: Any) -> bool | None:
    """The verdict on a change that can no longer be in flight."""
    defaults = {"order": "7", "figures": {"price": "187.5", "quantity": "1"}, "type": "LMT"}
    return is_done(matches_finally(record(**(defaults | criteria)), OrderListing(rows, (), True)))


def test_a_change_is_recognised_by_its_figures() -> None:
    """In any form of writing. An order in a final state can no longer be changed."""
    criteria: dict[str, Any] = {
        "order": "7",
        "figures": {"price": "187.5", "quantity": "1", "tif": "day"},
        "was": {"price": "188"},
    }

    assert pending_verdict(row(), **criteria) is True
    assert pending_verdict(row(price="188"), **criteria) is None
    assert pending_verdict(row(price="188", status="Filled"), **criteria) is False
    assert pending_verdict(row(), order="7", figures={}) is None


@pytest.mark.parametrize("was", [{}, {"price": "187.50"}, {"quantity": "1.0", "tif": "DAY"}])
def test_figures_of_the_order_before_the_change_prove_nothing(was: dict[str, str]) -> None:
    """The rest of the change does not show in the list."""
    figures = {"price": "187.5", "quantity": "1", "tif": "day"}

    assert pending_verdict(row(), order="7", figures=figures, was=was) is None


def test_an_order_with_the_wanted_figures_counts_as_changed() -> None:
    """This is the verdict once the change can no longer be in flight."""
    assert final_verdict(row()) is True
    assert final_verdict(row(price="188")) is False
    assert final_verdict(row(status="Filled")) is True
    assert final_verdict(row(orderId=8)) is None


def test_a_figure_may_be_listed_with_commas() -> None:
    """IBKR writes large numbers so."""
    assert final_verdict(row(price="1,187.50"), figures={"price": "1187.5"}) is True


def test_a_member_without_a_value_is_no_figure() -> None:
    """The list would never show it."""
    assert figures_of_ticket({"auxPrice": "", "price": None, "quantity": 0, "tif": "GTC", "conid": 8}) == {
        "quantity": "0",
        "tif": "GTC",
    }


@pytest.mark.parametrize(
    ("wanted", "listed", "is_same"),
    [("day", "DAY", True), ("DAY", "GTC", False), ("GTC", "DAY", False), ("GTC", None, False)],
)
def test_a_figure_that_is_a_word_must_be_the_same_word(wanted: str, listed: str | None, is_same: bool) -> None:
    """In capitals or not."""
    assert final_verdict(row(timeInForce=listed), figures={"tif": wanted}) is is_same


@pytest.mark.parametrize(
    ("kind", "listed", "is_known"),
    [
        ("LMT", {"orderType": "Limit", "origOrderType": "LIMIT"}, True),
        ("LMT", {"orderType": "LMT", "origOrderType": None}, True),
        ("STOP_LIMIT", {"orderType": "Stop Limit", "origOrderType": "STOP_LIMIT"}, True),
        ("MIDPRICE", {"orderType": "Limit", "origOrderType": "LIMIT"}, False),
        ("LMT", {"orderType": None, "origOrderType": ""}, False),
    ],
)
def test_the_order_type_must_match_too(kind: str, listed: dict[str, Any], is_known: bool) -> None:
    """It has many spellings; an unknown one proves nothing."""
    assert final_verdict(row(**listed), type=kind) is (True if is_known else None)


@pytest.mark.parametrize("hidden", [{"outsideRTH": True}, {"trailingAmt": 1}, {"strategy": "Vwap"}, {"anything": 0}])
def test_a_field_outside_the_list_leaves_the_verdict_open(hidden: dict[str, Any]) -> None:
    """Equal figures then prove nothing at any time; different figures still do."""
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
    assert is_done(matches_finally(record(**wanted), OrderListing((row(),)))) is None
    assert is_done(matches_finally(record(**wanted), OrderListing((row(price=1),)))) is False
