"""Shared calls: one call for all callers with the same request, whichever of them leaves."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import pytest

from ibkr_bridge.cache.singleflight import Fetch, SharedCall, SingleFlight
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import Busy, RateLimited
from tests.body_stream import FakeBodyStream
from tests.clocks import ManualClock

RESPONSE = Response(200, {}, b"[]")


def fetch_from(arrival: asyncio.Future[Response]) -> Fetch:
    """A call whose response a test sets."""

    async def fetch(_: SharedCall) -> Response:
        return await arrival

    return fetch


def first_generation() -> int:
    """The generation of a tag that is never invalidated."""
    return 0


def is_connected() -> bool:
    """A caller that stays connected."""
    return True


@pytest.fixture
async def arrival() -> asyncio.Future[Response]:
    """The response of the shared call, or its error."""
    return asyncio.get_running_loop().create_future()


async def test_all_waiting_callers_get_the_same_response(arrival: asyncio.Future[Response]) -> None:
    """After that the shared call has ended, and the next request starts a new one."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    waiting = [asyncio.create_task(single_flight.join(shared_call, is_connected, 5.0)) for _ in range(3)]
    await asyncio.sleep(0)
    joinable = single_flight.find_joinable("key", max_wait_s=5.0, unsent=False)

    arrival.set_result(RESPONSE)

    assert await asyncio.gather(*waiting) == [RESPONSE] * 3
    assert (joinable is shared_call, single_flight.find_joinable("key", max_wait_s=5.0, unsent=False)) == (True, None)
    assert repr(single_flight) == "<SingleFlight 0 shared calls>"


@pytest.mark.parametrize(
    ("is_sent", "max_wait_s", "must_be_unsent", "joins"),
    [
        (True, 5.0, False, True),
        (True, 60.0, False, True),  # a call that was sent waits no longer
        (True, 1.0, True, False),
        (False, 5.4, False, True),
        (False, 6.0, False, False),
        (False, 1.0, True, True),
    ],
)
async def test_a_caller_joins_only_a_call_that_meets_its_wishes(
    arrival: asyncio.Future[Response], is_sent: bool, max_wait_s: float, must_be_unsent: bool, joins: bool
) -> None:
    """It does not join if it waits longer than the call may, or wants a response newer than the call."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    if is_sent:
        shared_call.mark_sent()

    assert (single_flight.find_joinable("key", max_wait_s=max_wait_s, unsent=must_be_unsent) is shared_call) is joins
    await single_flight.close()


async def test_a_shared_call_survives_its_first_caller(arrival: asyncio.Future[Response]) -> None:
    """The call is wanted while any caller waits."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    first, second = [asyncio.create_task(single_flight.join(shared_call, is_connected, 5.0)) for _ in range(2)]
    await asyncio.sleep(0)

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    is_wanted = shared_call.is_wanted()
    arrival.set_result(RESPONSE)

    assert (is_wanted, await second) == (True, RESPONSE)


@pytest.mark.parametrize("is_sent", [False, True])
async def test_a_call_without_callers_is_cancelled_unless_it_was_sent(
    arrival: asyncio.Future[Response], is_sent: bool
) -> None:
    """A call that was sent completes, since its response can be cached."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    only_caller = asyncio.create_task(single_flight.join(shared_call, is_connected, 5.0))
    await asyncio.sleep(0)
    if is_sent:
        shared_call.mark_sent()

    only_caller.cancel()
    with suppress(asyncio.CancelledError):
        await only_caller
    await asyncio.sleep(0)

    assert (shared_call.is_wanted(), shared_call.is_done) == (False, not is_sent)
    await single_flight.close()


async def test_an_error_is_raised_for_all_waiting_callers(arrival: asyncio.Future[Response]) -> None:
    """All get the same error."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    waiting = [asyncio.create_task(single_flight.join(shared_call, is_connected, 5.0)) for _ in range(2)]
    await asyncio.sleep(0)

    arrival.set_exception(Busy("no place"))
    errors = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in errors] == [Busy, Busy]


async def test_close_cancels_every_shared_call(arrival: asyncio.Future[Response]) -> None:
    """No task is left running."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))

    await asyncio.sleep(0)
    await single_flight.close()

    assert shared_call.is_done
    assert arrival.cancelled()


async def test_a_caller_whose_wait_is_over_gets_the_remaining_wait(arrival: asyncio.Future[Response]) -> None:
    """The shared call goes on for the other callers."""
    clock = ManualClock()
    single_flight = SingleFlight(clock)
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    long_wait = asyncio.create_task(single_flight.join(shared_call, is_connected, 5.0))
    short_wait = asyncio.create_task(single_flight.join(shared_call, is_connected, 1.0))
    shared_call.on_estimate(4.0)
    await clock.wait_for_sleepers(1)

    clock.advance(1.0)
    with pytest.raises(RateLimited) as caught:
        await short_wait
    arrival.set_result(RESPONSE)

    assert caught.value.retry_after == pytest.approx(3.0)
    assert await long_wait == RESPONSE


async def test_a_caller_waits_for_a_call_that_was_sent(arrival: asyncio.Future[Response]) -> None:
    """`max_wait_s` limits the wait for admission, not for the response."""
    clock = ManualClock()
    single_flight = SingleFlight(clock)
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    short_wait = asyncio.create_task(single_flight.join(shared_call, is_connected, 1.0))
    await clock.wait_for_sleepers(1)

    shared_call.mark_sent()
    clock.advance(2.0)
    arrival.set_result(RESPONSE)

    assert await short_wait == RESPONSE


@pytest.mark.parametrize("is_sent", [False, True])
async def test_a_call_sent_in_an_earlier_generation_is_not_joined(
    arrival: asyncio.Future[Response], is_sent: bool
) -> None:
    """A call that was not sent yet will bring the new data."""
    generations = [1000]
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", lambda: generations[0] + 0, 5.0, fetch_from(arrival))
    if is_sent:
        shared_call.mark_sent()
    assert single_flight.find_joinable("key", max_wait_s=5.0, unsent=False) is shared_call

    generations[0] += 1
    joinable = single_flight.find_joinable("key", max_wait_s=5.0, unsent=False)

    assert (joinable is None) is is_sent
    await single_flight.close()


async def test_discarding_the_result_closes_a_large_response(arrival: asyncio.Future[Response]) -> None:
    """Its first caller was cancelled in the step in which it came; its slot must not stay taken."""
    shared_call = SingleFlight(ManualClock()).start("key", first_generation, 5.0, fetch_from(arrival))
    stream = FakeBodyStream()
    arrival.set_result(Response(200, {}, b"[", stream))
    await asyncio.wait({shared_call.task} if shared_call.task else set())

    shared_call.discard_result()

    assert stream.close_count == 1


@pytest.mark.parametrize("end", ["not yet", "cancelled", "failed"])
async def test_there_is_no_result_to_discard_without_a_response(arrival: asyncio.Future[Response], end: str) -> None:
    """The caller that was cancelled gets its cancellation, not another error."""
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    await asyncio.sleep(0)
    if end == "cancelled":
        await single_flight.close()
    elif end == "failed":
        arrival.set_exception(Busy("no place"))
        await asyncio.wait({shared_call.task} if shared_call.task else set())

    shared_call.discard_result()

    assert shared_call.is_done is (end != "not yet")
    await single_flight.close()


async def test_an_error_that_no_caller_waits_for_is_not_reported(arrival: asyncio.Future[Response]) -> None:
    """asyncio reports it otherwise, with a traceback, as if it were a bug."""
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    single_flight = SingleFlight(ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    await asyncio.sleep(0)
    arrival.set_exception(Busy("no place"))
    while not shared_call.is_done:
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    shared_call.task = None
    gc.collect()

    assert reports == []


async def test_a_short_wait_ends_with_the_call_that_was_never_sent(arrival: asyncio.Future[Response]) -> None:
    """It was refused before it was admitted; the caller gets that error at once."""
    single_flight = SingleFlight(clock := ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    short_wait = asyncio.create_task(single_flight.join(shared_call, is_connected, 1.0))
    await clock.wait_for_sleepers(1)

    arrival.set_exception(Busy("no place"))

    with pytest.raises(Busy):
        await short_wait


@pytest.mark.parametrize("estimate_s", [None, 0.4, 1.0])
async def test_without_an_estimate_a_caller_may_come_again_after_a_second(
    arrival: asyncio.Future[Response], estimate_s: float | None
) -> None:
    """Also if the estimate has passed."""
    single_flight = SingleFlight(clock := ManualClock())
    shared_call = single_flight.start("key", first_generation, 5.0, fetch_from(arrival))
    if estimate_s is not None:
        shared_call.on_estimate(estimate_s)
    short_wait = asyncio.create_task(single_flight.join(shared_call, is_connected, 1.0))
    await clock.wait_for_sleepers(1)

    clock.advance(1.0)

    with pytest.raises(RateLimited) as caught:
        await short_wait
    assert caught.value.retry_after == 1.0


async def test_the_end_of_a_call_does_not_remove_the_one_that_took_its_place() -> None:
    """A call that hangs is replaced; when it ends after all, others still join the new one."""
    loop = asyncio.get_running_loop()
    arrivals: list[asyncio.Future[Response]] = [loop.create_future(), loop.create_future()]
    single_flight = SingleFlight(ManualClock())
    calls = [single_flight.start("key", first_generation, 5.0, fetch_from(each)) for each in arrivals]
    await asyncio.sleep(0)

    arrivals[0].set_result(RESPONSE)
    while not calls[0].is_done:
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert single_flight.find_joinable("key", max_wait_s=5.0, unsent=False) is calls[1]
    await single_flight.close()


async def test_close_also_cancels_a_call_that_was_replaced() -> None:
    """A call that hangs would outlive the profile otherwise, with its slot and its callers."""
    single_flight = SingleFlight(ManualClock())
    arrivals = [asyncio.get_running_loop().create_future() for _ in range(2)]
    calls = [single_flight.start("key", first_generation, 5.0, fetch_from(each)) for each in arrivals]
    await asyncio.sleep(0)

    await single_flight.close()

    assert [call.is_done for call in calls] == [True, True]


async def test_the_time_of_a_call_is_that_of_its_first_byte(arrival: asyncio.Future[Response]) -> None:
    """A second attempt of the same read does not make the data newer."""
    generations = [3]
    single_flight = SingleFlight(clock := ManualClock())
    shared_call = single_flight.start("key", lambda: generations[0], 5.0, fetch_from(arrival))
    shared_call.mark_sent()
    first = shared_call.sent_at, shared_call.sent_generation
    clock.advance(1.0)
    generations[0] += 1

    shared_call.mark_sent()

    assert first == (clock.now() - 1.0, 3) == (shared_call.sent_at, shared_call.sent_generation)
    await single_flight.close()


async def test_a_call_that_was_not_started_cannot_be_joined() -> None:
    """The error shows the mistake at once."""
    clock = ManualClock()

    with pytest.raises(RuntimeError, match="not been started"):
        await SingleFlight(clock).join(SharedCall(clock, first_generation, 5.0), is_connected, 5.0)
