"""Whether a new placement could be the same order as one whose outcome is unknown. Pure.

Two placements could be the same order if they may concern the same account, contract and side. The same thing can be
written in several ways (`265598.0`, `"0265598"`, `"265598@NYSE"`), and a ticket or a call can name several contracts or
accounts; all that are named count, in one form. What cannot be read counts as the same: an order that waits in vain
costs seconds, an order that is placed twice costs money.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

from ibkr_bridge.orders.journal.order_record import OrderRecord, cut
from ibkr_bridge.orders.reconciliation.ibkr_rows import IbkrRow

LEG_SEPARATOR = ";"  # between the parts of a combination in `conidex`
COMBINATION, UNREADABLE = "combination", "?"
CONTRACT_MEMBERS = ("conid", "conidex", "sectype")
NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.0*)?(?:[eE][+-]?\d{1,2})?")
SECURITY_TYPE = re.compile(r"[A-Za-z]{0,8}")
"""A `secType` without a contract, such as `STK`; with one it is `265598:STK`."""
BUYS, SELLS = frozenset({"B", "BUY", "BOT"}), frozenset({"S", "SELL", "SLD"})
ACCOUNT = re.compile(r"[DUFI][A-Z]{0,2}\d{1,12}[A-Z]?")
"""A single account. Any other name, such as `All`, stands for a group of accounts."""
MAX_OTHER_ACCOUNTS = 20  # a call that names more counts as one for every account
EVERY_ACCOUNT = "All"


def similarity(tickets: Iterable[IbkrRow], other_accounts: Collection[str] = ()) -> dict[str, Any]:
    """What a placement has in common with the same order sent twice, as its journal entry stores it.

    Args:
        tickets: its tickets.
        other_accounts: the accounts that it names besides the one in its path.
    """
    few = sorted(map(cut, other_accounts)) if len(other_accounts) <= MAX_OTHER_ACCOUNTS else [EVERY_ACCOUNT]
    return {"alike": [_template_of(ticket) for ticket in tickets], **({"accounts": few} if few else {})}


def templates_of(record: OrderRecord) -> list[IbkrRow]:
    """What was stored of each ticket of a placement; empty if nothing was."""
    stored = record.match_criteria.get("alike")
    return [each for each in stored if isinstance(each, dict)] if isinstance(stored, list) else []


def may_concern_same_account(record: OrderRecord, accounts: Iterable[str | None]) -> bool:
    """Whether a call with these accounts could concern an account of an earlier one. None stands for every account."""
    stored = record.match_criteria.get("accounts")
    earlier = _single_accounts([record.account, *(stored if isinstance(stored, list) else ())])
    new = _single_accounts(accounts)
    return earlier is None or new is None or not earlier.isdisjoint(new)


def may_be_same_order(record: OrderRecord, tickets: Iterable[IbkrRow]) -> bool:
    """Whether a new placement with these tickets could be the same order as an earlier one."""
    new, earlier = similarity(tickets)["alike"], templates_of(record)
    return not new or not earlier or any(_is_alike(one, other) for one in new for other in earlier)


def may_be_row_of(row: IbkrRow, template: IbkrRow) -> bool:
    """Whether a row of IBKR's lists could be the order of a stored ticket."""
    # IBKR lists a combination under a contract number of its own.
    is_combination = COMBINATION in _contracts_of(template)
    return _have_common(_sides_of(row), _sides_of(template)) and (
        is_combination or _have_common(_contracts_of({"conid": row.get("conid")}), _contracts_of(template))
    )


def _single_accounts(names: Iterable[str | None]) -> set[str] | None:
    """The accounts that names stand for, in capitals; None if they may stand for every account."""
    accounts = {str(name).strip().upper() for name in names}
    return accounts if accounts and all(map(ACCOUNT.fullmatch, accounts)) else None


def _is_alike(one: IbkrRow, other: IbkrRow) -> bool:
    return _have_common(_contracts_of(one), _contracts_of(other)) and _have_common(_sides_of(one), _sides_of(other))


def _have_common(some: frozenset[str], others: frozenset[str]) -> bool:
    """Whether two sets have something in common; what cannot be read, or is not there, could be anything."""
    is_unknown = not some or not others or UNREADABLE in some | others
    return is_unknown or not some.isdisjoint(others)


def _template_of(ticket: IbkrRow) -> dict[str, Any]:
    """What is stored of a ticket: its first contract, the further ones, and its side if it names one side only."""
    first, *others = list(dict.fromkeys(_contract_texts(ticket))) or [""]
    sides = [cut(str(value).strip()) for value in _values(ticket, ("side",))]
    more = {"others": others} if others else {}
    return {"conid": first, **more, "side": sides[0] if len(sides) == 1 else ""}


def _contract_texts(ticket: IbkrRow) -> list[str]:
    return [text for name in CONTRACT_MEMBERS for value in _values(ticket, (name,)) if (text := _text_of(name, value))]


def _text_of(member: str, value: object) -> str:
    """A contract in one form: its number, or the combination as it was written; empty if none is named."""
    text = str(value).strip()
    if member == "sectype":
        text = text.partition(":")[0].strip()
        if SECURITY_TYPE.fullmatch(text):
            return ""
    if LEG_SEPARATOR in text:
        return cut(text)
    return _number_of(text.partition("@")[0].strip())


def _number_of(text: str) -> str:
    """A contract number as IBKR writes it; empty for what stands for no contract, such as 0 or nothing."""
    if not text:
        return ""
    if not NUMBER.fullmatch(text):
        return UNREADABLE
    number = Decimal(text)
    if number != number.to_integral_value():
        return UNREADABLE
    return "" if number in (0, -1) else str(int(number))


def _contracts_of(template: IbkrRow) -> frozenset[str]:
    """The contracts of a stored ticket. Two combinations are the same: their legs may be written in any order."""
    others = template.get("others")
    stored = [template.get("conid"), *(others if isinstance(others, list) else ())]
    texts = [_text_of("conid", each) for each in stored if each is not None]
    return frozenset(contract for text in texts for contract in _parts_of(text))


def _parts_of(text: str) -> tuple[str, ...]:
    if LEG_SEPARATOR not in text:
        return (text,) if text else ()
    legs = {_number_of(re.split("[@/]", leg)[0].strip()) for leg in text.rpartition(LEG_SEPARATOR)[2].split(",")}
    return (COMBINATION, *legs) if len(legs) == 1 else (COMBINATION,)  # one of a single contract is that contract


def _sides_of(ticket: IbkrRow) -> frozenset[str]:
    sides = {str(value).strip().upper() for value in _values(ticket, ("side",)) if value != ""}
    return frozenset("B" if side in BUYS else "S" if side in SELLS else UNREADABLE for side in sides)


def _values(ticket: IbkrRow, names: tuple[str, ...]) -> list[object]:
    """The values of members, whose names IBKR may read in any case."""
    return [value for name, value in ticket.items() if name.lower() in names and value is not None]
