"""How an order, a modification or a cancel is recognised in IBKR's lists of orders and trades. Pure.

An order is recognised by its cOID, which IBKR echoes as `order_ref`; a cancel by the order's state; a modification by
its figures, see `modify_matching.py`. A match is proof at once; the lack of one is proof only after a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ibkr_bridge.calls.order_tickets import OrderTickets
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord, cut
from ibkr_bridge.orders.reconciliation.ibkr_rows import (
    CANCELLED_STATUSES,
    FINAL_STATUSES,
    IbkrRow,
    MatchResult,
    OrderListing,
    order_ids_of,
    row_of,
    status_of,
)
from ibkr_bridge.orders.reconciliation.modify_matching import figures_of_ticket, match_pending, visible_order_type
from ibkr_bridge.orders.reconciliation.possible_duplicates import may_be_row_of, templates_of

ALL_ORDERS = "-1"  # as an order's id: every order of the account
COID_MEMBERS = ("order_ref", "cOID", "local_order_id", "orderRef")
CLOCK_TOLERANCE_S = 120.0  # seconds by which IBKR's clock and ours may differ


def match_criteria(kind: OrderOperation, subject: str, tickets: OrderTickets) -> dict[str, Any]:
    """How to recognise a call that is not a placement: the order it is about, and the figures of a modification."""
    ticket = tickets.top
    if kind is OrderOperation.ANSWER:
        return {"order": cut(ticket.get("orderId", ""))}
    if kind is OrderOperation.MODIFY:
        return {"order": cut(subject), "figures": figures_of_ticket(ticket), **visible_order_type(ticket)}
    return {"order": cut(subject)} if kind is OrderOperation.CANCEL else {}


def has_similar(record: OrderRecord, listing: OrderListing) -> bool:
    """Whether any row could be an order without a cOID; if none could, the order does not exist."""
    similar_tickets = templates_of(record)
    rows = (*listing.orders, *listing.trades)
    return not similar_tickets or any(may_be_row_of(row, ticket) for row in rows for ticket in similar_tickets)


def match(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    """What the lists show of an order; None if they show nothing yet."""
    return MATCHERS[record.operation](record, listing)


def _match_placement(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    for places, rows in (("orders", listing.orders), ("trades", listing.trades)):
        matching_rows = [row for row in rows if _has_name(row, record) and not _is_older_trade(row, record)]
        if matching_rows:
            return MatchResult(
                True,
                {
                    "by": f"cOID in {places}",
                    "order_ids": order_ids_of(matching_rows),
                    "status": status_of(matching_rows[0]),
                },
            )
    return None


def _has_name(row: IbkrRow, record: OrderRecord) -> bool:
    return any(str(row.get(name)) in record.coids for name in COID_MEMBERS if row.get(name))


def _is_older_trade(row: IbkrRow, record: OrderRecord) -> bool:
    """Whether a trade is older than the order: IBKR accepts the same cOID again after a day."""
    traded_at = _trade_time(row)
    return (
        traded_at is not None
        and bool(record.created)
        and (traded_at < datetime.fromisoformat(record.created).timestamp() - CLOCK_TOLERANCE_S)
    )


def _trade_time(row: IbkrRow) -> float | None:
    """When a trade was made, in seconds since 1970; None if the row is not a trade, or does not say."""
    time_ms, text = row.get("trade_time_r"), row.get("trade_time")
    if isinstance(time_ms, int | float):
        return time_ms / 1000
    try:
        return datetime.strptime(str(text), "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _match_cancel(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    if record.match_criteria.get("order") == ALL_ORDERS:
        return _match_cancel_all(record, listing)
    row = row_of(record.match_criteria.get("order"), listing)
    if row is None:
        return None
    state = status_of(row)
    facts = {"by": "its state in orders", "order_ids": order_ids_of([row]), "status": state}
    return (
        MatchResult(state.lower() in CANCELLED_STATUSES, facts)
        if state.lower() in {"filled", *CANCELLED_STATUSES}
        else None
    )


def _match_cancel_all(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    if not listing.is_complete:
        return None
    own = [row for row in listing.orders if record.account in (None, row.get("acct"), row.get("account"))]
    working = [row for row in own if status_of(row).lower() not in FINAL_STATUSES]
    return None if working else MatchResult(True, {"by": "no working order in orders"})


def _match_notice(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    row = row_of(record.match_criteria.get("order"), listing)
    if row is None or status_of(row).lower() in ("", "inactive", "warnstate"):
        return None
    return MatchResult(True, {"by": "its state in orders", "order_ids": order_ids_of([row]), "status": status_of(row)})


MATCHERS: Mapping[OrderOperation, Callable[[OrderRecord, OrderListing], MatchResult | None]] = {
    OrderOperation.PLACE: _match_placement,
    OrderOperation.MODIFY: match_pending,
    OrderOperation.CANCEL: _match_cancel,
    OrderOperation.ANSWER: _match_notice,
}
