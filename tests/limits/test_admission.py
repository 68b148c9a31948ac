"""Turns: the room with futures and a clock; nobody is lost between waiting and being let in."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from ibkr_bridge.errors import Busy, RateLimited
from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.ibkr.endpoint import Priority, RateLimit
from ibkr_bridge.limits.admission import AdmissionController, Permit
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock

READS, ORDERS = Priority.READS, Priority.ORDERS
PLAIN = match("GET", ("portfolio", "DU1", "meta"))
ORDERS_LIST = match("GET", ("iserver", "account", "orders"))
USUAL = Limits.of(GATEWAY_TRAITS)
FEW = replace(USUAL, slots=2, slots_for_orders=1, total=None, by_priority={})
ONE_A_SECOND = replace(USUAL, total=RateLimit(1, 1.0, "test"), by_priority={})


@pytest.fixture
def clock() -> ManualClock:
    """Time moved by hand."""
    return ManualClock()


@pytest.fixture
async def kept() -> AsyncIterator[list[asyncio.Task[object]]]:
    """Loops that run while a test does."""
    tasks: list[asyncio.Task[object]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def take(
    admission: AdmissionController, importance: Priority = READS, wait: float = 60.0, key: str = "app"
) -> Permit:
    """A turn for a call without a pace of its own."""
    return await admission.acquire(PLAIN, importance, key, wait)


async def soon() -> None:
    """Let everybody who can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_place_given_back_goes_to_who_waits(clock: ManualClock) -> None:
    """At once, without a look at the clock; said twice it is given back once."""
    admission = AdmissionController(FEW, clock)
    first = await take(admission)
    waiting = asyncio.create_task(take(admission))
    await soon()
    before = waiting.done(), admission.waiting()[READS]

    first.release()
    first.release()
    second = await waiting

    assert before == (False, 1)
    assert (admission.slots_taken, admission.waiting().total()) == (1, 0)
    second.release()
    assert admission.slots_taken == 0
    assert repr(admission) == "<AdmissionController of <AdmissionQueue 0/2 taken, 0 waiting>>"


async def test_an_order_takes_the_place_that_is_kept_for_it(clock: ManualClock) -> None:
    """While reads wait."""
    admission = AdmissionController(FEW, clock)
    await take(admission)
    reading = asyncio.create_task(take(admission))
    await soon()

    await take(admission, ORDERS)

    assert (admission.slots_taken, reading.done()) == (2, False)
    reading.cancel()


async def test_time_alone_lets_in(clock: ManualClock, kept: list[asyncio.Task[object]]) -> None:
    """The window opens a second after the answer."""
    admission = AdmissionController(ONE_A_SECOND, clock)
    kept.append(asyncio.create_task(admission.run_loop()))
    first = await take(admission)
    first.is_sent = True
    first.release()
    waiting = asyncio.create_task(take(admission))
    await clock.asleep(2)  # who waits, and the loop that will let them in

    clock.advance(0.99)
    await soon()
    before = waiting.done()
    clock.advance(0.02)
    second = await waiting

    assert (before, admission.budget_used) == (False, 1)
    second.release()  # never sent, so never counted
    assert admission.budget_used == 0


async def test_who_would_wait_too_long_is_told_at_once(clock: ManualClock) -> None:
    """And how long it would be."""
    admission = AdmissionController(USUAL, clock)
    (await admission.acquire(ORDERS_LIST, READS, "app", 5.0)).is_sent = True

    with pytest.raises(RateLimited) as caught:
        await admission.acquire(ORDERS_LIST, READS, "app", 4.0)

    assert caught.value.retry_after == pytest.approx(5.0, rel=1e-3)
    assert admission.waiting().total() == 0


async def test_places_that_stay_taken_are_no_pace(clock: ManualClock) -> None:
    """Calls that hang over there: then it is `busy`."""
    admission = AdmissionController(FEW, clock)
    await take(admission)
    waiting = asyncio.create_task(take(admission, wait=3.0))
    await clock.asleep(1)
    clock.advance(4.0)

    with pytest.raises(Busy):
        await waiting
    assert admission.waiting().total() == 0


async def test_who_leaves_while_waiting_is_forgotten(clock: ManualClock) -> None:
    """Their call is never sent, and the next one's turn comes."""
    admission = AdmissionController(FEW, clock)
    first = await take(admission)
    gone, stays = asyncio.create_task(take(admission)), asyncio.create_task(take(admission))
    await soon()

    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    first.release()

    assert (await stays) is not None
    assert admission.slots_taken == 1


async def test_a_turn_that_comes_to_somebody_who_leaves_goes_on(clock: ManualClock) -> None:
    """Both in the same moment."""
    admission = AdmissionController(FEW, clock)
    first = await take(admission)
    gone, stays = asyncio.create_task(take(admission)), asyncio.create_task(take(admission))
    await soon()

    first.release()  # it is theirs now
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone

    assert (await stays) is not None
    assert admission.slots_taken == 1


async def test_one_sent_again_is_counted_again(clock: ManualClock) -> None:
    """Where there is room for it."""
    admission = AdmissionController(replace(USUAL, total=RateLimit(2, 1.0, "test"), by_priority={}), clock)
    permit = await take(admission)
    permit.is_sent = True

    again = permit.readmit(), permit.readmit()
    permit.release()

    assert (again, admission.budget_used) == ((True, False), 2)


@pytest.mark.parametrize("queue", [2, 5])
async def test_those_who_have_gone_do_not_fill_the_room(clock: ManualClock, queue: int) -> None:
    """Nor is a turn given to one of them."""
    admission = AdmissionController(dataclasses.replace(FEW, max_queued=queue), clock)
    first = await take(admission)
    there = [True, True]
    gone = [
        asyncio.create_task(admission.acquire(PLAIN, READS, "app", 60.0, is_connected=lambda: there[0])),
        asyncio.create_task(admission.acquire(PLAIN, READS, "app", 60.0, is_connected=lambda: there[1])),
    ]
    await clock.asleep(2)

    there[:] = [False, False]
    last = asyncio.create_task(take(admission, wait=60.0))
    await clock.asleep(3)
    first.release()

    assert (await last) is not None
    assert not any(task.done() for task in gone)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
