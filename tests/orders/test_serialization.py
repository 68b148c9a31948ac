"""The order lock: one order at a time, the others wait in order, and each has a maximum wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.errors import Busy, OrderInProgress
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.response import Question
from ibkr_bridge.orders.serialization import OrderLock
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
    assert error.value.retry_after == 60.0 - 5.0


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


# -- previews


def start_preview(lock: OrderLock, name: str, *, has_reduced_share: bool = False) -> asyncio.Task[None]:
    """A preview that waits for the lock."""
    return asyncio.create_task(lock.acquire_for_preview(name, 60.0, is_connected, has_reduced_share=has_reduced_share))


async def test_a_placement_goes_before_previews_that_wait_longer(lock: OrderLock, clock: ManualClock) -> None:
    """Previews change nothing: the page of a token must not make orders wait."""
    await lock.acquire(A, 0.0, is_connected)
    preview = start_preview(lock, "preview")
    await clock.wait_for_sleepers(1)
    placement = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    await clock.wait_for_sleepers(2)

    lock.release(A)
    await with_timeout(placement)
    has_waited = not preview.done()
    lock.release(B)
    await with_timeout(preview)

    assert has_waited


async def test_few_previews_may_wait(lock: OrderLock, clock: ManualClock) -> None:
    """Of four places a token gets three; a placement still finds its turn."""
    await lock.acquire(A, 0.0, is_connected)
    waiting = [start_preview(lock, f"token {number}", has_reduced_share=True) for number in range(3)]
    await clock.wait_for_sleepers(3)

    with pytest.raises(Busy):
        await with_timeout(start_preview(lock, "a fourth of a token", has_reduced_share=True))
    waiting.append(start_preview(lock, "one of the full key"))
    await clock.wait_for_sleepers(4)
    with pytest.raises(Busy):
        await with_timeout(start_preview(lock, "a second of the full key"))

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    lock.release(A)

    assert lock.try_acquire("another")  # those that gave up hold nothing


async def test_a_preview_takes_a_free_lock_at_once(lock: OrderLock) -> None:
    """And gives it back like a placement."""
    await lock.acquire_for_preview("preview", 0.0, is_connected, has_reduced_share=True)

    assert not lock.try_acquire(A)
    lock.release("preview")
    assert lock.try_acquire(A)


async def test_a_preview_waits_no_longer_than_its_caller(lock: OrderLock, clock: ManualClock) -> None:
    """Its place is free again after that."""
    await lock.acquire(A, 0.0, is_connected)
    waiting = asyncio.create_task(lock.acquire_for_preview("p", 5.0, is_connected, has_reduced_share=False))
    await clock.wait_for_sleepers(1)

    clock.advance(5.0)

    with pytest.raises(OrderInProgress):
        await with_timeout(waiting)
    assert not lock._waiting_previews


async def test_a_question_waits_for_sixty_seconds_and_wakes_the_loop_that_declines_it(
    lock: OrderLock, clock: ManualClock
) -> None:
    """The time that the documents name. Without the call the loop would sleep an hour."""
    wakes: list[object] = []
    lock.on_question = lambda: wakes.append(lock.pending)
    await lock.acquire(A, 0.0, is_connected)

    pending = lock.hold_for_question(A, Question(("r",), ("o163",)), FACTS)

    assert pending.expires_at == clock.now() + 60.0
    assert (wakes, lock.pending) == ([pending], pending)
    assert (pending.record, pending.facts, pending.is_answered, pending.is_over) == (A, FACTS, False, False)


async def wait_in_vain(lock: OrderLock, clock: ManualClock) -> None:
    """Wait five seconds for a lock that is held."""
    waiting = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    await with_timeout(clock.wait_for_sleepers(1))
    clock.advance(5.0)
    await with_timeout(waiting)


async def test_who_waits_for_an_order_without_a_question_may_retry_in_a_second(
    lock: OrderLock, clock: ManualClock
) -> None:
    """It is being sent, which takes no minute. A question that is nearly over is not said to end at once either."""
    await lock.acquire(A, 0.0, is_connected)
    with pytest.raises(OrderInProgress, match="another order is being sent") as sending:
        await wait_in_vain(lock, clock)
    lock.hold_for_question(A, Question(("r",), ()), FACTS).expires_at -= 54.9
    with pytest.raises(OrderInProgress, match="order a waits for the reply") as nearly_over:
        await wait_in_vain(lock, clock)

    assert (sending.value.retry_after, nearly_over.value.retry_after) == (1.0, 1.0)


async def test_an_order_that_stopped_waiting_never_gets_the_lock(lock: OrderLock, clock: ManualClock) -> None:
    """Nobody would give it back, and all orders would wait for ever."""
    await lock.acquire(A, 0.0, is_connected)
    waiting = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    await with_timeout(clock.wait_for_sleepers(1))
    clock.advance(5.0)
    with pytest.raises(OrderInProgress):
        await with_timeout(waiting)

    lock.release(A)

    assert lock.try_acquire(C)


async def test_a_new_order_does_not_overtake_one_that_waits(lock: OrderLock, clock: ManualClock) -> None:
    """Not even in the step in which the lock is free and the waiting order has not run yet."""
    await lock.acquire(A, 0.0, is_connected)
    waiting = asyncio.create_task(lock.acquire(B, 5.0, is_connected))
    await with_timeout(clock.wait_for_sleepers(1))

    lock.release(A)

    assert not lock.try_acquire(C)
    await with_timeout(waiting)
    assert lock.try_acquire(B)


async def test_releasing_the_lock_ends_its_question(lock: OrderLock) -> None:
    """The next order must not be told of it."""
    await lock.acquire(A, 0.0, is_connected)
    lock.hold_for_question(A, Question(("r",), ()), FACTS)

    lock.release(A)

    assert lock.pending is None
    assert lock.try_acquire(B)


async def test_an_equal_holder_is_not_the_same_holder(lock: OrderLock) -> None:
    """Holders are told apart by identity: two previews may be equal."""
    first, second = [1], [1]
    lock.try_acquire(first)

    lock.release(second)

    assert not lock.try_acquire(second)
