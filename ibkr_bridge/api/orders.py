"""The orders of the journal for callers: with masked account numbers and IBKR's error texts, and without keys."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from ibkr_bridge.errors import BadRequest, NotBridged
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderState
from ibkr_bridge.redaction import mask_account
from ibkr_bridge.server.app_keys import REDACTOR, profile_of

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000  # orders in one response
LIMIT_PATTERN = re.compile(r"0*[0-9]{1,4}")
PUBLIC_FACTS = (
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
"""The facts of an entry that callers may see. The others, such as digests of keys, are for the bridge only."""


async def list_orders(request: web.Request) -> web.Response:
    """The orders of the last day and those that are open, the latest first."""
    state, limit = _state_filter(request), _limit(request)
    records = await profile_of(request).orders.repository.newest(state, limit)
    return web.json_response({"orders": [_row(request, record) for record in records]})


async def get_order(request: web.Request) -> web.Response:
    """One order with all its events, however old it is."""
    repository = profile_of(request).orders.repository
    entries = [entry for _, entry, _ in await repository.journal.read_all(request.match_info["id"])]
    record = repository.index.find(request.match_info["id"]) or OrderRecord.from_entries(entries)
    if record is None or record.state is None:
        raise NotBridged("the journal has no such order", hint="GET /orders lists those of the last day")
    return web.json_response({**_row(request, record), "events": [_event(request, entry) for entry in entries]})


def _state_filter(request: web.Request) -> OrderState | None:
    text = request.query.get("state")
    if text is None:
        return None
    try:
        return OrderState(text)
    except ValueError as exc:
        raise BadRequest(
            "unknown order state", hint=f"use one of {', '.join(each.value for each in OrderState)}"
        ) from exc


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (LIMIT_PATTERN.fullmatch(text) and 1 <= int(text) <= MAX_LIMIT):
        raise BadRequest("limit must be a number of orders", hint=f"send a number from 1 to {MAX_LIMIT}")
    return int(text)


def _row(request: web.Request, record: OrderRecord) -> dict[str, Any]:
    redact = request.app[REDACTOR].redact
    return {
        "id": record.id,
        "kind": record.operation.value,
        "state": record.state.value if record.state else None,
        "account": mask_account(record.account) if record.account else None,
        "coid": redact(record.coids[0]) if record.coids else None,
        "order_id": record.order_ids[0] if record.order_ids else None,
        "created": record.created,
        "updated": record.updated,
        "error": redact(record.error) if record.error else None,
    }


def _event(request: web.Request, entry: JournalEntry) -> dict[str, Any]:
    facts = {
        name: _redacted(request, entry.facts[name]) for name in PUBLIC_FACTS if entry.facts.get(name) not in (None, [])
    }
    return {"at": entry.at, "what": entry.what.value, "state": entry.state.value, **facts}


def _redacted(request: web.Request, value: object) -> object:
    redact = request.app[REDACTOR].redact
    if isinstance(value, list):
        return [_redacted(request, each) for each in value]
    return redact(value) if isinstance(value, str) else value
