"""Rows of IBKR's lists of orders and trades, and what one look at them shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.ibkr.bodies import as_object, parsed

IDS = ("orderId", "order_id")
GOING = frozenset({"cancelled", "pendingcancel", "precancelled"})
ENDED = frozenset({"filled", "inactive", *GOING})
"""IBKR's words for an order's state, in small letters."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """One look at IBKR's lists."""

    orders: tuple[Row, ...] = ()
    trades: tuple[Row, ...] = ()
    is_whole: bool = False
    """Whether IBKR says that the list of orders is complete, so that what is not in it does not exist."""
    account: str | None = None
    """Whose orders they are; None for all."""


@dataclass(frozen=True)
class Finding:
    """What a look shows of an order: done, or certain never to be."""

    is_done: bool
    facts: Mapping[str, object] = field(default_factory=dict)


def read_orders(body: bytes) -> tuple[tuple[Row, ...], bool]:
    """The rows of a list of orders, and whether IBKR calls it complete."""
    told = as_object(body)
    rows = told.get("orders")
    return _rows(rows), told.get("snapshot") is True and isinstance(rows, list)


def read_trades(body: bytes) -> tuple[Row, ...]:
    """The rows of a list of trades."""
    return _rows(parsed(body))


def _rows(told: object) -> tuple[Row, ...]:
    return tuple(row for row in told if isinstance(row, dict)) if isinstance(told, list) else ()


def row_of(order: object, seen: Seen) -> Row | None:
    """The row of an order by its number at IBKR."""
    return next((row for row in seen.orders if any(str(row.get(name, "")) == order for name in IDS)), None)


def ids_of(rows: Iterable[Row]) -> list[str]:
    """The numbers of the orders that stand in some rows."""
    return list(dict.fromkeys(str(row[name]) for row in rows for name in IDS if row.get(name)))


def status_of(row: Row) -> str:
    """IBKR's word for an order's state, `""` where there is none."""
    return str(row.get("status", ""))
