"""The body of an order call, parsed once: its tickets, and every member at any depth. Pure.

The rules, the value limit, the quirks, the journal and the reconciliation read the same value, so that none of them
sees another order than the others do. Numbers are `Decimal`, exactly as they were written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any

Members = Mapping[str, Any]


@dataclass(frozen=True)
class OrderTickets:
    """The content of an order call's body."""

    tickets: tuple[Members, ...] = ()
    """The tickets of `{"orders": […]}`, of a bare list, or a single one; none if the body has another form."""
    top: Members = field(default_factory=dict)
    """The members of the body itself, if it is an object."""
    fields: tuple[tuple[str, object], ...] = ()
    """Every member at any depth, repeated names included: nobody knows which of two IBKR takes."""
    objects: tuple[tuple[tuple[str, object], ...], ...] = ()
    """The same members, each object by itself."""
    has_repeated_names: bool = False
    """Whether an object contains a name twice."""
    is_json: bool = True

    @property
    def unambiguous(self) -> tuple[Members, ...]:
        """The tickets, or none if a name occurs twice: it is unknown which of the two IBKR uses."""
        return () if self.has_repeated_names else self.tickets


NO_TICKETS = OrderTickets()


def parse_order_tickets(body: bytes) -> OrderTickets:
    """Parse the body of an order call. `is_json` is False if it is not JSON; an empty body has no tickets."""
    if not body.strip():
        return NO_TICKETS
    objects: list[tuple[tuple[str, object], ...]] = []
    repeated: list[bool] = []

    def collect(members: list[tuple[str, object]]) -> dict[str, object]:
        objects.append(tuple(members))
        parsed = dict(members)
        repeated.append(len(parsed) < len(members))
        return parsed

    try:
        parsed = json.loads(body, object_pairs_hook=collect, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # Decimal takes no exponent of twenty digits
        return OrderTickets(is_json=False)
    top = parsed if isinstance(parsed, dict) else {}
    fields = tuple(chain.from_iterable(objects))
    return OrderTickets(_tickets_of(parsed), top, fields, tuple(objects), any(repeated))


def _tickets_of(parsed: object) -> tuple[Members, ...]:
    if isinstance(parsed, dict):
        parsed = parsed.get("orders", [parsed])
    is_plain = isinstance(parsed, list) and all(isinstance(each, dict) for each in parsed)
    return tuple(parsed) if isinstance(parsed, list) and is_plain else ()
