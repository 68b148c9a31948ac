"""Orders in plain words, such as "BUY 1 AAPL LMT 10, looked for until 01:43:20". Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from ibkr_bridge.models.orders import Order, OrderKind, OrderState, OrderStatus, OrderType

TYPE_WORDS: Mapping[OrderType, str] = {
    OrderType.MARKET: "MKT",
    OrderType.LIMIT: "LMT",
    OrderType.STOP: "STP",
    OrderType.STOP_LIMIT: "STP LMT",
    OrderType.TRAIL: "TRAIL",
    OrderType.TRAIL_LIMIT: "TRAIL LIMIT",
    OrderType.MARKET_ON_CLOSE: "MOC",
    OrderType.LIMIT_ON_CLOSE: "LOC",
    OrderType.MIDPRICE: "MIDPRICE",
}
"""IBKR's own short words."""
KIND_WORDS: Mapping[OrderKind, str] = {
    OrderKind.MODIFY: "change to ",
    OrderKind.CANCEL: "cancel ",
    OrderKind.ANSWER: "answer about ",
}
STATE_WORDS: Mapping[OrderState, str] = {
    OrderState.REFUSED: "refused by the bridge, nothing was sent",
    OrderState.SENDING: "on its way to IBKR",
    OrderState.QUESTION: "IBKR asks something first",
    OrderState.PLACED: "placed",
    OrderState.REJECTED: "rejected by IBKR",
    OrderState.UNKNOWN: "sent, its answer was lost",
    OrderState.NOT_PLACED: "not placed",
}
STATUS_WORDS: Mapping[OrderStatus, str] = {
    OrderStatus.PENDING: "held by IBKR",
    OrderStatus.WORKING: "working",
    OrderStatus.CANCELLING: "being cancelled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELLED: "cancelled",
    OrderStatus.INACTIVE: "inactive",
}


def order_in_words(order: Order, searched_until: datetime | None = None) -> str:
    """The order and what became of it, in one line.

    Args:
        searched_until: when an unknown order counts as not placed.
    """
    return f"{KIND_WORDS.get(order.kind, '')}{_ticket(order)}, {_outcome(order, searched_until)}"


def _ticket(order: Order) -> str:
    size = order.quantity if order.quantity is not None else order.cash_amount
    money = order.currency or "money" if order.quantity is None and order.cash_amount is not None else None
    words = (
        order.side.value.upper() if order.side else None,
        _number(size),
        money,
        order.symbol or (f"conid {order.conid}" if order.conid else None),
        TYPE_WORDS[order.type] if order.type else None,
        _number(order.limit_price),
        f"stop {_number(order.stop_price)}" if order.stop_price is not None else None,
    )
    return " ".join(each for each in words if each) or f"order {order.order_id or order.id}"


def _outcome(order: Order, searched_until: datetime | None) -> str:
    if order.state is OrderState.UNKNOWN and searched_until is not None:
        return f"looked for until {searched_until:%H:%M:%S}"
    if order.state is OrderState.PLACED and order.status is not None:
        return STATUS_WORDS[order.status] + _filled(order)
    return STATE_WORDS[order.state]


def _filled(order: Order) -> str:
    """How much of it has filled, and at which price."""
    if not order.filled:
        return ""
    price = f" at {_number(order.average_price)}" if order.average_price is not None else ""
    part = f" {_number(order.filled)} of {_number(order.quantity)}" if order.remaining else ""
    return f"{part}{price}" if order.status is OrderStatus.FILLED else f", filled{part}{price}"


def _number(value: Decimal | None) -> str | None:
    """A number without zeros at its end."""
    if value is None:
        return None
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
