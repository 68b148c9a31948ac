"""Reads orders and trades by calls, as the second source of the stream when IBKR does not answer there.

The calls pass all stages like those of a caller: a list that is in the cache, or on its way, costs no call, and IBKR's
limit of one in five seconds is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ibkr_bridge.calls.context import CallContext, CallerGone
from ibkr_bridge.calls.facts import READ_FACTS
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Response, discard, read_fully
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.ibkr.catalogue import ORDERS_LIST, TRADES, api_path, endpoint_of
from ibkr_bridge.orders.reconciliation.ibkr_rows import read_orders
from ibkr_bridge.orders.service import BRIDGE_KEY_LABEL, MAX_LIST_BYTES
from ibkr_bridge.streaming.protocol import Args, TopicKind, trade_days
from ibkr_bridge.streaming.second_source import ReadRows

READ_WAIT_S = 12.0  # seconds: a turn behind a caller's read comes after 5 s, and one more may be waiting

Row = dict[str, Any]
Execute = Callable[[CallContext], Awaitable[Response]]


def topic_reads(execute: Execute) -> Mapping[TopicKind, ReadRows]:
    """The functions that read the rows of a kind of topic.

    Args:
        execute: takes a call through all stages.
    """

    async def read_orders_rows(_: Args) -> list[Row] | None:
        return orders_of(await _fetch(execute, api_path(ORDERS_LIST)))

    async def read_trades_rows(args: Args) -> list[Row] | None:
        days = trade_days(args)
        return trades_of(await _fetch(execute, api_path(TRADES) + (f"?days={days}" if days > 1 else "")))

    return {TopicKind.ORDERS: read_orders_rows, TopicKind.TRADES: read_trades_rows}


async def _fetch(execute: Execute, target: str) -> bytes:
    """The body of a successful response; empty if there is none."""
    call = Call("GET", target, request_headers(()))
    context = CallContext(call, endpoint_of(call.method, call.target), READ_FACTS, BRIDGE_KEY_LABEL, READ_WAIT_S)
    try:
        response = await read_fully(await execute(context), MAX_LIST_BYTES)
    except (BridgeError, CallerGone):
        return b""
    discard(response)
    return response.body if response.status == 200 and response.body_stream is None else b""


def orders_of(body: bytes) -> list[Row] | None:
    """The rows of a list of orders; None if it is not one, or IBKR calls it incomplete."""
    rows, is_complete = read_orders(body)
    return [dict(row) for row in rows] if is_complete else None


def trades_of(body: bytes) -> list[Row] | None:
    """The rows of a list of trades; None if it is not one."""
    rows = parse_json(body)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None
