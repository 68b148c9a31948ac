"""How an order, a change or a cancel is recognised in IBKR's lists of orders and trades. Pure.

An order is recognised by its cOID, which IBKR echoes as `order_ref`. A change is by the new figures standing at the
order, a cancel by the order's state. What is found is proof; that nothing is found is one only after a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_bridge.endpoint import Order
from ibkr_bridge.orders.record import Record
from ibkr_bridge.telling import as_object, parsed

ALL = "-1"  # as an order's id: every order of the account
NAMES = ("order_ref", "cOID", "local_order_id", "orderRef")
IDS = ("orderId", "order_id")
FIGURES = (("price", "price"), ("auxPrice", "auxPrice"), ("quantity", "totalSize"), ("tif", "timeInForce"))
"""Of a ticket, and what IBKR's list calls them."""
CLOCKS_DIFFER = 120.0  # seconds by which IBKR's clock and ours may
LIKENESS = ("conid", "side")
GOING = frozenset({"cancelled", "pendingcancel", "precancelled"})
ENDED = frozenset({"filled", "inactive", *GOING})

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


def wanted(kind: Order, subject: str, body: bytes) -> dict[str, Any]:
    """By what a call will be recognised that is no new order: the order it is about, and a change's figures."""
    ticket = as_object(body)
    if kind is Order.ANSWER:
        return {"order": str(ticket.get("orderId", ""))}
    if kind is Order.MODIFY:
        return {"order": subject, "figures": figures_in(ticket)}
    return {"order": subject} if kind is Order.CANCEL else {}


def figures_in(ticket: Row) -> dict[str, str]:
    """The figures of a ticket that IBKR's list shows."""
    return {name: str(ticket[name]) for name, _ in FIGURES if ticket.get(name) not in (None, "")}


def alike(tickets: Iterable[Row]) -> dict[str, Any]:
    """By what a new order without a name could be recognised, though never for sure."""
    return {"alike": [{name: str(ticket.get(name, "")) for name in LIKENESS} for ticket in tickets]}


def is_like(record: Record, seen: Seen) -> bool:
    """Whether anything in the lists could be an order without a name; where nothing is, it does not exist."""
    told = record.wanted.get("alike")
    likenesses = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    rows = (*seen.orders, *seen.trades)
    return not likenesses or any(_looks_like(row, likeness) for row in rows for likeness in likenesses)


def _looks_like(row: Row, likeness: Row) -> bool:
    conid = str(likeness.get("conid", "")).partition("@")[0]
    side = str(likeness.get("side", ""))[:1].upper()
    return str(row.get("conid", "")) == conid and str(row.get("side", ""))[:1].upper() == side


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


def find(record: Record, seen: Seen) -> Finding | None:
    """What a look shows of an order; None where it shows nothing yet."""
    return FOUND_BY[record.kind](record, seen)


def _placed(record: Record, seen: Seen) -> Finding | None:
    for where, rows in (("orders", seen.orders), ("trades", seen.trades)):
        found = [row for row in rows if _has_name(row, record) and not _is_older(row, record)]
        if found:
            return Finding(True, {"by": f"cOID in {where}", "order_ids": _ids(found), "status": _status(found[0])})
    return None


def _has_name(row: Row, record: Record) -> bool:
    return any(str(row.get(name)) in record.names for name in NAMES if row.get(name))


def _is_older(row: Row, record: Record) -> bool:
    """Whether a trade was made before the order was: IBKR takes the same name again after a day."""
    made = _made_at(row)
    return (
        made is not None
        and bool(record.created)
        and (made < datetime.fromisoformat(record.created).timestamp() - CLOCKS_DIFFER)
    )


def _made_at(row: Row) -> float | None:
    """When a trade was made, in seconds since 1970; None for what is no trade, or does not say."""
    told, text = row.get("trade_time_r"), row.get("trade_time")
    if isinstance(told, int | float):
        return told / 1000
    try:
        return datetime.strptime(str(text), "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _changed(record: Record, seen: Seen) -> Finding | None:
    row = _row_of(record, seen)
    figures = record.wanted.get("figures", {})
    if row is None or not differs(record):
        return None  # figures that were there before prove nothing
    same = all(_is_same(row.get(theirs), figures[ours]) for ours, theirs in FIGURES if ours in figures)
    if same:
        return Finding(True, {"by": "its figures in orders", "order_ids": _ids([row]), "status": _status(row)})
    return Finding(False, {"status": _status(row)}) if _status(row).lower() in ENDED else None


def _cancelled(record: Record, seen: Seen) -> Finding | None:
    if record.wanted.get("order") == ALL:
        return _all_cancelled(record, seen)
    row = _row_of(record, seen)
    if row is None:
        return None
    state = _status(row)
    facts = {"by": "its state in orders", "order_ids": _ids([row]), "status": state}
    return Finding(state.lower() in GOING, facts) if state.lower() in {"filled", *GOING} else None


def _all_cancelled(record: Record, seen: Seen) -> Finding | None:
    if not seen.is_whole:
        return None
    own = [row for row in seen.orders if record.account in (None, row.get("acct"), row.get("account"))]
    working = [row for row in own if _status(row).lower() not in ENDED]
    return None if working else Finding(True, {"by": "no working order in orders"})


def _answered(record: Record, seen: Seen) -> Finding | None:
    row = _row_of(record, seen)
    if row is None or _status(row).lower() in ("", "inactive", "warnstate"):
        return None
    return Finding(True, {"by": "its state in orders", "order_ids": _ids([row]), "status": _status(row)})


FOUND_BY: Mapping[Order, Callable[[Record, Seen], Finding | None]] = {
    Order.PLACE: _placed,
    Order.MODIFY: _changed,
    Order.CANCEL: _cancelled,
    Order.ANSWER: _answered,
}


def _row_of(record: Record, seen: Seen) -> Row | None:
    number = record.wanted.get("order")
    return next((row for row in seen.orders if any(str(row.get(name, "")) == number for name in IDS)), None)


def _ids(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(str(row[name]) for row in rows for name in IDS if row.get(name)))


def _status(row: Row) -> str:
    return str(row.get("status", ""))


def differs(record: Record) -> bool:
    """Whether a change would show in the figures: at least one is known to have been another before."""
    figures, was = record.wanted.get("figures", {}), record.wanted.get("was", {})
    return any(name in was and not _is_same(was[name], value) for name, value in figures.items())


def _is_same(theirs: object, ours: str) -> bool:
    try:
        return Decimal(str(theirs).replace(",", "")) == Decimal(ours)
    except InvalidOperation:
        return str(theirs).upper() == ours.upper()
