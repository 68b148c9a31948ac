"""The tickets of a placement, and the cOIDs by which its orders can be found again. Pure.

IBKR echoes a ticket's `cOID` in its lists of orders and trades: the one way to find an order whose response was lost. A
ticket without one gets one, inserted into the caller's own text; no other character of it changes. In a bracket only
the parent has a cOID, to which `parentId` of the children points; IBKR does not allow one on a child.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.calls.order_tickets import OrderTickets
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.ibkr.json_spans import element_spans, member_spans
from ibkr_bridge.orders.journal.order_record import MAX_VALUE_LENGTH, cut

COID, PARENT_ID = "cOID", "parentId"
MAX_COID_LENGTH = 64  # characters of a name; longer than any client makes them
KEPT_MEMBERS = ("parentId", "conid", "side", "price", "auxPrice", "quantity", "tif", "orderType", "orderId")
MAX_TICKETS = 50  # tickets of one bracket or group; IBKR's own have three or four
NOT_COIDS = (Decimal, float, bool, list, dict)  # it is not known what IBKR would make of one
SHOWN_MEMBERS = (
    *("conid", "ticker", "side", "orderType", "quantity", "cashQty", "price", "auxPrice", "tif", "outsideRTH"),
)
MAX_SHOWN_TICKETS = 4  # of one placement: a bracket has three
TICKETS_HINT = 'send {"orders": [ticket, …]} with one ticket, or those of one bracket or OCA group'


@dataclass(frozen=True)
class Ticket:
    """One ticket, and the cOIDs in it."""

    members: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its cOID, `""` if it has none."""
        return _coid_of(self.members.get(COID))

    @property
    def parent(self) -> str:
        """The cOID of its parent, `""` if it is not a child."""
        return _coid_of(self.members.get(PARENT_ID))


def _coid_of(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


@dataclass(frozen=True)
class NamedPlacement:
    """A placement whose orders have cOIDs, as far as that is possible."""

    body: bytes
    names: tuple[str, ...]
    """The cOIDs in it."""
    has_own_identity: bool
    """True if the caller supplied a cOID, directly or as the children's `parentId`."""


def shown_tickets(parsed: OrderTickets) -> list[dict[str, Any]]:
    """What people see of the tickets of a call, as the journal stores it; nothing is decided by it."""
    return [
        {
            name: value if isinstance(value, bool) else cut(value)
            for name in SHOWN_MEMBERS
            if (value := ticket.get(name)) is not None
        }
        for ticket in parsed.unambiguous[:MAX_SHOWN_TICKETS]
    ]


def check_names(parsed: OrderTickets) -> None:
    """Check that no object contains a name twice.

    Raises:
        BadRequest: one does; it is unknown which of the two IBKR uses.
    """
    if parsed.has_repeated_names:
        raise BadRequest("an object in the body has the same member twice", hint="send each member once")


def check_lengths(parsed: OrderTickets) -> None:
    """Check the members of tickets that are kept to recognise the order: only a complete value can be compared.

    Raises:
        BadRequest: one is longer than any real value.
    """
    tickets = (*parsed.tickets, parsed.top)
    if any(len(str(ticket.get(name, ""))) > MAX_VALUE_LENGTH for ticket in tickets for name in KEPT_MEMBERS):
        raise BadRequest(
            f"{', '.join(KEPT_MEMBERS)} have at most {MAX_VALUE_LENGTH} characters each",
            hint="send numbers and words as IBKR's reference shows them",
        )


def check_tickets(parsed: OrderTickets) -> tuple[Ticket, ...]:
    """The tickets of a placement.

    Raises:
        BadRequest: there are none, or an object has the same member twice, so that it is unclear which of the two
        counts.
    """
    check_names(parsed)
    tickets = tuple(map(Ticket, parsed.tickets))
    if not tickets or not (parsed.top or parsed.fields):
        raise BadRequest("the body contains no order tickets", hint=TICKETS_HINT)
    if len(tickets) > MAX_TICKETS:
        raise BadRequest(
            f"the body contains {len(tickets)} tickets", hint=f"send at most {MAX_TICKETS} tickets, those of one group"
        )
    if any(isinstance(ticket.members.get(name), NOT_COIDS) for ticket in tickets for name in (COID, PARENT_ID)):
        raise BadRequest("cOID and parentId must be text", hint="send it in quotation marks")
    return tickets


def with_coids(call: Call, fresh: str, *, add: bool) -> NamedPlacement:
    """A placement with cOIDs where they are missing and may be added.

    Args:
        fresh: a name that no order has; further ones are made of it.
        add: whether names may be added.

    Raises:
        BadRequest: see `check_tickets`; or a name is too long, or given to two tickets.
    """
    tickets = check_tickets(call.tickets)
    caller_names = [ticket.name for ticket in tickets if ticket.name]
    if len(set(caller_names)) != len(caller_names) or any(len(name) > MAX_COID_LENGTH for name in caller_names):
        raise BadRequest(f"each cOID must be unique and have at most {MAX_COID_LENGTH} characters")
    added = _coids_to_add(tickets, fresh) if add else {}
    names = (*caller_names, *added.values())
    if any(len(name) > MAX_COID_LENGTH for name in added.values()):
        raise BadRequest(f"parentId is a cOID, and has at most {MAX_COID_LENGTH} characters")
    return NamedPlacement(_insert_coids(call.body, added), names, any(not name.startswith(fresh) for name in names))


def _insert_coids(body: bytes, added: Mapping[int, str]) -> bytes:
    """The body with names in some of its tickets; not another character of it changes."""
    try:
        text = body.decode()
        places = _places(text)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the body contains no order tickets", hint=TICKETS_HINT) from exc
    for number in sorted(added, reverse=True):  # from the end: the places before it stay as they are
        start, end = places[number]
        text = text[:start] + _with_coid(text[start:end], added[number]) + text[end:]
    return text.encode()


def _places(text: str) -> list[tuple[int, int]]:
    """The positions of the tickets in the text."""
    if text.lstrip()[:1] == "[":
        return [(span.start, span.end) for span in element_spans(text)]
    orders = next((span for span in member_spans(text) if span.name == "orders"), None)
    if orders is not None:
        return [(span.start, span.end) for span in element_spans(text, orders.start)]
    return [(len(text) - len(text.lstrip()), len(text.rstrip()))]


def _coids_to_add(tickets: tuple[Ticket, ...], fresh: str) -> dict[int, str]:
    """The names to add, by number of the ticket: none to a child, and to a lone parent the one its children use."""
    heads = [number for number, ticket in enumerate(tickets) if not ticket.parent and not ticket.name]
    coids = {ticket.name for ticket in tickets}
    parent_coids = {ticket.parent for ticket in tickets if ticket.parent and ticket.parent not in coids}
    if len(heads) == 1 and len(parent_coids) == 1:
        return {heads[0]: parent_coids.pop()}
    return {head: fresh if number == 0 else f"{fresh}-{number + 1}" for number, head in enumerate(heads)}


def _with_coid(text: str, name: str) -> str:
    """The text of one ticket with a cOID; an empty cOID in it is replaced."""
    members = list(member_spans(text))
    empty = next((span for span in members if span.name == COID), None)
    if empty is not None:
        return text[: empty.start] + json.dumps(name) + text[empty.end :]
    more = "," if members else ""
    return "{" + f"{json.dumps(COID)}:{json.dumps(name)}{more}" + text[1:]
