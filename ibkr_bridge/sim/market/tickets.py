"""Order tickets: what IBKR accepts, what it refuses, and what it asks first. Pure.

Each question has a message id, which programs can suppress for the session. One ticket can lead to several questions,
one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.instruments import ONE, find_instrument
from ibkr_bridge.sim.market.quotes import Quotes

MAX_PRICE_DISTANCE = Decimal("0.03")
MAX_SIZE = Decimal(500)
MAX_VALUE = Decimal(1_000_000)
MAX_SIZE_CHANGE = Decimal(100)
CONFIRMATION = (
    "Are you sure you want to submit this order?"  # IBKR's words with their line breaks, as clients compare them
)

KINDS = frozenset({"LMT", "MKT", "STP", "STOP_LIMIT", "STP LMT", "MIDPRICE", "TRAIL", "TRAILLMT", "MOC", "LOC"})
NEEDS_PRICE = frozenset({"LMT", "STOP_LIMIT", "STP LMT", "LOC"})


class BadTicketError(Exception):
    """IBKR cannot read the ticket; it answers with status 500."""


def read_ticket(ticket: Mapping[str, Any], account: str, quotes: Quotes, now: float) -> Order:
    """Return the order of a ticket; its number is 0 until it is placed.

    Raises:
        BadTicketError: a member is missing or has an impossible value.
    """
    kind, side = str(ticket.get("orderType", "")).upper(), str(ticket.get("side", ""))
    conid = _conid(ticket)
    if kind not in KINDS or side not in ("BUY", "SELL") or quotes.instrument(conid) is None:
        raise BadTicketError("Bad Request: orderType, side or conid")
    limit, stop = _amount(ticket, "price"), _amount(ticket, "auxPrice")
    if kind in NEEDS_PRICE and limit is None:
        raise BadTicketError("Bad Request: price is missing")
    if kind == "STP":  # IBKR reads a stop's price from `price`
        limit, stop = None, stop or limit
    child = str(ticket.get("parentId", "") or "")
    return Order(
        number=0,
        account=account,
        conid=conid,
        side=side,
        kind=kind,
        size=_size(ticket),
        price=limit if kind in NEEDS_PRICE else None,
        stop=stop,
        tif=str(ticket.get("tif", "DAY")),
        coid=str(ticket.get("cOID", "") or ""),
        parent=child,
        state="PreSubmitted" if child or stop is not None else "Submitted",
        at=now,
        referrer=str(ticket.get("referrer", "") or ""),
    )


def _price_question(order: Order, last: Decimal, _: Order | None) -> str:
    is_far = order.price is not None and abs(order.price - last) > last * MAX_PRICE_DISTANCE
    limit = f"{MAX_PRICE_DISTANCE * 100:.0f}"
    return (
        f"{_order_text(order)} price exceeds \nthe Percentage constraint of {limit}%.\n{CONFIRMATION}" if is_far else ""
    )


def _size_question(order: Order, last: Decimal, _: Order | None) -> str:
    return (
        f"{_order_text(order)} size exceeds the Size Limit of {MAX_SIZE}.\n{CONFIRMATION}"
        if order.size > MAX_SIZE
        else ""
    )


def _value_question(order: Order, last: Decimal, _: Order | None) -> str:
    instrument = find_instrument(order.conid)
    multiplier, currency = (instrument.multiplier, instrument.currency) if instrument else (ONE, "USD")
    value = order.size * (order.price or last) * multiplier
    message = f"value estimate of {value:,.2f} {currency} exceeds \nthe Total Value Limit of {MAX_VALUE:,} {currency}."
    return f"{_order_text(order)} {message}\n{CONFIRMATION}" if value > MAX_VALUE else ""


def _stop_question(order: Order, last: Decimal, _: Order | None) -> str:
    message = (
        "You are about to submit a stop order. Please be aware of the various stop order types available "
        "and the risks associated with each one."
    )
    return f"{message}\n{CONFIRMATION}" if order.stop is not None else ""


def _size_change_question(order: Order, last: Decimal, present_order: Order | None) -> str:
    if present_order is None or abs(order.size - present_order.size) <= MAX_SIZE_CHANGE:
        return ""
    message = f"size modification exceeds \nthe size modification limit of {MAX_SIZE_CHANGE}."
    return f"{_order_text(order)} {message}\n{CONFIRMATION}"


def _order_text(order: Order) -> str:
    return f'The following order "{order.side} {order.size}"'


QUESTIONS: tuple[tuple[str, Callable[[Order, Decimal, Order | None], str]], ...] = (
    ("o163", _price_question),
    ("o383", _size_question),
    ("o451", _value_question),
    ("o10138", _size_change_question),
    ("o10331", _stop_question),
)
"""Message ids in the order in which they are asked, each with the function that returns the question's text, if any."""


def questions(order: Order, last: Decimal, present_order: Order | None = None) -> list[tuple[str, str]]:
    """The questions that must be confirmed before IBKR accepts this order: message ids and texts.

    Args:
        before: the present order, if `order` is a change of it.
    """
    texts = ((name, question(order, last, present_order)) for name, question in QUESTIONS)
    return [(name, text) for name, text in texts if text]


def _conid(ticket: Mapping[str, Any]) -> int:
    conid = ticket.get("conid") or str(ticket.get("conidex", "")).partition("@")[0]
    try:
        return int(conid)
    except (TypeError, ValueError, OverflowError):
        return 0


def _size(ticket: Mapping[str, Any]) -> Decimal:
    size = _amount(ticket, "quantity") or _amount(ticket, "cashQty") or _amount(ticket, "fxQty")
    if size is None or size <= 0:
        raise BadTicketError("Bad Request: quantity")
    return size


def _amount(ticket: Mapping[str, Any], name: str) -> Decimal | None:
    value = ticket.get(name)
    if value in (None, ""):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise BadTicketError(f"Bad Request: {name}") from None
    if not amount.is_finite():
        raise BadTicketError(f"Bad Request: {name}")
    return amount
