"""Order tickets: what IBKR accepts, what it refuses, and what it asks first."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.quotes import Quotes
from ibkr_bridge.sim.market.tickets import MAX_SIZE, MAX_SIZE_CHANGE, BadTicketError, questions, read_ticket

AAPL = 265598
QUOTES = Quotes(1)


def read_order(**members: Any) -> Order:
    """Read a market order for one share with these members instead; None leaves a member out."""
    ticket = {"conid": AAPL, "orderType": "MKT", "side": "BUY", "quantity": 1, **members}
    return read_ticket({name: value for name, value in ticket.items() if value is not None}, "DU1", QUOTES, 7.0)


def test_a_plain_ticket_becomes_an_order_for_the_day() -> None:
    """It has no number yet; the book gives one."""
    order = read_order(cOID="mine")

    assert (order.number, order.account, order.conid, order.size) == (0, "DU1", AAPL, Decimal(1))
    assert (order.tif, order.coid, order.state, order.at) == ("DAY", "mine", "Submitted", 7.0)


@pytest.mark.parametrize(
    "members",
    [
        {"orderType": "NONSENSE"},
        {"orderType": None},
        {"side": "HOLD"},
        {"side": "buy"},
        {"conid": 1},
        {"conid": "x"},
        {"conid": float("inf")},
        {"conid": None},
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": "many"},
        {"quantity": "NaN"},
        {"quantity": "Infinity"},
        {"quantity": None},
        {"orderType": "LMT"},
        {"orderType": "LMT", "price": ""},
        {"orderType": "LMT", "price": "cheap"},
    ],
)
def test_an_unreadable_ticket_is_refused(members: dict[str, Any]) -> None:
    """The message names the member and does not repeat its value."""
    with pytest.raises(BadTicketError, match="Bad Request"):
        read_order(**members)


@pytest.mark.parametrize("members", [{"conid": str(AAPL)}, {"conid": None, "conidex": f"{AAPL}@SMART"}])
def test_a_contract_may_be_written_in_other_ways(members: dict[str, Any]) -> None:
    """It may be a text, or have an exchange."""
    assert read_order(**members).conid == AAPL


@pytest.mark.parametrize("name", ["cashQty", "fxQty"])
def test_an_amount_may_replace_the_quantity(name: str) -> None:
    """It is meant for buying for a sum of money."""
    assert read_order(quantity=None, **{name: 250.5}).size == Decimal("250.5")


def test_a_stop_takes_its_price_from_either_member() -> None:
    """It waits until its price is reached, and has no limit."""
    one, other = read_order(orderType="STP", price=90), read_order(orderType="STP", price=80, auxPrice=90)

    assert (one.stop, one.price, one.state) == (Decimal(90), None, "PreSubmitted")
    assert other.stop == Decimal(90)


def test_a_child_waits_until_its_parent_has_filled() -> None:
    """It is accepted but does not work yet."""
    child = read_order(parentId="mine")

    assert (child.parent, child.state) == ("mine", "PreSubmitted")


def test_a_market_order_ignores_a_price() -> None:
    """Otherwise it would fill like a limit order."""
    assert read_order(price=1).price is None


LIMIT = replace(read_order(), kind="LMT", price=Decimal(100))
LAST = Decimal(100)


@pytest.mark.parametrize(
    ("order", "message_ids"),
    [
        (LIMIT, []),
        (replace(LIMIT, price=Decimal(103)), []),
        (replace(LIMIT, price=Decimal("103.01")), ["o163"]),
        (replace(LIMIT, price=Decimal("96.99")), ["o163"]),
        (replace(LIMIT, size=MAX_SIZE), []),
        (replace(LIMIT, size=MAX_SIZE + 1), ["o383"]),
        (replace(LIMIT, size=Decimal(10_001)), ["o383", "o451"]),
        (replace(LIMIT, stop=Decimal(99)), ["o10331"]),
    ],
)
def test_each_question_is_asked_beyond_its_bound_and_not_at_it(order: Order, message_ids: list[str]) -> None:
    """Several questions follow one another, in IBKR's order."""
    assert [name for name, _ in questions(order, LAST)] == message_ids


def test_a_change_of_size_leads_to_a_question_in_both_directions() -> None:
    """A new order has no change of size."""
    larger = replace(LIMIT, size=LIMIT.size + MAX_SIZE_CHANGE + 1)

    assert [name for name, _ in questions(larger, LAST, LIMIT)] == ["o10138"]
    assert [name for name, _ in questions(LIMIT, LAST, larger)] == ["o10138"]
    assert questions(larger, LAST) == []
