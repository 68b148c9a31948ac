"""How a change of an order is recognised in IBKR's list of orders. Pure.

A change has no name of its own. It is recognised by its figures: those that are known to have been others before prove
it, at once. Figures that may have stood there before prove nothing while the change may still be on its way; when it
cannot be any longer, an order that stands as it was to be has been changed, or never needed to be. What the list does
not show at all, such as `outsideRTH`, a person has to look up.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.reconciliation.ibkr_rows import ENDED, Finding, Row, Seen, ids_of, row_of, status_of

FIGURES = (("price", "price"), ("auxPrice", "auxPrice"), ("quantity", "totalSize"), ("tif", "timeInForce"))
"""Of a ticket, and what IBKR's list calls them."""
KINDS = ("origOrderType", "orderType")
SHORT = {"LMT": "LIMIT", "MKT": "MARKET", "STP": "STOP", "STPLMT": "STOPLIMIT"}
"""IBKR's names for kinds of orders: a ticket's, and its list's."""
NEVER_CHANGED = frozenset(
    {
        *("acctId", "conid", "conidex", "secType", "listingExchange", "ticker", "side", "cOID", "parentId"),
        *("isSingleGroup", "referrer", "customerAccount", "isProCustomer", "manualIndicator", "extOperator"),
    }
)
"""Members of a ticket that say which order it is, and from whom."""


def figures_in(ticket: Row) -> dict[str, str]:
    """The figures of a ticket that IBKR's list shows."""
    return {name: str(ticket[name]) for name, _ in FIGURES if ticket.get(name) not in (None, "")}


def shown(ticket: Row) -> dict[str, Any]:
    """The kind of order of a ticket, where the list shows all that it could change; nothing where it does not."""
    figures = {name for name, _ in FIGURES} | {"orderType"}
    return {} if set(ticket) - figures - NEVER_CHANGED else {"type": str(ticket.get("orderType", ""))}


def changed(record: Record, seen: Seen) -> Finding | None:
    """What a look shows of a change that may still be on its way."""
    row = row_of(record.wanted.get("order"), seen)
    if row is None or not differs(record):
        return None  # figures that were there before prove nothing
    if _has_figures(record, row):
        return _done("its figures in orders", row)
    return _not_done(row) if status_of(row).lower() in ENDED else None


def stands(record: Record, seen: Seen) -> Finding | None:
    """What a look shows of a change that cannot be on its way any longer; None where the list cannot tell."""
    row = row_of(record.wanted.get("order"), seen)
    if row is None:
        return None
    if not _has_figures(record, row):
        return _not_done(row)
    if "type" not in record.wanted or not any(_kind(row.get(name)) == _kind(record.wanted["type"]) for name in KINDS):
        return None
    return _done("its order stands as it was to be, in orders", row)


def differs(record: Record) -> bool:
    """Whether a change would show in the figures: at least one is known to have been another before."""
    figures, was = record.wanted.get("figures", {}), record.wanted.get("was", {})
    return any(name in was and not is_same(was[name], value) for name, value in figures.items())


def _has_figures(record: Record, row: Row) -> bool:
    figures = record.wanted.get("figures", {})
    return all(is_same(row.get(theirs), figures[ours]) for ours, theirs in FIGURES if ours in figures)


def _kind(told: object) -> str:
    letters = "".join(filter(str.isalpha, str(told))).upper()
    return SHORT.get(letters, letters)


def _done(by: str, row: Row) -> Finding:
    return Finding(True, {"by": by, "order_ids": ids_of([row]), "status": status_of(row)})


def _not_done(row: Row) -> Finding:
    return Finding(False, {"status": status_of(row)})


def is_same(theirs: object, ours: str) -> bool:
    """Whether a figure of IBKR's list is that of a ticket, however either is written."""
    try:
        return Decimal(str(theirs).replace(",", "")) == Decimal(ours)
    except InvalidOperation:
        return str(theirs).upper() == ours.upper()
