"""Filters the list of orders in the bridge: IBKR's own `filters` stop its order stream, and leave orders out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from ibkr_bridge.calls.messages import Call, FetchCall, Response, discard, is_refusal
from ibkr_bridge.errors import BadRequest, GatewayProtocolError
from ibkr_bridge.ibkr.json_spans import elements, join_array, members

ORDER_FILTERS = (
    *("inactive", "pendingsubmit", "presubmitted", "submitted", "filled"),
    *("pendingcancel", "precancelled", "cancelled", "warnstate"),
)
BY_TIME = "sortbytime"
FILTER_HINT = (
    "send some of inactive, pending_submit, pre_submitted, submitted, filled, pending_cancel, pre_cancelled, "
    "cancelled, warn_state, sort_by_time"
)


async def fetch_filtered_orders(ask: FetchCall, call: Call) -> Response:
    """Fetch IBKR's list without filters, and return the requested orders.

    Raises:
        BadRequest: an unknown filter.
        GatewayProtocolError: the list cannot be filtered; the complete list would be the wrong response.
    """
    target, wanted = without_filters(call.target)
    response = await ask(replace(call, target=target))
    if not wanted or is_refusal(response):
        return response
    body = filter_orders(response.body, wanted) if response.body_stream is None else None
    if body is None:
        discard(response)
        raise GatewayProtocolError("the list of orders cannot be read, so it cannot be filtered")
    return replace(response, body=body)


def without_filters(target: str) -> tuple[str, frozenset[str]]:
    """Split a target into the target without filters and the filters; clients write them with underscores or in
    CamelCase.

    Raises:
        BadRequest: an unknown filter.
    """
    path, _, query = target.partition("?")
    parts = [(part, *map(unquote_plus, part.partition("=")[::2])) for part in query.split("&")]
    values = [value for _, name, value in parts if name == "filters"]
    wanted = frozenset(_normalise_state(name) for value in values for name in value.split(",") if name)
    if wanted - {*ORDER_FILTERS, BY_TIME}:
        raise BadRequest("unknown order filter", hint=FILTER_HINT)
    rest = "&".join(part for part, name, _ in parts if name != "filters")
    return path + ("?" + rest if rest else ""), wanted


def _normalise_state(name: str) -> str:
    return name.replace("_", "").lower()


def filter_orders(body: bytes, wanted: frozenset[str]) -> bytes | None:
    """The list with the orders in one of the wanted states, each as IBKR wrote it; None if the body is not a list."""
    try:
        spans = members(body.decode())
        orders = elements(spans["orders"][1])
    except (ValueError, KeyError, RecursionError):
        return None
    states = wanted - {BY_TIME}
    rows = [(order if isinstance(order, dict) else {}, text) for order, text in orders]
    matching = [
        (row, text) for row, text in rows if not states or _normalise_state(str(row.get("status", ""))) in states
    ]
    if BY_TIME in wanted:
        matching.sort(key=lambda part: _order_time(part[0]), reverse=True)
    texts = {name: text for name, (_, text) in spans.items()} | {"orders": join_array([text for _, text in matching])}
    return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in texts.items()) + "}").encode()


def _order_time(row: dict[str, Any]) -> float:
    value = row.get("lastExecutionTime_r")
    return value if isinstance(value, int | float) else 0.0
