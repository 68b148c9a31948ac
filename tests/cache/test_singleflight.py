"""Flights: one call for all who ask the same, whoever of them leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ibkr_bridge.cache.singleflight import Flight, Fly, Sharing
from ibkr_bridge.calls.messages import Answer
from ibkr_bridge.errors import Busy, Paced
from tests.clocks import ManualClock

ANSWER = Answer(200, {}, b"[]")


def flying(landing: asyncio.Future[Answer]) -> Fly:
    """A call that is answered when a test says so."""

    async def fly(_: Flight) -> Answer:
        return await landing

    return fly


def era() -> int:
    """Nothing makes anything stale."""
    return 0


def there() -> bool:
    """Somebody who stays."""
    return True


@pytest.fixture
async def landing() -> asyncio.Future[Answer]:
    """When and how a flight lands."""
    return asyncio.get_running_loop().create_future()


async def test_all_who_wait_get_the_one_answer(landing: asyncio.Future[Answer]) -> None:
    """And then the flight is over: the next one is another."""
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", era, 5.0, flying(landing))
    waiting = [asyncio.create_task(sharing.board(flight, there, 5.0)) for _ in range(3)]
    await asyncio.sleep(0)
    found = sharing.find("key", patience=5.0, unsent=False)

    landing.set_result(ANSWER)

    assert await asyncio.gather(*waiting) == [ANSWER] * 3
    assert (found is flight, sharing.find("key", patience=5.0, unsent=False)) == (True, None)
    assert repr(sharing) == "<Sharing 0 flights>"


@pytest.mark.parametrize(
    ("departed", "patience", "unsent", "joins"),
    [
        (True, 5.0, False, True),
        (True, 60.0, False, True),  # what has left waits no more
        (True, 1.0, True, False),
        (False, 5.4, False, True),
        (False, 6.0, False, False),
        (False, 1.0, True, True),
    ],
)
async def test_who_has_other_wishes_flies_alone(
    landing: asyncio.Future[Answer], departed: bool, patience: float, unsent: bool, joins: bool
) -> None:
    """More patience than it has, or an answer that is newer than the call that has left."""
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", era, 5.0, flying(landing))
    if departed:
        flight.depart()

    assert (sharing.find("key", patience=patience, unsent=unsent) is flight) is joins
    await sharing.close()


async def test_a_flight_goes_on_without_who_began_it(landing: asyncio.Future[Answer]) -> None:
    """It is wanted while anybody waits."""
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", era, 5.0, flying(landing))
    first, second = [asyncio.create_task(sharing.board(flight, there, 5.0)) for _ in range(2)]
    await asyncio.sleep(0)

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    wanted = flight.is_wanted()
    landing.set_result(ANSWER)

    assert (wanted, await second) == (True, ANSWER)


@pytest.mark.parametrize("sent", [False, True])
async def test_the_last_one_who_leaves_ends_what_was_not_sent(landing: asyncio.Future[Answer], sent: bool) -> None:
    """What was sent lands all the same: its answer is worth remembering."""
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", era, 5.0, flying(landing))
    only = asyncio.create_task(sharing.board(flight, there, 5.0))
    await asyncio.sleep(0)
    if sent:
        flight.depart()

    only.cancel()
    with suppress(asyncio.CancelledError):
        await only
    await asyncio.sleep(0)

    assert (flight.is_wanted(), flight.is_over) == (False, not sent)
    await sharing.close()


async def test_trouble_is_told_to_all(landing: asyncio.Future[Answer]) -> None:
    """In the same words."""
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", era, 5.0, flying(landing))
    waiting = [asyncio.create_task(sharing.board(flight, there, 5.0)) for _ in range(2)]
    await asyncio.sleep(0)

    landing.set_exception(Busy("no place"))
    told = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(each) for each in told] == [Busy, Busy]


async def test_the_end_calls_everything_off(landing: asyncio.Future[Answer]) -> None:
    """Nothing is left behind."""
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", era, 5.0, flying(landing))

    await asyncio.sleep(0)
    await sharing.close()

    assert flight.is_over
    assert landing.cancelled()


async def test_who_has_less_patience_is_told_when_to_come_again(landing: asyncio.Future[Answer]) -> None:
    """The flight goes on for the others; where nobody is left it is called off."""
    clock = ManualClock()
    sharing = Sharing(clock)
    flight = sharing.begin("key", era, 5.0, flying(landing))
    patient = asyncio.create_task(sharing.board(flight, there, 5.0))
    hasty = asyncio.create_task(sharing.board(flight, there, 1.0))
    flight.expects(4.0)
    await clock.asleep(1)

    clock.advance(1.0)
    with pytest.raises(Paced) as caught:
        await hasty
    landing.set_result(ANSWER)

    assert caught.value.retry_after == pytest.approx(3.0)
    assert await patient == ANSWER


async def test_who_has_less_patience_waits_for_what_has_left(landing: asyncio.Future[Answer]) -> None:
    """Patience is for turns, not for answers."""
    clock = ManualClock()
    sharing = Sharing(clock)
    flight = sharing.begin("key", era, 5.0, flying(landing))
    hasty = asyncio.create_task(sharing.board(flight, there, 1.0))
    await clock.asleep(1)

    flight.depart()
    clock.advance(2.0)
    landing.set_result(ANSWER)

    assert await hasty == ANSWER


@pytest.mark.parametrize("departed", [False, True])
async def test_what_became_stale_on_its_way_is_not_joined(landing: asyncio.Future[Answer], departed: bool) -> None:
    """One that has not departed will bring what is new."""
    eras = [0]
    sharing = Sharing(ManualClock())
    flight = sharing.begin("key", lambda: eras[0], 5.0, flying(landing))
    if departed:
        flight.depart()

    eras[0] += 1
    found = sharing.find("key", patience=5.0, unsent=False)

    assert (found is None) is departed
    await sharing.close()
