"""How a modification of an order is recognised in IBKR's list of orders. Pure.

A modification has no id of its own. It is recognised by its figures. If they are known to have been different before,
they prove it at once. Figures that may have been the same before prove nothing while the modification may still be in
the Gateway's queue. After that time, an order with the requested figures has been modified, or did not need to be. What
the list does not show at all, such as `outsideRTH`, a person has to look up.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_bridge.orders.journal.order_record import OrderRecord, cut
from ibkr_bridge.orders.reconciliation.ibkr_rows import (
    FINAL_STATUSES,
    IbkrRow,
    MatchResult,
    OrderListing,
    order_ids_of,
    row_of,
    status_of,
)

FIGURES = (("price", "price"), ("auxPrice", "auxPrice"), ("quantity", "totalSize"), ("tif", "timeInForce"))
"""Figures by their name in a ticket and their name in IBKR's list."""
ORDER_TYPE_MEMBERS = ("origOrderType", "orderType")
ORDER_TYPE_NAMES = {"LMT": "LIMIT", "MKT": "MARKET", "STP": "STOP", "STPLMT": "STOPLIMIT"}
"""IBKR's names of order types: in a ticket, and in its list."""
NEVER_CHANGED = frozenset(
    {
        *("acctId", "conid", "conidex", "secType", "listingExchange", "ticker", "side", "cOID", "parentId"),
        *("isSingleGroup", "referrer", "customerAccount", "isProCustomer", "manualIndicator", "extOperator"),
    }
)
"""Members of a ticket that identify the order and its sender."""


def figures_of_ticket(ticket: IbkrRow) -> dict[str, str]:
    """The figures of a ticket that IBKR's list shows."""
    return {name: cut(ticket[name]) for name, _ in FIGURES if ticket.get(name) not in (None, "")}


def visible_order_type(ticket: IbkrRow) -> dict[str, Any]:
    """The order type of a ticket if the list shows all that the ticket could change; empty if it does not."""
    figures = {name for name, _ in FIGURES} | {"orderType"}
    return {} if set(ticket) - figures - NEVER_CHANGED else {"type": cut(ticket.get("orderType", ""))}


def match_pending(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    """What the list shows of a modification that may still be in the Gateway's queue."""
    row = row_of(record.match_criteria.get("order"), listing)
    if row is None or not is_visible_change(record):
        return None  # figures that were the same before prove nothing
    if _has_figures(record, row):
        return _matched("its figures in orders", row)
    return _not_matched(row) if status_of(row).lower() in FINAL_STATUSES else None


def matches_finally(record: OrderRecord, listing: OrderListing) -> MatchResult | None:
    """What the list shows of a modification that can no longer be in the queue; None if the list cannot show it."""
    row = row_of(record.match_criteria.get("order"), listing)
    if row is None:
        return None
    if not _has_figures(record, row):
        return _not_matched(row)
    if "type" not in record.match_criteria or not any(
        _order_type(row.get(name)) == _order_type(record.match_criteria["type"]) for name in ORDER_TYPE_MEMBERS
    ):
        return None
    return _matched("its order stands as it was to be, in orders", row)


def is_visible_change(record: OrderRecord) -> bool:
    """Whether the modification would show in the figures: at least one is known to have been different before."""
    figures, former_figures = record.match_criteria.get("figures", {}), record.match_criteria.get("was", {})
    return any(
        name in former_figures and not is_same_figure(former_figures[name], value) for name, value in figures.items()
    )


def _has_figures(record: OrderRecord, row: IbkrRow) -> bool:
    figures = record.match_criteria.get("figures", {})
    return all(is_same_figure(row.get(theirs), figures[ours]) for ours, theirs in FIGURES if ours in figures)


def _order_type(name: object) -> str:
    letters = "".join(filter(str.isalpha, str(name))).upper()
    return ORDER_TYPE_NAMES.get(letters, letters)


def _matched(by: str, row: IbkrRow) -> MatchResult:
    return MatchResult(True, {"by": by, "order_ids": order_ids_of([row]), "status": status_of(row)})


def _not_matched(row: IbkrRow) -> MatchResult:
    return MatchResult(False, {"status": status_of(row)})


def is_same_figure(theirs: object, ours: str) -> bool:
    """Whether a figure of IBKR's list equals that of a ticket, in whatever form they are written."""
    try:
        return Decimal(str(theirs).replace(",", "")) == Decimal(ours)
    except InvalidOperation:
        return str(theirs).upper() == ours.upper()
