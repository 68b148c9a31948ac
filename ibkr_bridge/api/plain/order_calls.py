"""One order call of IBKR's for a request of the plain API, and the order that it has made or changed.

Each goes the way of every order: rules, lock, journal, stages. The answer is the order as the journal has it then; what
IBKR refused is an error with the order in it.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from ibkr_bridge.api.order_submission import submit_order
from ibkr_bridge.api.plain.journal import describe
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import (
    BridgeError,
    OrderInProgress,
    OrderNotFound,
    OrderNotPlaced,
    OrderNotWorking,
    OrderRejected,
)
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.ibkr.reads import OrderPath
from ibkr_bridge.models.orders import Order
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.server.app_keys import DRAIN, REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.request_parsing import build_context
from ibkr_bridge.translation.numbers import Row

GONE_WORDS = "doesn't exist"  # IBKR's of an order that has ended: `OrderID 12 doesn't exist`
UNCHANGED_HINT = "the order itself is as it was: GET /orders/{id} shows it; do not send it as a new one"


async def submit(
    request: web.Request, path: OrderPath, body: bytes, *, identity: bytes = b"", must_not_be_sent: bool = False
) -> OrderRecord | None:
    """Submit an order call. Returns its record.

    Args:
        identity: what the caller wrote, if the body was made from it and from what IBKR shows now.
        must_not_be_sent: whether it is a repetition, whose answer the journal has.
    """
    context = call_context(request, path, body)
    if must_not_be_sent:
        context.preconditions.append(_refuse_repeat)
    request_context = request[REQUEST_CONTEXT]
    request_context.timing = context.timing
    with request.app[DRAIN].order_counter:
        await submit_order(request, profile_of(request), context, path.segments, identity)
    request_context.source = context.source
    return request_context.order_record


def _refuse_repeat(_: CallContext) -> None:
    """Stop a repeat whose first call has ended meanwhile: its body is not that of a new one."""
    raise OrderInProgress("the order that this call repeats has just ended", retry_after=1.0)


def call_context(request: web.Request, path: OrderPath, body: bytes) -> CallContext:
    """The call that a request of the plain API becomes."""
    endpoint = endpoint_of(path.method, path.target)
    headers = request_headers(JSON_HEADERS if body else ())
    call = Call(path.method, path.target, headers, body, is_change=endpoint.effect is not Effect.READ)
    return build_context(request, call, endpoint, path.segments, max_wait_s=profile_of(request).settings.max_wait_s)


def account_of(record: OrderRecord | None, row: Row | None) -> str:
    """The account of an order.

    Raises:
        OrderNotFound: nothing says which one it is.
    """
    account = record.account if record is not None else None
    account = account or (str(row["acct"]) if row is not None and row.get("acct") else None)
    if account is None:
        raise OrderNotFound("IBKR has no such order")
    return account


def order_of(request: web.Request, record: OrderRecord | None, *, is_wanted: bool = True) -> Order:
    """The order that a call has made or changed.

    Args:
        record: what was sent.
        is_wanted: whether the caller wanted the order to be placed.

    Raises:
        OrderRejected, OrderNotWorking, OrderNotPlaced: IBKR refused it.
    """
    if record is None:
        raise OrderNotFound("the journal has no such order")
    order = describe(request, record)
    if record.state is OrderState.REJECTED or (record.state is OrderState.NOT_PLACED and is_wanted):
        raise _refusal(record, order)
    return order


def _refusal(record: OrderRecord, order: Order) -> BridgeError:
    words, members = order.error or "without a reason", {"order": msgspec.to_builtins(order)}
    if record.state is OrderState.NOT_PLACED:
        hint = None if record.operation is OrderOperation.PLACE else UNCHANGED_HINT
        return OrderNotPlaced(f"order {record.id} is not placed: {words}", hint=hint, members=members)
    if record.operation is OrderOperation.CANCEL:
        return OrderNotWorking(f"IBKR did not cancel it: {words}", members=members)
    if record.operation is OrderOperation.MODIFY and GONE_WORDS in words:
        return OrderNotWorking(f"IBKR did not change it: {words}", members=members)
    if record.operation is OrderOperation.MODIFY:
        return OrderRejected(f"IBKR rejected the change: {words}", hint=UNCHANGED_HINT, members=members)
    return OrderRejected(f"IBKR rejected it: {words}", members=members)
