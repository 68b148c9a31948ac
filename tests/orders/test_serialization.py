"""One order at a time: who waits, who goes next, who is told that it takes too long."""

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
from tests.harness import within

ASKED = RequestFacts(Effect.TRADE, OrderOperation.PLACE)
A, B, C = (OrderRecord(name, OrderOperation.PLACE) for name in "abc")


def there() -> bool:
    """Somebody still waits."""
    return True


@pytest.fixture
def clock() -> ManualClock:
    """Time, moved by hand."""
    return ManualClock()


@pytest.fixture
def lock(clock: ManualClock) -> OrderLock:
    """A setup nobody is at."""
    return OrderLock(clock)


async def test_the_first_goes_at_once_and_others_in_their_order(lock: OrderLock, clock: ManualClock) -> None:
    """Whoever came first."""
    await lock.acquire(A, 0.0, there)
    others = [asyncio.create_task(lock.acquire(each, 5.0, there)) for each in (B, C)]
    await clock.asleep(2)

    lock.release(A)
    await within(others[0])
    lock.release(B)

    await within(others[1])


async def test_whoever_would_wait_longer_is_told_what_is_in_the_way(lock: OrderLock, clock: ManualClock) -> None:
    """And when it will be over at the latest."""
    asking = OrderRecord("asking", OrderOperation.PLACE)
    await lock.acquire(asking, 0.0, there)
    lock.hold_for_question(asking, Question(("r",), ("o163",)), ASKED)
    waiting = asyncio.create_task(lock.acquire(B, 5.0, there))
    await clock.asleep(1)

    clock.advance(5.0)

    with pytest.raises(OrderInProgress, match="asking") as error:
        await within(waiting)
    assert error.value.retry_after == REPLY_TIMEOUT_S - 5.0


async def test_who_has_gone_is_passed_over_and_told_so(lock: OrderLock, clock: ManualClock) -> None:
    """Nobody waits behind a caller who hung up."""
    await lock.acquire(A, 0.0, there)
    gone = asyncio.create_task(lock.acquire("gone", 5.0, lambda: False))
    waiting = asyncio.create_task(lock.acquire(B, 5.0, there))
    await clock.asleep(2)

    lock.release(A)

    await within(waiting)
    with pytest.raises(CallerGone):
        await within(gone)


async def test_who_is_cancelled_leaves_the_turn_to_the_next(lock: OrderLock, clock: ManualClock) -> None:
    """Even where it came in that very moment."""
    await lock.acquire(A, 0.0, there)
    cancelled = asyncio.create_task(lock.acquire(B, 5.0, there))
    waiting = asyncio.create_task(lock.acquire(C, 5.0, there))
    await clock.asleep(2)

    lock.release(A)
    cancelled.cancel()

    await within(waiting)
    with suppress(asyncio.CancelledError):
        await cancelled


async def test_only_who_holds_it_can_leave(lock: OrderLock, clock: ManualClock) -> None:
    """A late word of somebody else changes nothing."""
    await lock.acquire(A, 0.0, there)
    lock.release(B)
    waiting = asyncio.create_task(lock.acquire(C, 1.0, there))
    await clock.asleep(1)

    clock.advance(1.0)

    with pytest.raises(OrderInProgress):
        await within(waiting)
