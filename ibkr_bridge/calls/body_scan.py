"""Scans the query and body of a call for accounts, sizes and confirmations. Pure.

Every occurrence is found, at any depth, repeated names included: it is unknown which of two IBKR uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import chain
from urllib.parse import parse_qsl

from ibkr_bridge import errors
from ibkr_bridge.calls.order_tickets import OrderTickets

ACCOUNT_KEYS = frozenset(
    {
        *("acct", "acctid", "acctids", "account", "accounts", "accountid", "accountids", "accountlist"),
        *("account_id", "accountno", "accountnumber"),
    }
)
SIZE_KEYS = frozenset({"quantity", "qty", "size", "totalsize"})
MONEY_KEYS = frozenset({"cashqty", "fxqty"})  # sizes in money, from which no number of shares follows
ANSWER_KEY = "confirmed"


@dataclass
class ScannedFields:
    """The fields that were found."""

    accounts: set[str] = field(default_factory=set)
    sizes: list[Decimal | None] = field(default_factory=list)
    """None for a value that is not a plain number of shares."""
    answers: list[object] = field(default_factory=list)
    """The values of members that confirm or decline a question."""

    def add(self, name: str, value: object) -> None:
        """Record a member; `name` is in lower case, as IBKR may ignore the case."""
        if name in ACCOUNT_KEYS:
            listed = value if isinstance(value, list) else [value]
            self.accounts.update(str(item.get("name") if isinstance(item, dict) else item) for item in listed if item)
        elif name in SIZE_KEYS:
            self.sizes.append(_parse_size(value))
        elif name in MONEY_KEYS:
            self.sizes.append(None)
        elif name == ANSWER_KEY:
            self.answers.append(value)


def scan_fields(query: str, tickets: OrderTickets) -> ScannedFields:
    """All that is found in a query and a body; an empty body mentions nothing.

    Raises:
        BadRequest: the body is not JSON.
    """
    if not tickets.is_json:
        hint = "calls that change something need a JSON body, so that the rules can read it"
        raise errors.BadRequest("the body is not JSON", hint=hint)
    scanned = ScannedFields()
    for name, value in chain(parse_qsl(query.replace(";", "&")), tickets.fields):
        scanned.add(name.lower(), value)
    return scanned


def _parse_size(value: object) -> Decimal | None:
    try:
        size = Decimal(str(value))
    except InvalidOperation:
        return None
    return size if size.is_finite() and size >= 0 else None
