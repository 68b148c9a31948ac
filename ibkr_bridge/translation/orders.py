"""Orders: what the journal knows and what IBKR's list shows, as one order of the plain API. Pure.

The journal knows what was sent and what became of the sending. IBKR's list knows fills and the orders that were made
elsewhere, but lists them for the day only. Where both know something, the list is newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from ibkr_bridge.models.orders import (
    BRIDGE_COID_PREFIX,
    OpenQuestion,
    Order,
    OrderKind,
    OrderOrigin,
    OrderState,
    OrderStatus,
    OrderType,
    TimeInForce,
)
from ibkr_bridge.translation.classes import asset_class_of, side_of
from ibkr_bridge.translation.numbers import (
    Row,
    object_of,
    rows_of,
    to_conid,
    to_decimal,
    to_text,
    to_time,
)
from ibkr_bridge.translation.tickets import TYPE_BY_WORD

STATUS_BY_WORD: Mapping[str, OrderStatus] = {
    "pendingsubmit": OrderStatus.PENDING,
    "presubmitted": OrderStatus.WORKING,
    "submitted": OrderStatus.WORKING,
    "pendingcancel": OrderStatus.CANCELLING,
    "precancelled": OrderStatus.CANCELLING,
    "warnstate": OrderStatus.WORKING,
    "filled": OrderStatus.FILLED,
    "cancelled": OrderStatus.CANCELLED,
    "apicancelled": OrderStatus.CANCELLED,
    "inactive": OrderStatus.INACTIVE,
}
TIME_BY_WORD: Mapping[str, TimeInForce] = {each.value.upper(): each for each in TimeInForce} | {
    "CLOSE": TimeInForce.DAY
}
FINAL_STATUSES = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.INACTIVE})


@dataclass(frozen=True)
class JournaledOrder:
    """What the journal knows of an order."""

    id: str
    kind: OrderKind
    state: OrderState
    account: str | None
    coids: tuple[str, ...]
    order_ids: tuple[str, ...]
    ibkr_status: str | None
    ticket: Row
    """The first ticket that was sent, in IBKR's form."""
    error: str | None
    created: str
    updated: str
    question: OpenQuestion | None = None
    warnings: Sequence[str] = field(default=())


def status_of(word: object) -> OrderStatus | None:
    """What a word of IBKR's says of an order; None if it says nothing."""
    return STATUS_BY_WORD.get(str(word or "").replace(" ", "").lower())


def read_order_rows(body: object) -> list[Row]:
    """The rows of IBKR's list of orders."""
    return rows_of(object_of(body).get("orders"))


def order_of(journaled: JournaledOrder, rows: Iterable[Row]) -> Order:
    """An order of the journal, with what IBKR's list knows of it."""
    row = _find_row(journaled, rows)
    figures = _figures(_row_of_members(journaled.ticket))
    figures |= {name: value for name, value in _figures(row or {}).items() if value is not None}
    status = figures["status"] if row is not None else status_of(journaled.ibkr_status)
    has_order = journaled.state is OrderState.PLACED and journaled.kind is not OrderKind.CANCEL
    members = {
        **figures,
        "status": status if has_order else None,
        "account": journaled.account or figures["account"],
        "client_order_id": _callers_name(next(iter(journaled.coids), None)),
        "coid": next(iter(journaled.coids), None),
        "order_id": next(iter(journaled.order_ids), None),
        "order_ids": list(journaled.order_ids),
        "created": _time(journaled.created),
        "updated": max(filter(None, (_time(journaled.updated), figures["updated"] if row else None)), default=None),
        "warnings": [*journaled.warnings],
    }
    return Order(
        id=journaled.id,
        kind=journaled.kind,
        state=journaled.state,
        origin=OrderOrigin.BRIDGE,
        question=journaled.question,
        error=journaled.error,
        **members,
    )


def without_old_status(order: Order) -> Order:
    """The order while IBKR does not say what has become of it: it may have filled since it was working."""
    is_final = order.status in FINAL_STATUSES
    return order if is_final or order.status is None else msgspec.structs.replace(order, status=None)


def orders_made_elsewhere(rows: Iterable[Row], journaled_names: Iterable[str]) -> list[Order]:
    """The orders of IBKR's list that no order of the journal has.

    Args:
        journaled_names: the numbers and the cOIDs of the orders of the journal.
    """
    ours = set(journaled_names)
    orders = (order_of_row(row) for row in rows)
    return [each for each in orders if each is not None and not ours & {each.id, each.coid}]


def order_of_row(row: Row, origin: OrderOrigin = OrderOrigin.ELSEWHERE) -> Order | None:
    """An order as IBKR's list alone shows it; None if the row has no number."""
    number = order_id_of(row)
    if number is None:
        return None
    return Order(
        id=number,
        kind=OrderKind.PLACE,
        state=OrderState.PLACED,
        origin=origin,
        question=None,
        error=None,
        **{
            **_figures(row),
            "client_order_id": _callers_name(to_text(row.get("order_ref"))),
            "coid": to_text(row.get("order_ref")),
            "order_id": number,
            "order_ids": [number],
            "created": None,
            "warnings": [],
        },
    )


def order_id_of(row: Row) -> str | None:
    """IBKR's number of the order in a row; None if there is none."""
    return to_text(row.get("orderId")) or to_text(row.get("order_id"))


STATUS_MEMBERS: Mapping[str, str] = {
    "order_id": "orderId",
    "account": "acct",
    "conid": "conid",
    "symbol": "ticker",
    "sec_type": "secType",
    "currency": "cashCcy",
    "side": "side",
    "order_type": "orderType",
    "total_size": "totalSize",
    "total_cash_size": "totalCashSize",
    "limit_price": "price",
    "stop_price": "auxPrice",
    "tif": "timeInForce",
    "outside_rth": "outsideRTH",
    "order_status": "status",
    "cum_fill": "filledQuantity",
    "size": "remainingQuantity",
    "average_price": "avgPrice",
    "order_ref": "order_ref",
    "parent_id": "parentId",
}
"""IBKR's names of the members of one order, and those of the same members in its list."""


def row_of_status(body: object) -> Row | None:
    """IBKR's answer about one order, with the names that its list uses; None if it is about none."""
    status = object_of(body)
    row = {name: status[own] for own, name in STATUS_MEMBERS.items() if status.get(own) not in (None, "")}
    return row if "orderId" in row else None


def row_with_journal(row: Row, ticket: Row) -> Row:
    """The row of an order with what the journal knows of its ticket: IBKR does not show everything of each order."""
    written = {"outsideRTH": False, **{name: value for name, value in _row_of_members(ticket).items() if value}}
    return {**written, **row} if ticket else row


def is_over(row: Row) -> bool:
    """Whether the order in a row can no longer be changed."""
    return status_of(row.get("status")) in FINAL_STATUSES


def row_with_ticket(row: Row, ticket: Row) -> Row:
    """The row of an order after a change, before IBKR shows it."""
    written = {name: value for name, value in _row_of_members(ticket).items() if value is not None}
    return {**row, **written}


def _find_row(journaled: JournaledOrder, rows: Iterable[Row]) -> Row | None:
    ids = journaled.order_ids[:1]  # of a bracket the first is the parent
    return next((row for row in rows if order_id_of(row) in ids), None) if ids else None


def _row_of_members(ticket: Row) -> dict[str, Any]:
    """A ticket with the names of a row."""
    return {
        "conid": ticket.get("conid"),
        "ticker": ticket.get("ticker"),
        "side": ticket.get("side"),
        "orderType": ticket.get("orderType"),
        "totalSize": ticket.get("quantity"),
        "totalCashSize": ticket.get("cashQty"),
        "price": ticket.get("price"),
        "auxPrice": ticket.get("auxPrice"),
        "timeInForce": ticket.get("tif"),
        "outsideRTH": ticket.get("outsideRTH"),
        "parentId": ticket.get("parentId"),
    }


def _figures(row: Row) -> dict[str, Any]:
    """The members of an order that a row shows; None where it shows nothing."""
    kind = order_type_of(row)
    limit, stop = _prices(row, kind)
    word = to_text(row.get("secType"))
    outside = row.get("outsideRTH")
    return {
        "status": status_of(row.get("status") or row.get("order_ccp_status")),
        "account": to_text(row.get("acct")) or to_text(row.get("account")),
        "conid": to_conid(row.get("conid")),
        "symbol": to_text(row.get("ticker")),
        "asset_class": asset_class_of(word) if word else None,
        "currency": to_text(row.get("cashCcy")),
        "side": side_of(row.get("side")),
        "type": kind,
        "quantity": to_decimal(row.get("totalSize")),
        "cash_amount": to_decimal(row.get("totalCashSize")) or None,
        "limit_price": limit,
        "stop_price": stop,
        "time_in_force": TIME_BY_WORD.get(str(row.get("timeInForce") or "").upper()),
        "outside_hours": outside if isinstance(outside, bool) else None,
        "filled": to_decimal(row.get("filledQuantity")),
        "remaining": to_decimal(row.get("remainingQuantity")),
        "average_price": to_decimal(row.get("avgPrice")) or None,
        "parent_id": to_text(row.get("parentId")),
        "updated": to_time(row.get("lastExecutionTime_r")),
    }


def order_type_of(row: Row) -> OrderType | None:
    """The type of the order in a row; None if it is none of ours."""
    word = str(row.get("origOrderType") or row.get("orderType") or "").upper().replace(" ", "_")
    return TYPE_BY_WORD.get(word)


def _prices(row: Row, kind: OrderType | None) -> tuple[Decimal | None, Decimal | None]:
    """The limit and the stop of a row: for a plain stop IBKR writes the stop as the price."""
    price, stop = to_decimal(row.get("price")), to_decimal(row.get("auxPrice"))
    if kind is OrderType.STOP:
        return None, stop if stop is not None else price
    return price, stop


def _callers_name(coid: str | None) -> str | None:
    """A cOID that is not one of those that the bridge makes."""
    return None if coid is None or coid.startswith(BRIDGE_COID_PREFIX) else coid


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None
