"""The tickets of a placement, and the names by which its orders can be found again. Pure.

IBKR echoes a ticket's `cOID` in its lists of orders and trades: the one way to find an order whose answer was lost. A
ticket without one is given one, by putting it into the caller's own text: not another character of it changes. In a
bracket only the parent has a name, to which `parentId` of the children points; IBKR wants none on a child.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.errors import BadRequest
from ibkr_bridge.ibkr.json_spans import Span, element_spans, member_spans

COID, PARENT_ID = "cOID", "parentId"
MAX_COID_LENGTH = 64  # characters of a name; longer than any client makes them
MAX_TICKETS = 50  # tickets of one bracket or group; IBKR's own have three or four
NOT_COIDS = (float, bool, list, dict)  # nobody knows what IBKR would make of one
TICKETS_HINT = 'send {"orders": [ticket, …]} with one ticket, or those of one bracket or OCA group'


@dataclass(frozen=True)
class Ticket:
    """One ticket: its members, and where it stands in the caller's text."""

    members: Mapping[str, Any]
    start: int
    end: int

    @property
    def name(self) -> str:
        """Its cOID, `""` where it has none."""
        return _coid_of(self.members.get(COID))

    @property
    def parent(self) -> str:
        """The cOID of its parent, `""` where it is no child."""
        return _coid_of(self.members.get(PARENT_ID))


def _coid_of(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


@dataclass(frozen=True)
class NamedPlacement:
    """A placement whose orders can be found again, as far as that is possible."""

    body: bytes
    names: tuple[str, ...]
    """The cOIDs in it."""
    has_own_identity: bool
    """Whether the caller gave one of them, be it as the name its children call their parent by."""


def read_tickets(body: bytes) -> tuple[Ticket, ...]:
    """The tickets of a placement: `{"orders": […]}`, a bare list, or a single one.

    Raises:
        BadRequest: there are none, or a name stands twice in an object, so that nobody knows which of the two counts.
    """
    try:
        text = body.decode()
        json.loads(text, object_pairs_hook=unique_members)
        tickets = tuple(Ticket(_as_members(span.value), span.start, span.end) for span in _spans(text))
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the body holds no order tickets", hint=TICKETS_HINT) from exc
    if not tickets:
        raise BadRequest("the body holds no order tickets", hint=TICKETS_HINT)
    if len(tickets) > MAX_TICKETS:
        raise BadRequest(f"{len(tickets)} tickets at once", hint=f"send the {MAX_TICKETS} tickets of one group at most")
    if any(isinstance(ticket.members.get(name), NOT_COIDS) for ticket in tickets for name in (COID, PARENT_ID)):
        raise BadRequest("a cOID or parentId that is no text", hint="send it in quotation marks")
    return tickets


def _spans(text: str) -> list[Span]:
    if text.lstrip()[:1] == "[":
        return list(element_spans(text))
    told = list(member_spans(text))
    orders = next((span for span in told if span.name == "orders"), None)
    if orders is not None:
        return list(element_spans(text, orders.start))
    start = len(text) - len(text.lstrip())
    return [Span("", {span.name: span.value for span in told}, start, len(text.rstrip()))] if told else []


def _as_members(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a ticket is an object")
    return value


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For a JSON parser: an object in which each name stands once.

    Raises:
        BadRequest: one stands twice, so that nobody knows which of the two counts.
    """
    told = dict(pairs)
    if len(told) != len(pairs):
        raise BadRequest("a name stands twice in the same object of the body", hint="give each member once")
    return told


def with_coids(body: bytes, fresh: str, *, add: bool) -> NamedPlacement:
    """A placement with names where they are missing and may be added.

    Args:
        fresh: a name nobody has; further ones are made of it.
        add: whether names may be added.

    Raises:
        BadRequest: see `read_tickets`; or a name is too long, or given to two tickets.
    """
    tickets = read_tickets(body)
    given = [ticket.name for ticket in tickets if ticket.name]
    if len(set(given)) != len(given) or any(len(name) > MAX_COID_LENGTH for name in given):
        raise BadRequest(f"each cOID has to be its own, of {MAX_COID_LENGTH} characters at most")
    added = _coids_to_add(tickets, fresh) if add else []
    text = body.decode()
    for ticket, name in sorted(added, key=lambda each: -each[0].start):  # from behind: places before stay as they are
        text = _insert_coid(text, ticket, name)
    names = (*given, *(name for _, name in added))
    return NamedPlacement(text.encode(), names, any(not name.startswith(fresh) for name in names))


def _coids_to_add(tickets: tuple[Ticket, ...], fresh: str) -> list[tuple[Ticket, str]]:
    """The names to be added: none to a child, and to a lone parent the one its children call it by."""
    heads = [ticket for ticket in tickets if not ticket.parent and not ticket.name]
    known = {ticket.name for ticket in tickets}
    called = {ticket.parent for ticket in tickets if ticket.parent and ticket.parent not in known}
    if len(heads) == 1 and len(called) == 1:
        return [(heads[0], called.pop())]
    return [(head, fresh if number == 0 else f"{fresh}-{number + 1}") for number, head in enumerate(heads)]


def _insert_coid(text: str, ticket: Ticket, name: str) -> str:
    """The text with a name in one of its tickets; an empty one that stands there gives way."""
    inside = text[ticket.start : ticket.end]
    empty = next((span for span in member_spans(inside) if span.name == COID), None)
    if empty is not None:
        inside = inside[: empty.start] + json.dumps(name) + inside[empty.end :]
    else:
        more = "," if ticket.members else ""
        inside = "{" + f"{json.dumps(COID)}:{json.dumps(name)}{more}" + inside[1:]
    return text[: ticket.start] + inside + text[ticket.end :]
