"""The same call once more: who comes while it is under way waits with the first, who comes later is told the same."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress

from ibkr_bridge.calls.messages import Answer, in_words
from ibkr_bridge.errors import BridgeError, OrderInProgress, OrderNotPlaced, OrderUnknown
from ibkr_bridge.orders.journal.order_record import Flight, Record
from ibkr_bridge.orders.journal.transitions import State
from ibkr_bridge.orders.request import Wish

LONGEST = 120.0  # seconds; an order's own deadlines are over long before


async def again(record: Record, wish: Wish) -> Answer:
    """What is told to a caller whose call is an order we know.

    Raises:
        BridgeError: what the first one was told.
    """
    flight = record.flight
    if flight is not None and not flight.done.is_set():
        wish.source = "shared"
        return await joined(record, flight, wish)
    wish.source = "cache" if record.spoken is not None else "bridge"
    if wish.idempotency and record.own_answer is not None and not record.told_unknown:
        return record.own_answer.answer  # to the byte, whatever came later: so a key promises
    return retold(record)


async def joined(record: Record, flight: Flight, wish: Wish) -> Answer:
    """Wait with those who wait already.

    Raises:
        BridgeError: what all of them are told.
    """
    flight.passengers.append(wish.is_there)
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST):
            await flight.done.wait()
    if isinstance(flight.result, Answer):
        return flight.result
    if flight.result is None and record.lost:
        raise unknown(record)
    raise copy.copy(flight.result or OrderInProgress("the same order is still under way", retry_after=5.0))


def retold(record: Record) -> Answer:
    """The answer its first caller had, or would have had; where there was none, what has been found out since.

    Raises:
        BridgeError: what it was told instead.
    """
    if record.told_unknown:
        raise unknown(record)
    if record.spoken is not None:
        return record.spoken.answer
    if record.state is State.PLACED:
        return _found(record)
    raise not_placed(record) if record.state is State.NOT_PLACED else unknown(record)


def unknown(record: Record) -> BridgeError:
    """What is told of an order whose answer was lost: each time the same, to the byte."""
    error = OrderUnknown(f"{record.lost_why}; order {record.id} is being looked for")
    error.request_id = record.lost_request or record.request
    return error


def not_placed(record: Record) -> BridgeError:
    """What is told of one that was lost, looked for, and not found, before anybody could be told."""
    error = OrderNotPlaced(f"order {record.id} was lost on its way and does not exist at IBKR")
    error.request_id = record.request
    return error


def _found(record: Record) -> Answer:
    """An answer in IBKR's shape for an order that was found, when its own answer never came."""
    named = {"local_order_id": record.names[0]} if record.names else {}
    told = [{"order_id": order, "order_status": record.status or "", **named} for order in record.order_ids]
    return in_words(told)
