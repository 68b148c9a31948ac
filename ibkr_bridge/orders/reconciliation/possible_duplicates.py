"""Whether a new placement could be the same order as one whose outcome is unknown: the same contract and side. Pure.

What cannot be read counts as the same: an order that waits in vain costs seconds, an order that is placed twice costs
money.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ibkr_bridge.orders.journal.order_record import OrderRecord, cut
from ibkr_bridge.orders.reconciliation.ibkr_rows import IbkrRow

LEG_SEPARATOR = ";"  # between the parts of a combination in `conidex`


def similarity(tickets: Iterable[IbkrRow]) -> dict[str, Any]:
    """What a placement has in common with the same order sent twice, as its journal entry stores it."""
    return {"alike": [{"conid": _contract_of(ticket), "side": cut(ticket.get("side", ""))} for ticket in tickets]}


def templates_of(record: OrderRecord) -> list[IbkrRow]:
    """What was stored of each ticket of a placement; empty if nothing was."""
    stored = record.match_criteria.get("alike")
    return [each for each in stored if isinstance(each, dict)] if isinstance(stored, list) else []


def may_be_same_order(record: OrderRecord, tickets: Iterable[IbkrRow]) -> bool:
    """Whether a new placement with these tickets could be the same order as an earlier one."""
    new, earlier = similarity(tickets)["alike"], templates_of(record)
    return not new or not earlier or any(_is_alike(one, other) for one in new for other in earlier)


def _is_alike(one: IbkrRow, other: IbkrRow) -> bool:
    return _is_same_contract(str(one.get("conid", "")), str(other.get("conid", ""))) and _is_same_side(
        str(one.get("side", "")), str(other.get("side", ""))
    )


def _is_same_contract(one: str, other: str) -> bool:
    """Two combinations count as the same: their legs may be written in any order."""
    if LEG_SEPARATOR in one and LEG_SEPARATOR in other:
        return True
    return not one or not other or one == other


def _is_same_side(one: str, other: str) -> bool:
    return not one or not other or one[:1].upper() == other[:1].upper()


def _contract_of(ticket: IbkrRow) -> str:
    """The contract number without its exchange, or the combination."""
    return cut(str(ticket.get("conid") or ticket.get("conidex") or "").partition("@")[0].strip())
