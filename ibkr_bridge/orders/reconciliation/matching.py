"""How an order, a change or a cancel is recognised in IBKR's lists of orders and trades. Pure.

An order is recognised by its cOID, which IBKR echoes as `order_ref`; a cancel by the order's state; a change by its
figures, see `changes.py`. What is found is proof; that nothing is found is one only after a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ibkr_bridge.ibkr.bodies import as_object
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.reconciliation.ibkr_rows import ENDED, GOING, Finding, Row, Seen, ids_of, row_of, status_of
from ibkr_bridge.orders.reconciliation.modify_matching import changed, figures_in, shown

ALL = "-1"  # as an order's id: every order of the account
NAMES = ("order_ref", "cOID", "local_order_id", "orderRef")
CLOCKS_DIFFER = 120.0  # seconds by which IBKR's clock and ours may
LIKENESS = ("conid", "side")


def wanted(kind: Order, subject: str, body: bytes) -> dict[str, Any]:
    """By what a call will be recognised that is no new order: the order it is about, and a change's figures."""
    ticket = as_object(body)
    if kind is Order.ANSWER:
        return {"order": str(ticket.get("orderId", ""))}
    if kind is Order.MODIFY:
        return {"order": subject, "figures": figures_in(ticket), **shown(ticket)}
    return {"order": subject} if kind is Order.CANCEL else {}


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


def find(record: Record, seen: Seen) -> Finding | None:
    """What a look shows of an order; None where it shows nothing yet."""
    return FOUND_BY[record.kind](record, seen)


def _placed(record: Record, seen: Seen) -> Finding | None:
    for where, rows in (("orders", seen.orders), ("trades", seen.trades)):
        found = [row for row in rows if _has_name(row, record) and not _is_older(row, record)]
        if found:
            return Finding(True, {"by": f"cOID in {where}", "order_ids": ids_of(found), "status": status_of(found[0])})
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


def _cancelled(record: Record, seen: Seen) -> Finding | None:
    if record.wanted.get("order") == ALL:
        return _all_cancelled(record, seen)
    row = row_of(record.wanted.get("order"), seen)
    if row is None:
        return None
    state = status_of(row)
    facts = {"by": "its state in orders", "order_ids": ids_of([row]), "status": state}
    return Finding(state.lower() in GOING, facts) if state.lower() in {"filled", *GOING} else None


def _all_cancelled(record: Record, seen: Seen) -> Finding | None:
    if not seen.is_whole:
        return None
    own = [row for row in seen.orders if record.account in (None, row.get("acct"), row.get("account"))]
    working = [row for row in own if status_of(row).lower() not in ENDED]
    return None if working else Finding(True, {"by": "no working order in orders"})


def _answered(record: Record, seen: Seen) -> Finding | None:
    row = row_of(record.wanted.get("order"), seen)
    if row is None or status_of(row).lower() in ("", "inactive", "warnstate"):
        return None
    return Finding(True, {"by": "its state in orders", "order_ids": ids_of([row]), "status": status_of(row)})


FOUND_BY: Mapping[Order, Callable[[Record, Seen], Finding | None]] = {
    Order.PLACE: _placed,
    Order.MODIFY: changed,
    Order.CANCEL: _cancelled,
    Order.ANSWER: _answered,
}
