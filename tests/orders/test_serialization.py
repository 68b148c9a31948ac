"""One order at a time: who waits, who goes next, who is told that it takes too long."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.ibkr.endpoint import Effect, Order
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.response import Question
from ibkr_bridge.orders.serialization import ANSWER_WITHIN, Chain
from tests.clocks import ManualClock
from tests.harness import within

ASKED = Asked(Effect.TRADE, Order.PLACE)
A, B, C = (Record(name, Order.PLACE) for name in "abc")


def there() -> bool:
    """Somebody still waits."""
    return True


@pytest.fixture
def clock() -> ManualClock:
    """Time, moved by hand."""
    return ManualClock()


@pytest.fixture
def chain(clock: ManualClock) -> Chain:
    """A desk nobody is at."""
    return Chain(clock)


async def test_the_first_goes_at_once_and_others_in_their_order(chain: Chain, clock: ManualClock) -> None:
    """Whoever came first."""
    await chain.enter(A, 0.0, there)
    others = [asyncio.create_task(chain.enter(each, 5.0, there)) for each in (B, C)]
    await clock.asleep(2)

    chain.leave(A)
    await within(others[0])
    chain.leave(B)

    await within(others[1])


async def test_whoever_would_wait_longer_is_told_what_is_in_the_way(chain: Chain, clock: ManualClock) -> None:
    """And when it will be over at the latest."""
    asking = Record("asking", Order.PLACE)
    await chain.enter(asking, 0.0, there)
    chain.hang(asking, Question(("r",), ("o163",)), ASKED)
    waiting = asyncio.create_task(chain.enter(B, 5.0, there))
    await clock.asleep(1)

    clock.advance(5.0)

    with pytest.raises(OrderInProgress, match="asking") as error:
        await within(waiting)
    assert error.value.retry_after == ANSWER_WITHIN - 5.0


async def test_who_has_gone_is_passed_over_and_told_so(chain: Chain, clock: ManualClock) -> None:
    """Nobody waits behind a caller who hung up."""
    await chain.enter(A, 0.0, there)
    gone = asyncio.create_task(chain.enter("gone", 5.0, lambda: False))
    waiting = asyncio.create_task(chain.enter(B, 5.0, there))
    await clock.asleep(2)

    chain.leave(A)

    await within(waiting)
    with pytest.raises(CallerGone):
        await within(gone)


async def test_who_is_cancelled_leaves_the_turn_to_the_next(chain: Chain, clock: ManualClock) -> None:
    """Even where it came in that very moment."""
    await chain.enter(A, 0.0, there)
    cancelled = asyncio.create_task(chain.enter(B, 5.0, there))
    waiting = asyncio.create_task(chain.enter(C, 5.0, there))
    await clock.asleep(2)

    chain.leave(A)
    cancelled.cancel()

    await within(waiting)
    with suppress(asyncio.CancelledError):
        await cancelled


async def test_only_who_holds_it_can_leave(chain: Chain, clock: ManualClock) -> None:
    """A late word of somebody else changes nothing."""
    await chain.enter(A, 0.0, there)
    chain.leave(B)
    waiting = asyncio.create_task(chain.enter(C, 1.0, there))
    await clock.asleep(1)

    clock.advance(1.0)

    with pytest.raises(OrderInProgress):
        await within(waiting)
