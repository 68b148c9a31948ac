"""Duplicate requests: one that arrives while the first is running waits for its result; a later one gets the stored
response.
"""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress

from ibkr_bridge.calls.messages import Response, json_response
from ibkr_bridge.errors import BridgeError, OrderInProgress, OrderNotPlaced, OrderUnknown
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.request import OrderRequest

MAX_JOIN_S = 120.0  # seconds; the deadlines of an order end long before


async def replay(record: OrderRecord, order_request: OrderRequest) -> Response:
    """Return the response of the earlier order that the call repeats.

    Raises:
        BridgeError: the error that the first caller got.
    """
    in_flight = record.in_flight
    if in_flight is not None and not in_flight.done.is_set():
        order_request.source = "shared"
        return await join(record, in_flight, order_request)
    order_request.source = "cache" if record.latest_response is not None else "bridge"
    if order_request.idempotency_key and record.first_response is not None and not record.unknown_delivered:
        return record.first_response.as_response  # byte for byte, whatever came later: an Idempotency-Key promises this
    return stored_response(record)


async def join(record: OrderRecord, in_flight: InFlightOrder, order_request: OrderRequest) -> Response:
    """Wait for the result of an order that is running.

    Raises:
        BridgeError: the error that all waiting callers get.
    """
    in_flight.waiters.append(order_request.is_connected)
    with suppress(TimeoutError):
        async with asyncio.timeout(MAX_JOIN_S):
            await in_flight.done.wait()
    if isinstance(in_flight.result, Response):
        return in_flight.result
    if in_flight.result is None and record.lost_at:
        raise unknown_error(record)
    raise copy.copy(in_flight.result or OrderInProgress("the same order is still being sent", retry_after=5.0))


def stored_response(record: OrderRecord) -> Response:
    """The response that the first caller got, or would have got; if there was none, the result of reconciliation.

    Raises:
        BridgeError: the error that the first caller got instead.
    """
    if record.unknown_delivered:
        raise unknown_error(record)
    if record.latest_response is not None:
        return record.latest_response.as_response
    if record.state is OrderState.PLACED:  # it was found, and IBKR's own response never came; this has its form
        coid_members = {"local_order_id": record.coids[0]} if record.coids else {}
        about = {"order_status": record.ibkr_status or "", **coid_members}
        return json_response([{"order_id": order, **about} for order in record.order_ids])
    raise not_placed_error(record) if record.state is OrderState.NOT_PLACED else unknown_error(record)


def unknown_error(record: OrderRecord) -> BridgeError:
    """The error of an order whose response was lost; it is the same each time, byte for byte."""
    error = OrderUnknown(f"{record.lost_reason}; order {record.id} is being searched for")
    error.request_id = record.lost_request_id or record.request_id
    return error


def not_placed_error(record: OrderRecord) -> BridgeError:
    """The error of an order that was lost and not found before any caller got a response."""
    if record.operation is OrderOperation.PLACE:
        error = OrderNotPlaced(f"order {record.id} was lost before IBKR received it and does not exist at IBKR")
    else:
        detail = f"{record.operation.value} {record.id} was lost before IBKR received it"
        error = OrderNotPlaced(detail, hint="the order that it was about is as it was: GET /orders shows it")
    error.request_id = record.request_id
    return error
