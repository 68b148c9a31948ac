"""Scans the query and body of a call for accounts, sizes and confirmations. Pure.

Every occurrence is found, at any depth, repeated names included: it is unknown which of two IBKR uses. The quantity of
a combination counts as the size of its most traded contract.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_UP, Context, Decimal, InvalidOperation
from itertools import chain
from urllib.parse import parse_qsl

from ibkr_bridge import errors
from ibkr_bridge.calls.order_tickets import OrderTickets
from ibkr_bridge.ibkr.combinations import COMBINATION_MARKS, ONE, units_per_quantity

ACCOUNT_KEYS = frozenset(
    {
        *("acct", "acctid", "acctids", "account", "accounts", "accountid", "accountids", "accountlist"),
        *("account_id", "accountno", "accountnumber"),
    }
)
SIZE_KEYS = frozenset({"quantity", "qty", "size", "totalsize"})
MONEY_KEYS = frozenset({"cashqty", "fxqty"})  # sizes in money, from which no number of shares follows
ANSWER_KEY = "confirmed"
CONIDEX = "conidex"
CONTRACT_KEYS = frozenset({"conid", CONIDEX, "sectype"})  # all three can name a combination
ROUND_UP_CONTEXT = Context(prec=28, rounding=ROUND_UP)  # a size is never rounded down
Members = Iterable[tuple[str, object]]


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
    parameters = parse_qsl(query.replace(";", "&"))
    for name, value in chain(parameters, tickets.fields):
        scanned.add(name.lower(), value)
    unsplit = parse_qsl(query)  # a combination contains semicolons, at which the other reading cuts it
    scanned.sizes = _sizes_of([*parameters, *unsplit], tickets)
    sized = [_read_sizes(ticket.items()) for ticket in tickets.tickets]
    if any(sized):  # then it is unknown how large IBKR makes the order of a ticket without a size
        scanned.sizes += [None for sizes in sized if not sizes]
    return scanned


def _sizes_of(parameters: Members, tickets: OrderTickets) -> list[Decimal | None]:
    """Every size, in units of its most traded contract.

    A combination counts for the sizes beside it in its object. One without a size beside it counts for all sizes, and
    so does every combination if the query names a size or a combination: it is unknown what belongs together.
    """
    objects = [(_read_sizes(members), _read_units(members)) for members in (parameters, *tickets.objects)]
    everywhere = [unit for _, units in objects for unit in units]
    of_no_size = [unit for sizes, units in objects for unit in units if not sizes]
    is_split = bool(objects[0][0] or objects[0][1])
    return [
        _multiply_by_largest(size, everywhere if is_split else [*units, *of_no_size])
        for sizes, units in objects
        for size in sizes
    ]


def _read_sizes(members: Members) -> list[Decimal | None]:
    names = ((name.lower(), value) for name, value in members)
    return [_parse_size(name, value) for name, value in names if name in SIZE_KEYS or name in MONEY_KEYS]


def _read_units(members: Members) -> list[Decimal | None]:
    """How many units of a leg each contract of an object stands for; None for one that cannot be read."""
    contracts = ((name.lower(), value) for name, value in members if value not in (None, ""))
    return [
        units_per_quantity(value)
        for name, value in contracts
        if name == CONIDEX or (name in CONTRACT_KEYS and any(mark in str(value) for mark in COMBINATION_MARKS))
    ]


def _multiply_by_largest(size: Decimal | None, units: list[Decimal | None]) -> Decimal | None:
    """The size in its most traded contract; None if the size or one of the units cannot be read."""
    if size is None or None in units:
        return None
    multiplier = max(filter(None, units), default=ONE)
    try:
        return size if multiplier == ONE else ROUND_UP_CONTEXT.multiply(size, multiplier)
    except ArithmeticError:  # a number too large to compute with
        return None


def _parse_size(name: str, value: object) -> Decimal | None:
    if name in MONEY_KEYS:
        return None
    try:
        size = Decimal(str(value))
    except InvalidOperation:
        return None
    return size if size.is_finite() and size >= 0 else None
