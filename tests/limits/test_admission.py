"""Turns: the room with futures and a clock; nobody is lost between waiting and being let in."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from ibkr_bridge.errors import Busy, Paced
from ibkr_bridge.ibkr.catalogue import find
from ibkr_bridge.ibkr.endpoint import Pace
from ibkr_bridge.limits.admission import Turn, Turns
from ibkr_bridge.limits.admission_queue import Importance, Limits
from tests.clocks import ManualClock

READS, ORDERS = Importance.READS, Importance.ORDERS
PLAIN = find("GET", ("portfolio", "DU1", "meta"))
ORDERS_LIST = find("GET", ("iserver", "account", "orders"))
FEW = Limits(places=2, for_orders=1, everything=None, shares={})
ONE_A_SECOND = Limits(everything=Pace(1, 1.0, "test"), shares={})


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


async def take(turns: Turns, importance: Importance = READS, wait: float = 60.0, key: str = "app") -> Turn:
    """A turn for a call without a pace of its own."""
    return await turns.take(PLAIN, importance, key, wait)


async def soon() -> None:
    """Let everybody who can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_place_given_back_goes_to_who_waits(clock: ManualClock) -> None:
    """At once, without a look at the clock; said twice it is given back once."""
    turns = Turns(FEW, clock)
    first = await take(turns)
    waiting = asyncio.create_task(take(turns))
    await soon()
    before = waiting.done(), turns.waiting()[READS]

    first.left()
    first.left()
    second = await waiting

    assert before == (False, 1)
    assert (turns.taken, turns.waiting().total()) == (1, 0)
    second.left()
    assert turns.taken == 0
    assert repr(turns) == "<Turns of <Room 0/2 taken, 0 waiting>>"


async def test_an_order_takes_the_place_that_is_kept_for_it(clock: ManualClock) -> None:
    """While reads wait."""
    turns = Turns(FEW, clock)
    await take(turns)
    reading = asyncio.create_task(take(turns))
    await soon()

    await take(turns, ORDERS)

    assert (turns.taken, reading.done()) == (2, False)
    reading.cancel()


async def test_time_alone_lets_in(clock: ManualClock, kept: list[asyncio.Task[object]]) -> None:
    """The window opens a second after the answer."""
    turns = Turns(ONE_A_SECOND, clock)
    kept.append(asyncio.create_task(turns.keep()))
    first = await take(turns)
    first.sent = True
    first.left()
    waiting = asyncio.create_task(take(turns))
    await clock.asleep(2)  # who waits, and the loop that will let them in

    clock.advance(0.99)
    await soon()
    before = waiting.done()
    clock.advance(0.02)
    second = await waiting

    assert (before, turns.used) == (False, 1)
    second.left()  # never sent, so never counted
    assert turns.used == 0


async def test_who_would_wait_too_long_is_told_at_once(clock: ManualClock) -> None:
    """And how long it would be."""
    turns = Turns(Limits(), clock)
    (await turns.take(ORDERS_LIST, READS, "app", 5.0)).sent = True

    with pytest.raises(Paced) as caught:
        await turns.take(ORDERS_LIST, READS, "app", 4.0)

    assert caught.value.retry_after == pytest.approx(5.0, rel=1e-3)
    assert turns.waiting().total() == 0


async def test_places_that_stay_taken_are_no_pace(clock: ManualClock) -> None:
    """Calls that hang over there: then it is `busy`."""
    turns = Turns(FEW, clock)
    await take(turns)
    waiting = asyncio.create_task(take(turns, wait=3.0))
    await clock.asleep(1)
    clock.advance(4.0)

    with pytest.raises(Busy):
        await waiting
    assert turns.waiting().total() == 0


async def test_who_leaves_while_waiting_is_forgotten(clock: ManualClock) -> None:
    """Their call is never sent, and the next one's turn comes."""
    turns = Turns(FEW, clock)
    first = await take(turns)
    gone, stays = asyncio.create_task(take(turns)), asyncio.create_task(take(turns))
    await soon()

    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    first.left()

    assert (await stays) is not None
    assert turns.taken == 1


async def test_a_turn_that_comes_to_somebody_who_leaves_goes_on(clock: ManualClock) -> None:
    """Both in the same moment."""
    turns = Turns(FEW, clock)
    first = await take(turns)
    gone, stays = asyncio.create_task(take(turns)), asyncio.create_task(take(turns))
    await soon()

    first.left()  # it is theirs now
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone

    assert (await stays) is not None
    assert turns.taken == 1


async def test_one_sent_again_is_counted_again(clock: ManualClock) -> None:
    """Where there is room for it."""
    turns = Turns(Limits(everything=Pace(2, 1.0, "test"), shares={}), clock)
    turn = await take(turns)
    turn.sent = True

    again = turn.again(), turn.again()
    turn.left()

    assert (again, turns.used) == ((True, False), 2)


@pytest.mark.parametrize("queue", [2, 5])
async def test_those_who_have_gone_do_not_fill_the_room(clock: ManualClock, queue: int) -> None:
    """Nor is a turn given to one of them."""
    turns = Turns(dataclasses.replace(FEW, queue=queue), clock)
    first = await take(turns)
    there = [True, True]
    gone = [
        asyncio.create_task(turns.take(PLAIN, READS, "app", 60.0, is_there=lambda: there[0])),
        asyncio.create_task(turns.take(PLAIN, READS, "app", 60.0, is_there=lambda: there[1])),
    ]
    await clock.asleep(2)

    there[:] = [False, False]
    last = asyncio.create_task(take(turns, wait=60.0))
    await clock.asleep(3)
    first.left()

    assert (await last) is not None
    assert not any(task.done() for task in gone)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
