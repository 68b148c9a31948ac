"""Order tickets: what IBKR accepts, what it refuses, and what it asks back before it obeys. Pure.

Each question has an id that programs can suppress for the session; several can follow one another for one ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.quotes import Quotes

PRICE_FAR = Decimal("0.03")
MAX_SIZE = Decimal(500)
MAX_VALUE = Decimal(1_000_000)
MAX_RESIZED = Decimal(100)
SURE = "Are you sure you want to submit this order?"  # IBKR's words, line breaks included: clients know them by heart

KINDS = frozenset({"LMT", "MKT", "STP", "STOP_LIMIT", "STP LMT", "MIDPRICE", "TRAIL", "TRAILLMT", "MOC", "LOC"})
NEEDS_PRICE = frozenset({"LMT", "STOP_LIMIT", "STP LMT", "LOC"})


class BadTicketError(Exception):
    """A ticket IBKR cannot read; it answers such ones with status 500."""


def read_ticket(ticket: Mapping[str, Any], account: str, quotes: Quotes, now: float) -> Order:
    """Make an order of a ticket.

    Raises:
        BadTicketError: something is missing or has an impossible value.
    """
    kind, side = str(ticket.get("orderType", "")).upper(), str(ticket.get("side", ""))
    conid = _conid(ticket)
    if kind not in KINDS or side not in ("BUY", "SELL") or quotes.instrument(conid) is None:
        raise BadTicketError("Bad Request: orderType, side or conid")
    limit, stop = _amount(ticket, "price"), _amount(ticket, "auxPrice")
    if kind in NEEDS_PRICE and limit is None:
        raise BadTicketError("Bad Request: price is missing")
    if kind == "STP":  # IBKR takes a stop's price from `price`
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


def _price_far(order: Order, last: Decimal, _: Order | None) -> str:
    far = order.price is not None and abs(order.price - last) > last * PRICE_FAR
    limit = f"{PRICE_FAR * 100:.0f}"
    return f"{_named(order)} price exceeds \nthe Percentage constraint of {limit}%.\n{SURE}" if far else ""


def _too_many(order: Order, last: Decimal, _: Order | None) -> str:
    return f"{_named(order)} size exceeds the Size Limit of {MAX_SIZE}.\n{SURE}" if order.size > MAX_SIZE else ""


def _too_much(order: Order, last: Decimal, _: Order | None) -> str:
    worth = order.size * (order.price or last)
    message = f"value estimate of {worth:,.2f} USD exceeds \nthe Total Value Limit of {MAX_VALUE:,} USD."
    return f"{_named(order)} {message}\n{SURE}" if worth > MAX_VALUE else ""


def _stop(order: Order, last: Decimal, _: Order | None) -> str:
    message = (
        "You are about to submit a stop order. Please be aware of the various stop order types available "
        "and the risks associated with each one."
    )
    return f"{message}\n{SURE}" if order.stop is not None else ""


def _resized(order: Order, last: Decimal, before: Order | None) -> str:
    if before is None or abs(order.size - before.size) <= MAX_RESIZED:
        return ""
    return f"{_named(order)} size modification exceeds \nthe size modification limit of {MAX_RESIZED}.\n{SURE}"


def _named(order: Order) -> str:
    return f'The following order "{order.side} {order.size}"'


QUESTIONS: tuple[tuple[str, Callable[[Order, Decimal, Order | None], str]], ...] = (
    ("o163", _price_far),
    ("o383", _too_many),
    ("o451", _too_much),
    ("o10138", _resized),
    ("o10331", _stop),
)
"""Message ids in the order in which they are asked, and when."""


def questions(order: Order, last: Decimal, before: Order | None = None) -> list[tuple[str, str]]:
    """What IBKR wants to have confirmed before it takes this order: message ids and texts.

    Args:
        before: the order as it stands, where this is a change of it.
    """
    asked = ((name, ask(order, last, before)) for name, ask in QUESTIONS)
    return [(name, text) for name, text in asked if text]


def _conid(ticket: Mapping[str, Any]) -> int:
    given = ticket.get("conid") or str(ticket.get("conidex", "")).partition("@")[0]
    try:
        return int(given)
    except (TypeError, ValueError, OverflowError):
        return 0


def _size(ticket: Mapping[str, Any]) -> Decimal:
    size = _amount(ticket, "quantity") or _amount(ticket, "cashQty") or _amount(ticket, "fxQty")
    if size is None or size <= 0:
        raise BadTicketError("Bad Request: quantity")
    return size


def _amount(ticket: Mapping[str, Any], name: str) -> Decimal | None:
    given = ticket.get(name)
    if given in (None, ""):
        return None
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        raise BadTicketError(f"Bad Request: {name}") from None
    if not amount.is_finite():
        raise BadTicketError(f"Bad Request: {name}")
    return amount
