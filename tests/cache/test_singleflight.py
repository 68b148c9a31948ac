"""Flights: one call for all who ask the same, whoever of them leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from ibkr_bridge.cache.singleflight import Fetch, SharedCall, SingleFlight
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import Busy, RateLimited
from tests.body_stream import FakeBodyStream
from tests.clocks import ManualClock

ANSWER = Response(200, {}, b"[]")


def flying(landing: asyncio.Future[Response]) -> Fetch:
    """A call that is answered when a test says so."""

    async def fly(_: SharedCall) -> Response:
        return await landing

    return fly


def era() -> int:
    """Nothing makes anything stale."""
    return 0


def there() -> bool:
    """Somebody who stays."""
    return True


@pytest.fixture
async def landing() -> asyncio.Future[Response]:
    """When and how a flight lands."""
    return asyncio.get_running_loop().create_future()


async def test_all_who_wait_get_the_one_answer(landing: asyncio.Future[Response]) -> None:
    """And then the flight is over: the next one is another."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    waiting = [asyncio.create_task(single_flight.join(shared_call, there, 5.0)) for _ in range(3)]
    await asyncio.sleep(0)
    found = single_flight.find_joinable("key", max_wait_s=5.0, unsent=False)

    landing.set_result(ANSWER)

    assert await asyncio.gather(*waiting) == [ANSWER] * 3
    assert (found is shared_call, single_flight.find_joinable("key", max_wait_s=5.0, unsent=False)) == (True, None)
    assert repr(single_flight) == "<SingleFlight 0 shared calls>"


@pytest.mark.parametrize(
    ("departed", "max_wait_s", "unsent", "joins"),
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
    landing: asyncio.Future[Response], departed: bool, max_wait_s: float, unsent: bool, joins: bool
) -> None:
    """More patience than it has, or an answer that is newer than the call that has left."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    if departed:
        shared_call.mark_sent()

    assert (single_flight.find_joinable("key", max_wait_s=max_wait_s, unsent=unsent) is shared_call) is joins
    await single_flight.close()


async def test_a_flight_goes_on_without_who_began_it(landing: asyncio.Future[Response]) -> None:
    """It is wanted while anybody waits."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    first, second = [asyncio.create_task(single_flight.join(shared_call, there, 5.0)) for _ in range(2)]
    await asyncio.sleep(0)

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    wanted = shared_call.is_wanted()
    landing.set_result(ANSWER)

    assert (wanted, await second) == (True, ANSWER)


@pytest.mark.parametrize("sent", [False, True])
async def test_the_last_one_who_leaves_ends_what_was_not_sent(landing: asyncio.Future[Response], sent: bool) -> None:
    """What was sent lands all the same: its answer is worth remembering."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    only = asyncio.create_task(single_flight.join(shared_call, there, 5.0))
    await asyncio.sleep(0)
    if sent:
        shared_call.mark_sent()

    only.cancel()
    with suppress(asyncio.CancelledError):
        await only
    await asyncio.sleep(0)

    assert (shared_call.is_wanted(), shared_call.is_done) == (False, not sent)
    await single_flight.close()


async def test_trouble_is_told_to_all(landing: asyncio.Future[Response]) -> None:
    """In the same words."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    waiting = [asyncio.create_task(single_flight.join(shared_call, there, 5.0)) for _ in range(2)]
    await asyncio.sleep(0)

    landing.set_exception(Busy("no place"))
    told = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(each) for each in told] == [Busy, Busy]


async def test_the_end_calls_everything_off(landing: asyncio.Future[Response]) -> None:
    """Nothing is left behind."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", era, 5.0, flying(landing))

    await asyncio.sleep(0)
    await single_flight.close()

    assert shared_call.is_done
    assert landing.cancelled()


async def test_who_has_less_patience_is_told_when_to_come_again(landing: asyncio.Future[Response]) -> None:
    """The flight goes on for the others; where nobody is left it is called off."""
    clock = ManualClock()
    single_flight = SingleFlight(clock)
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    patient = asyncio.create_task(single_flight.join(shared_call, there, 5.0))
    hasty = asyncio.create_task(single_flight.join(shared_call, there, 1.0))
    shared_call.on_estimate(4.0)
    await clock.asleep(1)

    clock.advance(1.0)
    with pytest.raises(RateLimited) as caught:
        await hasty
    landing.set_result(ANSWER)

    assert caught.value.retry_after == pytest.approx(3.0)
    assert await patient == ANSWER


async def test_who_has_less_patience_waits_for_what_has_left(landing: asyncio.Future[Response]) -> None:
    """Patience is for turns, not for answers."""
    clock = ManualClock()
    single_flight = SingleFlight(clock)
    shared_call = single_flight.start("key", era, 5.0, flying(landing))
    hasty = asyncio.create_task(single_flight.join(shared_call, there, 1.0))
    await clock.asleep(1)

    shared_call.mark_sent()
    clock.advance(2.0)
    landing.set_result(ANSWER)

    assert await hasty == ANSWER


@pytest.mark.parametrize("departed", [False, True])
async def test_what_became_stale_on_its_way_is_not_joined(landing: asyncio.Future[Response], departed: bool) -> None:
    """One that has not departed will bring what is new."""
    eras = [0]
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", lambda: eras[0], 5.0, flying(landing))
    if departed:
        shared_call.mark_sent()

    eras[0] += 1
    found = single_flight.find_joinable("key", max_wait_s=5.0, unsent=False)

    assert (found is None) is departed
    await single_flight.close()


async def test_a_large_response_that_came_for_nobody_is_closed(landing: asyncio.Future[Response]) -> None:
    """Its first caller was cancelled in the step in which it came; its slot must not stay taken."""
    shared_call = SingleFlight(ManualClock()).start("key", era, 5.0, flying(landing))
    stream = FakeBodyStream()
    landing.set_result(Response(200, {}, b"[", stream))
    await asyncio.wait({shared_call.task} if shared_call.task else set())

    shared_call.discard_result()

    assert stream.close_count == 1
