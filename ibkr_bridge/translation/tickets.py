"""Tickets of the plain API as IBKR's order bodies, and what is wrong with a ticket before anything is sent. Pure.

IBKR wants `price` for a limit and, for a plain stop, `price` too, but `auxPrice` for the stop of a stop-limit order.
One table has the members of each type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from ibkr_bridge.errors import ValidationFailed
from ibkr_bridge.models.base import Side
from ibkr_bridge.models.orders import (
    BRIDGE_COID_PREFIX,
    Bracket,
    OrderTicket,
    OrderType,
    TimeInForce,
    Trail,
    TrailUnit,
)

MAX_PRICE, MAX_QUANTITY, MAX_PLACES = Decimal(10) ** 9, Decimal(10) ** 9, 8
MAX_PERCENT = Decimal(100)


@dataclass(frozen=True)
class TypeForm:
    """How one type of order is written, and which prices it needs."""

    word: str
    limit_member: str | None = None
    """Where IBKR wants the limit; None if the type has none."""
    stop_member: str | None = None
    """Where IBKR wants the stop; None if the type has none."""
    has_trail: bool = False
    is_limit_optional: bool = False


FORMS: Mapping[OrderType, TypeForm] = {
    OrderType.MARKET: TypeForm("MKT"),
    OrderType.LIMIT: TypeForm("LMT", "price"),
    OrderType.STOP: TypeForm("STP", stop_member="price"),
    OrderType.STOP_LIMIT: TypeForm("STOP_LIMIT", "price", "auxPrice"),
    OrderType.TRAIL: TypeForm("TRAIL", has_trail=True),
    OrderType.TRAIL_LIMIT: TypeForm("TRAILLMT", "price", "auxPrice", has_trail=True),
    OrderType.MARKET_ON_CLOSE: TypeForm("MOC"),
    OrderType.LIMIT_ON_CLOSE: TypeForm("LOC", "price"),
    OrderType.MIDPRICE: TypeForm("MIDPRICE", "price", is_limit_optional=True),
}
TYPE_BY_WORD: Mapping[str, OrderType] = {
    **{form.word: kind for kind, form in FORMS.items()},
    **{"LIMIT": OrderType.LIMIT, "MARKET": OrderType.MARKET, "STOP": OrderType.STOP, "STP_LIMIT": OrderType.STOP_LIMIT},
    **{"STOPLIMIT": OrderType.STOP_LIMIT, "STPLMT": OrderType.STOP_LIMIT, "TRAIL_LIMIT": OrderType.TRAIL_LIMIT},
}
TRAIL_UNITS: Mapping[TrailUnit, str] = {TrailUnit.AMOUNT: "amt", TrailUnit.PERCENT: "%"}
TIMES: Mapping[TimeInForce, str] = {each: each.value.upper() for each in TimeInForce}
LISTED_DAY = "CLOSE"  # IBKR's list says that of an order for the day, and takes it in no ticket
OUTSIDE_HOURS_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
"""Types that IBKR fills outside regular hours: it ignores the flag of the others, or refuses them."""
encode_body = msgspec.json.Encoder(decimal_format="number").encode


def check_ticket(ticket: OrderTicket) -> None:
    """Check everything that is known to be wrong with a ticket before IBKR sees it.

    Raises:
        ValidationFailed: the first thing that is wrong, with its field.
    """
    for problem in _problems(ticket):
        raise problem


def _problems(ticket: OrderTicket) -> Iterator[ValidationFailed]:
    if (ticket.symbol is None) == (ticket.conid is None):
        yield ValidationFailed("the order needs either a symbol or a conid", field="symbol")
    if (ticket.quantity is None) == (ticket.cash_amount is None):
        yield ValidationFailed("the order needs either a quantity or a cash amount", field="quantity")
    if (ticket.client_order_id or "").endswith("\n"):  # its pattern ends with $, which allows that
        yield ValidationFailed("a client_order_id has no line break", field="client_order_id")
    if (ticket.client_order_id or "").startswith(BRIDGE_COID_PREFIX):
        yield ValidationFailed(
            f"names that begin with {BRIDGE_COID_PREFIX} are the bridge's own", field="client_order_id"
        )
    yield from number_problems("quantity", ticket.quantity, MAX_QUANTITY)
    yield from number_problems("cash_amount", ticket.cash_amount, MAX_PRICE)
    form = FORMS[ticket.type]
    yield from price_problems("limit_price", ticket.limit_price, form.limit_member, ticket.type, form.is_limit_optional)
    yield from price_problems("stop_price", ticket.stop_price, form.stop_member, ticket.type)
    yield from trail_problems(ticket.trail, ticket.type)
    yield from hours_problems(ticket.outside_hours, ticket.type)
    yield from _bracket_problems(ticket)


def hours_problems(outside_hours: bool | None, kind: OrderType) -> Iterator[ValidationFailed]:
    """What is wrong with the hours of an order."""
    if outside_hours and kind not in OUTSIDE_HOURS_TYPES:
        yield ValidationFailed(
            f"an order of type {kind.value} does not fill outside regular hours", field="outside_hours"
        )


def number_problems(field: str, number: Decimal | None, maximum: Decimal) -> Iterator[ValidationFailed]:
    """What is wrong with a quantity or an amount."""
    if number is None:
        return
    if not number.is_finite() or not 0 < number <= maximum:
        yield ValidationFailed(f"{field} must be a number above 0 and at most {maximum}", field=field)
    elif int(number.as_tuple().exponent) < -MAX_PLACES:
        yield ValidationFailed(f"{field} has more than {MAX_PLACES} decimal places", field=field)


def price_problems(
    field: str, price: Decimal | None, member: str | None, kind: OrderType, is_optional: bool = False
) -> Iterator[ValidationFailed]:
    """What is wrong with a price: it is missing, too many, or no price."""
    if member is None and price is not None:
        yield ValidationFailed(f"an order of type {kind.value} has no {field}", field=field)
    elif member is not None and price is None and not is_optional:
        yield ValidationFailed(f"an order of type {kind.value} needs a {field}", field=field)
    elif price is not None and (not price.is_finite() or abs(price) > MAX_PRICE):
        yield ValidationFailed(f"{field} must be a price of at most {MAX_PRICE}", field=field)
    elif price is not None and int(price.as_tuple().exponent) < -MAX_PLACES:
        yield ValidationFailed(f"{field} has more than {MAX_PLACES} decimal places", field=field)


def trail_problems(trail: Trail | None, kind: OrderType) -> Iterator[ValidationFailed]:
    """What is wrong with a trailing distance."""
    needs_trail = FORMS[kind].has_trail
    if (trail is not None) != needs_trail:
        word = "needs" if needs_trail else "has no"
        yield ValidationFailed(f"an order of type {kind.value} {word} trail", field="trail")
    elif trail is not None:
        maximum = MAX_PERCENT if trail.unit is TrailUnit.PERCENT else MAX_PRICE
        yield from number_problems("trail.amount", trail.amount, maximum)


def _bracket_problems(ticket: OrderTicket) -> Iterator[ValidationFailed]:
    bracket = ticket.bracket
    if bracket is None:
        return
    profit, loss = bracket.take_profit, bracket.stop_loss
    if profit is None and loss is None:
        yield ValidationFailed("a bracket needs a take_profit, a stop_loss or both", field="bracket")
    for field, price in (("bracket.take_profit", profit), ("bracket.stop_loss", loss)):
        yield from number_problems(field, price, MAX_PRICE)
    if ticket.cash_amount is not None:
        yield ValidationFailed("a bracket needs a quantity", field="cash_amount")
    if profit is not None and loss is not None and (profit <= loss) == (ticket.side is Side.BUY):
        yield ValidationFailed(
            "the take_profit of a purchase is above its stop_loss, that of a sale below", field="bracket.take_profit"
        )


def placement_body(ticket: OrderTicket, conid: int, symbol: str | None, parent_coid: str) -> bytes:
    """The body of a placement: one ticket, or a parent with its children.

    Args:
        conid, symbol: its instrument; the symbol is for those who read the order later.
        parent_coid: the cOID of a parent that its caller has given no name.
    """
    coid = ticket.client_order_id or (parent_coid if ticket.bracket else None)
    names = {"ticker": symbol, "cOID": coid}
    parent = {**ticket_members(ticket, conid), **{name: text for name, text in names.items() if text}}
    children = _children(ticket, conid, coid) if ticket.bracket and coid else ()
    return encode_body({"orders": [parent, *children]})


def ticket_members(ticket: OrderTicket, conid: int) -> dict[str, Any]:
    """A ticket in IBKR's form, without names."""
    members = {
        "conid": conid,
        "orderType": FORMS[ticket.type].word,
        "side": ticket.side.value.upper(),
        "tif": TIMES[ticket.time_in_force],
        "quantity": exact(ticket.quantity),
        "cashQty": exact(ticket.cash_amount),
        "outsideRTH": True if ticket.outside_hours else None,
        **price_members(FORMS[ticket.type], ticket.limit_price, ticket.stop_price, ticket.trail),
    }
    return {name: value for name, value in members.items() if value is not None}


def price_members(
    form: TypeForm, limit: Decimal | None, stop: Decimal | None, trail: Trail | None
) -> dict[str, object]:
    """The prices of a ticket, where IBKR wants them for its type."""
    members: dict[str, object] = {}
    if form.limit_member is not None:
        members[form.limit_member] = exact(limit)
    if form.stop_member is not None:
        members[form.stop_member] = exact(stop)
    if trail is not None:
        members |= {"trailingAmt": exact(trail.amount), "trailingType": TRAIL_UNITS[trail.unit]}
    return members


def exact(number: Decimal | None) -> Decimal | None:
    """The number in a form that is written without an exponent."""
    return None if number is None else Decimal(f"{number:f}")


def _children(ticket: OrderTicket, conid: int, parent: str) -> Iterator[dict[str, Any]]:
    """The orders that close the position; IBKR allows no cOID on a child."""
    bracket = ticket.bracket or Bracket()
    side = Side.SELL if ticket.side is Side.BUY else Side.BUY
    shared = {
        "conid": conid,
        "side": side.value.upper(),
        "quantity": exact(ticket.quantity),
        "tif": TIMES[TimeInForce.GTC],
        "parentId": parent,
    }
    if bracket.take_profit is not None:
        yield {**shared, "orderType": FORMS[OrderType.LIMIT].word, "price": exact(bracket.take_profit)}
    if bracket.stop_loss is not None:
        yield {**shared, "orderType": FORMS[OrderType.STOP].word, "price": exact(bracket.stop_loss)}
