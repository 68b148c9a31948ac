"""Tickets of the plain API as IBKR's order bodies."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ibkr_bridge.errors import ValidationFailed
from ibkr_bridge.models.orders import OrderTicket, OrderType
from ibkr_bridge.translation.tickets import FORMS, check_ticket, placement_body


def ticket(**members: Any) -> OrderTicket:
    """A ticket as a caller sends it."""
    sent = {"side": "buy", "type": "market", "symbol": "AAPL", "quantity": "1", **members}
    return msgspec.convert({name: value for name, value in sent.items() if value is not None}, OrderTicket)


def members_of(ticket: OrderTicket) -> list[dict[str, Any]]:
    """What IBKR gets."""
    check_ticket(ticket)
    return list(json.loads(placement_body(ticket, 265598, "AAPL", "parent"))["orders"])


PRICES: dict[OrderType, tuple[dict[str, Any], dict[str, Any]]] = {
    OrderType.MARKET: ({}, {"orderType": "MKT"}),
    OrderType.LIMIT: ({"limit_price": "1.5"}, {"orderType": "LMT", "price": 1.5}),
    OrderType.STOP: ({"stop_price": "1.5"}, {"orderType": "STP", "price": 1.5}),
    OrderType.STOP_LIMIT: (
        {"limit_price": "1.5", "stop_price": "2"},
        {"orderType": "STOP_LIMIT", "price": 1.5, "auxPrice": 2},
    ),
    OrderType.TRAIL: (
        {"trail": {"amount": "5", "unit": "percent"}},
        {"orderType": "TRAIL", "trailingAmt": 5, "trailingType": "%"},
    ),
    OrderType.TRAIL_LIMIT: (
        {"trail": {"amount": "5"}, "limit_price": "1", "stop_price": "2"},
        {"orderType": "TRAILLMT", "trailingAmt": 5, "trailingType": "amt", "price": 1, "auxPrice": 2},
    ),
    OrderType.MARKET_ON_CLOSE: ({}, {"orderType": "MOC"}),
    OrderType.LIMIT_ON_CLOSE: ({"limit_price": "1"}, {"orderType": "LOC", "price": 1}),
    OrderType.MIDPRICE: ({}, {"orderType": "MIDPRICE"}),
}


@pytest.mark.parametrize("kind", OrderType)
def test_each_type_is_written_as_ibkr_wants_it(kind: OrderType) -> None:
    """With exactly the prices that it has."""
    prices, written = PRICES[kind]

    (members,) = members_of(ticket(type=kind.value, **prices))

    assert members == {"conid": 265598, "ticker": "AAPL", "side": "BUY", "tif": "DAY", "quantity": 1, **written}


def test_every_type_has_a_form() -> None:
    """A type without one could not be sent."""
    assert set(FORMS) == set(OrderType) == set(PRICES)


def test_numbers_keep_their_digits() -> None:
    """A float would change them, and IBKR reads no exponents."""
    body = placement_body(ticket(type="limit", quantity="1E+3", limit_price="0.10"), 1, None, "p")

    assert b'"quantity":1000,' in body
    assert b'"price":0.10' in body


def test_a_bracket_points_to_its_parent() -> None:
    """The parent has the caller's name, or one of the bridge's; a child has none."""
    bracket = {"take_profit": "200", "stop_loss": "100"}
    named = members_of(ticket(client_order_id="mine", bracket=bracket))
    unnamed = members_of(ticket(bracket=bracket))

    assert [each.get("cOID") for each in named] == ["mine", None, None]
    assert [each.get("parentId") for each in unnamed] == [None, "parent", "parent"]
    assert [(each["side"], each["orderType"], each["tif"]) for each in named[1:]] == [
        ("SELL", "LMT", "GTC"),
        ("SELL", "STP", "GTC"),
    ]


def test_an_order_without_a_bracket_gets_no_name() -> None:
    """The bridge adds one later if the settings say so."""
    assert "cOID" not in members_of(ticket())[0]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"conid": 5}, "symbol"),
        ({"cash_amount": "1"}, "quantity"),
        ({"quantity": "Infinity"}, "quantity"),
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "0.000000001"}, "quantity"),
        ({"quantity": "1e10"}, "quantity"),
        ({"type": "limit", "limit_price": "NaN"}, "limit_price"),
        ({"type": "limit", "limit_price": "1.123456789"}, "limit_price"),
        ({"type": "trail", "trail": {"amount": "101", "unit": "percent"}}, "trail.amount"),
        ({"trail": {"amount": "1"}}, "trail"),
        ({"bracket": {}}, "bracket"),
        ({"side": "sell", "bracket": {"take_profit": "2", "stop_loss": "1"}}, "bracket.take_profit"),
        ({"quantity": None, "cash_amount": "5", "bracket": {"stop_loss": "1"}}, "cash_amount"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], field: str) -> None:
    """The first thing that is."""
    with pytest.raises(ValidationFailed) as caught:
        check_ticket(ticket(**members))

    assert caught.value.field == field


def test_a_negative_limit_is_a_price() -> None:
    """Spreads and some futures trade below zero."""
    check_ticket(ticket(type="limit", limit_price="-1.5"))
