"""The orders of the journal, as callers see them: account numbers masked, nothing of a key, IBKR's words kept."""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiohttp import web

from ibkr_bridge.errors import BadRequest, NotBridged
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.journal.transitions import Entry, State
from ibkr_bridge.redaction import mask_account
from ibkr_bridge.server.app_keys import LINES, MAIN, SCRUBBER

USUAL, MOST = 100, 1000  # orders in one answer
TOLD = (
    "kind",
    "coids",
    "order_ids",
    "status",
    "error",
    "code",
    "reply",
    "replies",
    "messages",
    "by",
    "request",
    "late",
)
"""What of an entry's facts is shown: the rest is for the bridge alone, such as digests of keys."""


async def listed(request: web.Request) -> web.Response:
    """The orders of the last day and those that are open, the latest first."""
    state, most = _state(request), _most(request)
    found = request.app[LINES][MAIN].ordering.book.register.newest()
    chosen = (record for record in found if record.state is not None and state in (None, record.state))
    return web.json_response({"orders": [_row(request, record) for record in islice(chosen, most)]})


async def shown(request: web.Request) -> web.Response:
    """One order with all that happened to it, however old."""
    book = request.app[LINES][MAIN].ordering.book
    entries = [entry for _, entry, _ in await book.journal.rows(request.match_info["id"])]
    record = book.register.find(request.match_info["id"]) or Record.of(entries)
    if record is None or record.state is None:
        raise NotBridged("the journal knows no such order", hint="GET /orders lists those of the last day")
    return web.json_response({**_row(request, record), "events": [_event(request, entry) for entry in entries]})


def _state(request: web.Request) -> State | None:
    given = request.query.get("state")
    if given is None:
        return None
    try:
        return State(given)
    except ValueError as exc:
        raise BadRequest(
            "no order is in such a state", hint=f"ask for {', '.join(each.value for each in State)}"
        ) from exc


def _most(request: web.Request) -> int:
    given = request.query.get("limit", str(USUAL))
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST):
        raise BadRequest("limit is no number of orders", hint=f"send a number from 1 to {MOST}")
    return int(given)


def _row(request: web.Request, record: Record) -> dict[str, Any]:
    scrub = request.app[SCRUBBER].scrub
    return {
        "id": record.id,
        "state": record.state.value if record.state else None,
        "account": mask_account(record.account) if record.account else None,
        "coid": scrub(record.names[0]) if record.names else None,
        "order_id": record.order_ids[0] if record.order_ids else None,
        "created": record.created,
        "updated": record.updated,
        "error": scrub(record.error) if record.error else None,
    }


def _event(request: web.Request, entry: Entry) -> dict[str, Any]:
    facts = {name: _clean(request, entry.facts[name]) for name in TOLD if entry.facts.get(name) not in (None, [])}
    return {"at": entry.at, "what": entry.what.value, "state": entry.state.value, **facts}


def _clean(request: web.Request, value: object) -> object:
    scrub = request.app[SCRUBBER].scrub
    if isinstance(value, list):
        return [_clean(request, each) for each in value]
    return scrub(value) if isinstance(value, str) else value
