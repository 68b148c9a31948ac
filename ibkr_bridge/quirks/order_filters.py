"""The orders somebody wants, filtered here: IBKR's own `filters` silence its order stream, and leave orders out."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import unquote_plus

from ibkr_bridge.calls.messages import Answer, Ask, Call, let_go, says_no
from ibkr_bridge.errors import BadRequest, GatewayGarbled
from ibkr_bridge.ibkr.json_spans import elements, joined, members

STATES = (
    *("inactive", "pendingsubmit", "presubmitted", "submitted", "filled"),
    *("pendingcancel", "precancelled", "cancelled", "warnstate"),
)
BY_TIME = "sortbytime"
HINT = (
    "send some of inactive, pending_submit, pre_submitted, submitted, filled, pending_cancel, pre_cancelled, "
    "cancelled, warn_state, sort_by_time"
)


async def orders_list(ask: Ask, call: Call) -> Answer:
    """IBKR's list without its filters, and of that what the caller wants.

    Raises:
        BadRequest: a filter that is none.
        GatewayGarbled: the list cannot be filtered; the whole one would not be what was asked for.
    """
    target, wanted = without_filters(call.target)
    answer = await ask(replace(call, target=target))
    if not wanted or says_no(answer):
        return answer
    body = filtered(answer.body, wanted) if answer.rest is None else None
    if body is None:
        let_go(answer)
        raise GatewayGarbled("the list of orders cannot be read, and so not be filtered")
    return replace(answer, body=body)


def without_filters(target: str) -> tuple[str, frozenset[str]]:
    """A target without its filters, and those; written with underscores or in CamelCase, as clients do.

    Raises:
        BadRequest: a filter that is none.
    """
    path, _, query = target.partition("?")
    parts = [(part, *map(unquote_plus, part.partition("=")[::2])) for part in query.split("&")]
    values = [value for _, name, value in parts if name == "filters"]
    wanted = frozenset(_plain(name) for value in values for name in value.split(",") if name)
    if wanted - {*STATES, BY_TIME}:
        raise BadRequest("a filter of orders that is none", hint=HINT)
    kept = "&".join(part for part, name, _ in parts if name != "filters")
    return path + ("?" + kept if kept else ""), wanted


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def filtered(body: bytes, wanted: frozenset[str]) -> bytes | None:
    """The list with the orders in one of the wanted states, each as IBKR wrote it; None where it is no list."""
    try:
        told = members(body.decode())
        orders = elements(told["orders"][1])
    except (ValueError, KeyError, RecursionError):
        return None
    states = wanted - {BY_TIME}
    kept = [(order, text) for order, text in orders if not states or _plain(_told(order, "status")) in states]
    if BY_TIME in wanted:
        kept.sort(key=lambda part: _time(part[0]), reverse=True)
    texts = {name: text for name, (_, text) in told.items()} | {"orders": joined([text for _, text in kept])}
    return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in texts.items()) + "}").encode()


def _told(order: object, name: str) -> str:
    return str(order.get(name, "")) if isinstance(order, dict) else ""


def _time(order: object) -> float:
    told = order.get("lastExecutionTime_r") if isinstance(order, dict) else None
    return told if isinstance(told, int | float) else 0.0
