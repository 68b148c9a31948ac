"""The order lock: one order at a time, the others wait in order, and each has a maximum wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.response import Question
from ibkr_bridge.orders.serialization import REPLY_TIMEOUT_S, OrderLock
from tests.clocks import ManualClock
from tests.harness import with_timeout

FACTS = RequestFacts(Effect.TRADE, OrderOperation.PLACE)
A, B, C = (OrderRecord(name, OrderOperation.PLACE) for name in "abc")


def is_connected() -> bool:
    """A caller that stays connected."""
    return True


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def lock(clock: ManualClock) -> OrderLock:
    """A free order lock."""
    return OrderLock(clock)


async def test_the_lock_is_acquired_in_the_order_of_arrival(lock: OrderLock, clock: ManualClock) -> None:
    """The first order gets it at once."""
    await lock.acquire(A, 0.0, is_connected)
    others = [asyncio.create_task(lock.acquire(record, 5.0, is_connected)) for record in (B, C)]
    await clock.wait_for_sleepers(2)

    lock.release(A)
    await with_timeout(others[0])
    lock.release(B)

    await with_timeout(others[1])


async def test_the_error_after_the_maximum_wait_names_the_blocking_order(lock: OrderLock, clock: ManualClock) -> None:
    """It also says when the question ends at the latest."""
    asking = OrderRecord("asking", OrderOperation.PLACE)
    await lock.acquire(asking, 0.0, is_connected)
    lock.hold_for_question(asking, Question(("r",), ("o163",)), FACTS)
    waiting = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    await clock.wait_for_sleepers(1)

    clock.advance(5.0)

    with pytest.raises(OrderInProgress, match="asking") as error:
        await with_timeout(waiting)
    assert error.value.retry_after == REPLY_TIMEOUT_S - 5.0


async def test_a_disconnected_caller_is_skipped(lock: OrderLock, clock: ManualClock) -> None:
    """No order waits behind a caller that disconnected."""
    await lock.acquire(A, 0.0, is_connected)
    disconnected = asyncio.create_task(lock.acquire("disconnected", 5.0, lambda: False))
    waiting = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    await clock.wait_for_sleepers(2)

    lock.release(A)

    await with_timeout(waiting)
    with pytest.raises(CallerGone):
        await with_timeout(disconnected)


async def test_a_cancelled_caller_leaves_the_lock_to_the_next(lock: OrderLock, clock: ManualClock) -> None:
    """Also if it got the lock in the same step of the loop."""
    await lock.acquire(A, 0.0, is_connected)
    cancelled = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    waiting = asyncio.create_task(lock.acquire(C, 5.0, is_connected))
    await clock.wait_for_sleepers(2)

    lock.release(A)
    cancelled.cancel()

    await with_timeout(waiting)
    with suppress(asyncio.CancelledError):
        await cancelled


async def test_only_the_holder_can_release_the_lock(lock: OrderLock, clock: ManualClock) -> None:
    """A late release of another order has no effect."""
    await lock.acquire(A, 0.0, is_connected)
    lock.release(B)
    waiting = asyncio.create_task(lock.acquire(C, 1.0, is_connected))
    await clock.wait_for_sleepers(1)

    clock.advance(1.0)

    with pytest.raises(OrderInProgress):
        await with_timeout(waiting)
