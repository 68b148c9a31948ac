"""Rows of IBKR's lists of orders and trades, and the result of one search in them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.ibkr.bodies import parse_json, parse_object

ORDER_ID_MEMBERS = ("orderId", "order_id")
CANCELLED_STATUSES = frozenset({"cancelled", "pendingcancel", "precancelled"})
FINAL_STATUSES = frozenset({"filled", "inactive", *CANCELLED_STATUSES})
"""IBKR's words for an order's state, in lower case."""

IbkrRow = Mapping[str, Any]


@dataclass(frozen=True)
class OrderListing:
    """IBKR's lists of orders and trades at one moment."""

    orders: tuple[IbkrRow, ...] = ()
    trades: tuple[IbkrRow, ...] = ()
    is_complete: bool = False
    """Whether IBKR says that the list of orders is complete, so that an order that is not in it does not exist."""
    account: str | None = None
    """Whose orders they are; None for all."""


@dataclass(frozen=True)
class MatchResult:
    """What the lists show of an order: it was carried out, or it certainly never will be."""

    is_done: bool
    facts: Mapping[str, object] = field(default_factory=dict)


def read_orders(body: bytes) -> tuple[tuple[IbkrRow, ...], bool]:
    """The rows of a list of orders, and whether IBKR calls it complete."""
    body_members = parse_object(body)
    rows = body_members.get("orders")
    return _rows(rows), body_members.get("snapshot") is True and isinstance(rows, list)


def read_trades(body: bytes) -> tuple[IbkrRow, ...]:
    """The rows of a list of trades."""
    return _rows(parse_json(body))


def _rows(value: object) -> tuple[IbkrRow, ...]:
    return tuple(row for row in value if isinstance(row, dict)) if isinstance(value, list) else ()


def row_of(order: object, listing: OrderListing) -> IbkrRow | None:
    """The row of an order with a given number at IBKR."""
    return next(
        (row for row in listing.orders if any(str(row.get(name, "")) == order for name in ORDER_ID_MEMBERS)), None
    )


def order_ids_of(rows: Iterable[IbkrRow]) -> list[str]:
    """The order numbers in some rows."""
    return list(dict.fromkeys(str(row[name]) for row in rows for name in ORDER_ID_MEMBERS if row.get(name)))


def status_of(row: IbkrRow) -> str:
    """IBKR's word for an order's state, `""` if there is none."""
    return str(row.get("status", ""))
