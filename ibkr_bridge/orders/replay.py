"""The same call once more: who comes while it is under way waits with the first, who comes later is told the same."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress

from ibkr_bridge.calls.messages import Response, json_response
from ibkr_bridge.errors import BridgeError, OrderInProgress, OrderNotPlaced, OrderUnknown
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.request import OrderRequest

MAX_JOIN_S = 120.0  # seconds; an order's own deadlines are over long before


async def replay(record: OrderRecord, order_request: OrderRequest) -> Response:
    """What is told to a caller whose call is an order we know.

    Raises:
        BridgeError: what the first one was told.
    """
    in_flight = record.in_flight
    if in_flight is not None and not in_flight.done.is_set():
        order_request.source = "shared"
        return await join(record, in_flight, order_request)
    order_request.source = "cache" if record.latest_response is not None else "bridge"
    if order_request.idempotency_key and record.first_response is not None and not record.unknown_delivered:
        return record.first_response.as_response  # to the byte, whatever came later: so a key promises
    return stored_response(record)


async def join(record: OrderRecord, in_flight: InFlightOrder, order_request: OrderRequest) -> Response:
    """Wait with those who wait already.

    Raises:
        BridgeError: what all of them are told.
    """
    in_flight.waiters.append(order_request.is_connected)
    with suppress(TimeoutError):
        async with asyncio.timeout(MAX_JOIN_S):
            await in_flight.done.wait()
    if isinstance(in_flight.result, Response):
        return in_flight.result
    if in_flight.result is None and record.lost_at:
        raise unknown_error(record)
    raise copy.copy(in_flight.result or OrderInProgress("the same order is still under way", retry_after=5.0))


def stored_response(record: OrderRecord) -> Response:
    """The answer its first caller had, or would have had; where there was none, what has been found out since.

    Raises:
        BridgeError: what it was told instead.
    """
    if record.unknown_delivered:
        raise unknown_error(record)
    if record.latest_response is not None:
        return record.latest_response.as_response
    if record.state is OrderState.PLACED:
        return _response_for_found(record)
    raise not_placed_error(record) if record.state is OrderState.NOT_PLACED else unknown_error(record)


def unknown_error(record: OrderRecord) -> BridgeError:
    """What is told of an order whose answer was lost: each time the same, to the byte."""
    error = OrderUnknown(f"{record.lost_reason}; order {record.id} is being looked for")
    error.request_id = record.lost_request_id or record.request_id
    return error


def not_placed_error(record: OrderRecord) -> BridgeError:
    """What is told of one that was lost, looked for, and not found, before anybody could be told."""
    error = OrderNotPlaced(f"order {record.id} was lost on its way and does not exist at IBKR")
    error.request_id = record.request_id
    return error


def _response_for_found(record: OrderRecord) -> Response:
    """An answer in IBKR's shape for an order that was found, when its own answer never came."""
    named = {"local_order_id": record.coids[0]} if record.coids else {}
    told = [{"order_id": order, "order_status": record.ibkr_status or "", **named} for order in record.order_ids]
    return json_response(told)
