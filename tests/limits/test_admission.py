"""The admission controller: the queue with futures and a clock; no caller is lost between wait and admission."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from ibkr_bridge.calls.context import CallerGone
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
TWO_SLOTS = replace(USUAL, slots=2, slots_for_orders=1, total=None, by_priority={})
ONE_A_SECOND = replace(USUAL, total=RateLimit(1, 1.0, "test"), by_priority={})


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def loops() -> AsyncIterator[list[asyncio.Task[object]]]:
    """Tasks that run until the test ends."""
    tasks: list[asyncio.Task[object]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def acquire(
    admission: AdmissionController, importance: Priority = READS, max_wait_s: float = 60.0, key: str = "app"
) -> Permit:
    """Acquire a permit for a call whose endpoint has no rate limit of its own."""
    return await admission.acquire(PLAIN, importance, key, max_wait_s)


async def run_ready_tasks() -> None:
    """Let every task that is ready run."""
    for _ in range(30):
        await asyncio.sleep(0)


async def test_a_released_slot_goes_to_the_next_waiting_call(clock: ManualClock) -> None:
    """At once, without a timer. A second release of the same permit has no effect."""
    admission = AdmissionController(TWO_SLOTS, clock)
    first = await acquire(admission)
    waiting = asyncio.create_task(acquire(admission))
    await run_ready_tasks()
    before = waiting.done(), admission.waiting()[READS]

    first.release()
    first.release()
    second = await waiting

    assert before == (False, 1)
    assert (admission.slots_taken, admission.waiting().total()) == (1, 0)
    second.release()
    assert admission.slots_taken == 0
    assert repr(admission) == "<AdmissionController of <AdmissionQueue 0/2 taken, 0 waiting>>"


async def test_an_order_takes_the_slot_that_is_reserved_for_orders(clock: ManualClock) -> None:
    """It is admitted while a read waits."""
    admission = AdmissionController(TWO_SLOTS, clock)
    await acquire(admission)
    waiting_read = asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    await acquire(admission, ORDERS)

    assert (admission.slots_taken, waiting_read.done()) == (2, False)
    waiting_read.cancel()


async def test_a_call_is_admitted_when_the_window_has_room_again(
    clock: ManualClock, loops: list[asyncio.Task[object]]
) -> None:
    """One second after the response the window has room."""
    admission = AdmissionController(ONE_A_SECOND, clock)
    loops.append(asyncio.create_task(admission.run_loop()))
    first = await acquire(admission)
    first.mark_sent()
    first.release()
    waiting = asyncio.create_task(acquire(admission))
    await clock.wait_for_sleepers(2)  # the waiting call, and the loop that will admit it

    clock.advance(0.99)
    await run_ready_tasks()
    before = waiting.done()
    clock.advance(0.02)
    second = await waiting

    assert (before, admission.budget_used) == (False, 1)
    second.release()  # never sent, so never counted
    assert admission.budget_used == 0


@pytest.mark.parametrize(("answered_at", "requested_at"), [(0.0, 0.6), (0.5, 0.1)])
async def test_the_loop_wakes_at_the_moment_at_which_the_window_has_room(
    clock: ManualClock, loops: list[asyncio.Task[object]], answered_at: float, requested_at: float
) -> None:
    """One second after the answer, whether the next call came after the answer or before it."""
    admission = AdmissionController(ONE_A_SECOND, clock)
    loops.append(asyncio.create_task(admission.run_loop()))
    first, waiting = await acquire(admission), list[asyncio.Task[Permit]]()
    first.mark_sent()
    for at in sorted((answered_at, requested_at)):
        clock.advance(at - (clock.now() - 1000.0))
        if at == answered_at:
            first.release()
        else:
            waiting.append(asyncio.create_task(acquire(admission)))
        await run_ready_tasks()

    clock.advance(answered_at + 0.99 - (clock.now() - 1000.0))
    await run_ready_tasks()
    before = waiting[0].done()
    clock.advance(0.02)
    await run_ready_tasks()

    assert (before, waiting[0].done()) == (False, True)


async def test_a_call_that_would_wait_too_long_is_refused_at_once(clock: ManualClock) -> None:
    """The error contains the wait."""
    admission = AdmissionController(USUAL, clock)
    (await admission.acquire(ORDERS_LIST, READS, "app", 5.0)).mark_sent()

    with pytest.raises(RateLimited) as caught:
        await admission.acquire(ORDERS_LIST, READS, "app", 4.0)

    assert caught.value.retry_after == pytest.approx(5.0, rel=1e-3)
    assert admission.waiting().total() == 0


@pytest.mark.parametrize(("max_wait_s", "waits"), [(5.0, True), (4.7, False)])
async def test_a_wait_may_be_five_percent_longer_than_wanted(
    clock: ManualClock, max_wait_s: float, waits: bool
) -> None:
    """A caller that waits five seconds gets the list of orders, which IBKR allows once in a little more than five."""
    admission, estimates = AdmissionController(USUAL, clock), list[float]()
    first = await admission.acquire(ORDERS_LIST, READS, "app", 5.0)
    first.mark_sent()
    first.release()
    waiting = asyncio.create_task(
        admission.acquire(ORDERS_LIST, READS, "app", max_wait_s, on_estimate=estimates.append)
    )
    await run_ready_tasks()

    assert (waiting.done(), admission.waiting()[READS]) == (not waits, int(waits))
    assert estimates == ([pytest.approx(5.0, rel=1e-3)] if waits else [])
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_call_is_admitted_at_once_beside_those_that_wait_for_another_limit(clock: ManualClock) -> None:
    """The list of orders has to wait for its own limit; nothing has to pass before the other call may go."""
    admission, estimates = AdmissionController(USUAL, clock), list[float]()
    (await admission.acquire(ORDERS_LIST, READS, "app", 5.0)).mark_sent()
    waiting = asyncio.create_task(admission.acquire(ORDERS_LIST, READS, "app", 60.0))
    await run_ready_tasks()

    await admission.acquire(PLAIN, READS, "app", 0.0, on_estimate=estimates.append)

    assert (waiting.done(), admission.slots_taken, estimates) == (False, 2, [])
    waiting.cancel()


async def test_a_call_that_gets_no_slot_in_time_is_busy(clock: ManualClock) -> None:
    """Calls hang in the Gateway: this is not a rate limit, so the code is `busy`."""
    admission = AdmissionController(TWO_SLOTS, clock)
    await acquire(admission)
    waiting = asyncio.create_task(acquire(admission, max_wait_s=3.0))
    await clock.wait_for_sleepers(1)
    clock.advance(4.0)

    with pytest.raises(Busy) as caught:
        await waiting
    assert caught.value.retry_after == 1.0
    assert (admission.waiting().total(), admission._waiting) == (0, {})  # nothing of it stays in memory


async def test_a_call_whose_limit_is_still_used_up_at_the_end_of_its_wait_is_rate_limited(clock: ManualClock) -> None:
    """The estimate was too short: a call that hung in the Gateway keeps its place in the limit until it is answered."""
    admission = AdmissionController(replace(USUAL, total=RateLimit(1, 1.0, "test"), by_priority={}), clock)
    (await acquire(admission)).mark_sent()
    waiting = asyncio.create_task(acquire(admission, max_wait_s=3.0))
    await clock.wait_for_sleepers(1)
    clock.advance(4.0)

    with pytest.raises(RateLimited) as caught:
        await waiting

    assert caught.value.retry_after == pytest.approx(1.0, rel=1e-3)
    assert admission.waiting().total() == 0


async def test_a_cancelled_waiting_call_is_removed(clock: ManualClock) -> None:
    """It is never sent, and the next call is admitted."""
    admission = AdmissionController(TWO_SLOTS, clock)
    first = await acquire(admission)
    cancelled, remaining = asyncio.create_task(acquire(admission)), asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    cancelled.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled
    first.release()

    assert (await remaining) is not None
    assert admission.slots_taken == 1


async def test_a_permit_granted_to_a_cancelled_call_goes_to_the_next(clock: ManualClock) -> None:
    """The grant and the cancellation happen in the same step of the loop."""
    admission = AdmissionController(TWO_SLOTS, clock)
    first = await acquire(admission)
    cancelled, remaining = asyncio.create_task(acquire(admission)), asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    first.release()  # grants the permit to the first waiting call
    cancelled.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled

    assert (await remaining) is not None
    assert admission.slots_taken == 1


async def test_a_retry_is_counted_if_there_is_room(clock: ManualClock) -> None:
    """IBKR counts each sending."""
    admission = AdmissionController(replace(USUAL, total=RateLimit(2, 1.0, "test"), by_priority={}), clock)
    permit = await acquire(admission)
    permit.mark_sent()

    is_readmitted = permit.readmit(), permit.readmit()
    permit.release()

    assert (is_readmitted, admission.budget_used) == ((True, False), 2)


async def test_a_limit_that_an_earlier_run_used_up_is_free_again_later(clock: ManualClock) -> None:
    """Then one call without a slot may go; its place is free again one period after its answer."""
    admission = AdmissionController(USUAL, clock)
    admission.occupy(ORDERS_LIST, 30.0)
    seen = [admission.admit_out_of_band(ORDERS_LIST)]
    clock.advance(30.0)
    on_answered = admission.admit_out_of_band(ORDERS_LIST)
    assert on_answered is not None
    clock.advance(60.0)
    seen.append(admission.admit_out_of_band(ORDERS_LIST))  # it is not answered yet

    on_answered()
    clock.advance(4.9)
    seen.append(admission.admit_out_of_band(ORDERS_LIST))
    clock.advance(0.2)

    assert seen == [None] * 3
    assert admission.admit_out_of_band(ORDERS_LIST) is not None
    assert admission.slots_taken == 0


@pytest.mark.parametrize("max_queued", [2, 5])
async def test_disconnected_callers_do_not_fill_the_queue(clock: ManualClock, max_queued: int) -> None:
    """None of them is admitted either."""
    admission = AdmissionController(dataclasses.replace(TWO_SLOTS, max_queued=max_queued), clock)
    first = await acquire(admission)
    are_connected = [True, True]
    disconnected = [
        asyncio.create_task(admission.acquire(PLAIN, READS, "app", 60.0, is_connected=lambda: are_connected[0])),
        asyncio.create_task(admission.acquire(PLAIN, READS, "app", 60.0, is_connected=lambda: are_connected[1])),
    ]
    await clock.wait_for_sleepers(2)

    are_connected[:] = [False, False]
    last = asyncio.create_task(acquire(admission, max_wait_s=60.0))
    await clock.wait_for_sleepers(3)
    first.release()

    assert (await last) is not None
    assert not any(task.done() for task in disconnected)
    for task in disconnected:
        task.cancel()
    await asyncio.gather(*disconnected, return_exceptions=True)


# -- ghost calls


async def give_up(
    admission: AdmissionController, clock: ManualClock, count: int, kind: Priority = READS
) -> list[Permit]:
    """So many calls that were sent and are given up fifteen seconds later."""
    permits = [await acquire(admission, kind) for _ in range(count)]
    for permit in permits:
        permit.mark_sent()
    clock.advance(15.0)
    for permit in permits:
        permit.on_given_up()
    return permits


FOUR_SLOTS = replace(USUAL, total=None, by_priority={})


async def test_while_checks_hang_ghost_calls_keep_their_slots(clock: ManualClock) -> None:
    """The Gateway may have no free slot at all: a call would wait in its queue and be sent at an unknown time."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    await give_up(admission, clock, 3)
    await give_up(admission, clock, 1, ORDERS)
    admission.on_silence()

    order = asyncio.create_task(acquire(admission, ORDERS))
    read = asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    assert (order.done(), read.done(), admission.slots_taken) == (False, False, 4)
    order.cancel()
    read.cancel()


async def test_a_cancel_needs_no_slot(clock: ManualClock) -> None:
    """It is tried in any case, and holds no slot of the others."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    await give_up(admission, clock, 3)
    await give_up(admission, clock, 1, ORDERS)
    admission.on_silence()

    permit = await admission.acquire(PLAIN, ORDERS, "app", 0.0, needs_slot=False)

    assert admission.slots_taken == 4
    permit.release()
    assert admission.slots_taken == 4


async def test_an_answered_check_lets_in_one_call_at_a_time_orders_first(clock: ManualClock) -> None:
    """The answer proves one free slot, and takes it back from one ghost call; the calls that wait share it."""
    admission = AdmissionController(replace(FOUR_SLOTS, slots=1, slots_for_orders=0), clock)
    await give_up(admission, clock, 1)
    admission.on_silence()
    read, order = asyncio.create_task(acquire(admission)), asyncio.create_task(acquire(admission, ORDERS))
    await run_ready_tasks()
    before = read.done(), order.done()

    admission.on_answer(clock.now())
    await run_ready_tasks()
    first = read.done(), order.done()
    (await order).release()
    await run_ready_tasks()

    assert (before, first, read.done()) == ((False, False), (False, True), True)


async def test_a_read_is_let_in_beside_three_ghost_calls(clock: ManualClock) -> None:
    """They hold all slots of the reads, and checks are answered."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    await give_up(admission, clock, 3)

    first = await acquire(admission)
    second = asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    assert (second.done(), admission.slots_taken) == (False, 4)
    first.release()
    await second


async def test_a_waiting_read_is_let_in_when_the_calls_before_it_are_given_up(clock: ManualClock) -> None:
    """At once: no answer and no timer has to come."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    permits = [await acquire(admission) for _ in range(3)]
    waiting = asyncio.create_task(acquire(admission))
    await run_ready_tasks()
    before = waiting.done()
    for permit in permits:
        permit.mark_sent()
        permit.on_given_up()
    await run_ready_tasks()

    assert (before, waiting.done(), admission.slots_taken) == (False, True, 4)


async def test_a_ghost_call_ends_once(clock: ManualClock) -> None:
    """Its late response and the end of its connection may both release it, and may come before its deadline."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    (ghost,) = await give_up(admission, clock, 1)
    answered = await acquire(admission)

    for permit in (ghost, answered):
        permit.release()
        permit.release()
        permit.on_given_up()

    assert admission.slots_taken == 0
    assert repr(admission._queue._unanswered) == "<UnansweredCalls 0 inside, 0 of them ghost calls>"


async def test_each_prompt_answer_frees_one_slot(clock: ManualClock) -> None:
    """Late answers, and answers to calls that were sent before the ghost call, show nothing."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    earlier = clock.now()
    ghosts = await give_up(admission, clock, 3)
    taken = []
    sent_at = clock.now()

    admission.on_answer(earlier)
    taken.append(admission.slots_taken)
    for _ in range(4):
        admission.on_answer(sent_at)
        taken.append(admission.slots_taken)
    clock.advance(2.1)
    for ghost in ghosts:
        ghost.release()

    assert (taken, admission.slots_taken) == ([3, 2, 1, 0, 0], 0)


async def test_a_late_answer_shows_no_free_slot(clock: ManualClock) -> None:
    """A Gateway with a free slot answers in a tenth of a second."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    await give_up(admission, clock, 3)
    sent_at = clock.now()
    clock.advance(2.1)

    admission.on_answer(sent_at)
    late = admission.slots_taken
    admission.on_answer(sent_at + 0.1)  # exactly two seconds

    assert (late, admission.slots_taken) == (3, 2)


async def test_a_prompt_answer_ends_the_limits_of_earlier_ghost_calls(clock: ManualClock) -> None:
    """What is in the Gateway's queue before an answered call has left it, so that IBKR has counted it by now."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    permit = await admission.acquire(ORDERS_LIST, READS, "app", 0.0)
    permit.mark_sent()
    clock.advance(3.0)
    permit.on_given_up()
    with pytest.raises(RateLimited):
        await admission.acquire(ORDERS_LIST, READS, "app", 4.0)

    admission.on_answer(clock.now())
    clock.advance(5.1)  # its period: one in five seconds
    (await admission.acquire(ORDERS_LIST, READS, "app", 0.0)).release()
    permit.release()  # the late end of the ghost call is not counted a second time

    assert admission.slots_taken == 0


async def test_a_cancel_does_not_wait_for_calls_that_a_silent_gateway_does_not_answer(clock: ManualClock) -> None:
    """They fill the windows until they are answered. While the Gateway answers, its limits hold for a cancel too."""
    admission = AdmissionController(replace(USUAL, slots=20, slots_for_orders=0, by_priority={}), clock)
    for _ in range(USUAL.total.calls if USUAL.total else 0):
        (await acquire(admission)).mark_sent()
    clock.advance(30.0)
    with pytest.raises(RateLimited):
        await admission.acquire(PLAIN, ORDERS, "app", 0.0, needs_slot=False)
    admission.on_silence()

    cancels = [await admission.acquire(PLAIN, ORDERS, "app", 0.0, needs_slot=False) for _ in range(6)]

    for needs_slot in (True, False):  # all of them leave at once when IBKR is back, which accepts ten in a second
        with pytest.raises(RateLimited):
            await admission.acquire(PLAIN, ORDERS, "app", 0.0, needs_slot=needs_slot)
    cancels[0].release()
    with pytest.raises(RateLimited):
        await acquire(admission, ORDERS, max_wait_s=0.0)
    await admission.acquire(PLAIN, ORDERS, "app", 0.0, needs_slot=False)


async def test_a_call_is_overtaken_by_a_later_one_that_was_answered_promptly(clock: ManualClock) -> None:
    """Nobody joins it then: it has waited for two seconds, and the Gateway had a free slot meanwhile."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    sent_at = clock.now()
    clock.advance(1.9)
    admission.on_answer(clock.now())
    before = admission.is_overtaken(sent_at)
    clock.advance(0.1)

    assert (before, admission.is_overtaken(sent_at)) == (False, True)


async def test_an_endpoint_that_hangs_leaves_a_slot_to_the_others(clock: ManualClock) -> None:
    """One caller requests it again and again. Before, each answer to another call let in one more of its calls."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    polls, others = [], 0
    for _ in range(60):
        polls.append(asyncio.create_task(acquire(admission, max_wait_s=600.0)))
        other = await admission.acquire(ORDERS_LIST, ORDERS, "app", 60.0)
        other.mark_sent()
        clock.advance(0.1)
        other.on_answered()
        other.release()
        others += 1
        for poll in polls:
            if poll.done() and not poll.result().is_sent:
                poll.result().mark_sent()
        clock.advance(5.1)
        await run_ready_tasks()

    assert sum(poll.done() for poll in polls) == 4
    assert others == 60
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_one_key_does_not_fill_the_queue_alone(clock: ManualClock) -> None:
    """A call of another key takes the place of its latest call, until both have about as many."""
    admission = AdmissionController(replace(TWO_SLOTS, max_queued=4), clock)
    first = await acquire(admission)
    greedy = [asyncio.create_task(acquire(admission, key="greedy")) for _ in range(4)]
    await run_ready_tasks()
    others = [asyncio.create_task(acquire(admission, key="app")) for _ in range(3)]
    await run_ready_tasks()

    results = [task.exception() if task.done() else None for task in (*greedy, *others)]

    assert [type(each) for each in results] == [type(None)] * 2 + [Busy] * 2 + [type(None)] * 2 + [Busy]
    assert "calls of another key needed the place" in str(results[3])
    first.release()
    await run_ready_tasks()
    assert sum(task.done() and task.exception() is None for task in (*greedy, *others)) == 1
    for task in (*greedy, *others):
        task.cancel()
    await asyncio.gather(*greedy, *others, return_exceptions=True)


async def test_a_reduced_share_displaces_no_call_beyond_itself(clock: ManualClock) -> None:
    """Three quarters of four places are three."""
    admission = AdmissionController(replace(TWO_SLOTS, max_queued=4), clock)
    first = await acquire(admission)

    async def acquire_reduced() -> Permit:
        return await admission.acquire(PLAIN, READS, "page", 60.0, has_reduced_share=True)

    app = [asyncio.create_task(acquire(admission)) for _ in range(4)]
    await run_ready_tasks()
    pages = [asyncio.create_task(acquire_reduced()) for _ in range(4)]
    await run_ready_tasks()

    assert sum(task.done() for task in app) == 2
    assert [task.done() for task in pages] == [False, False, True, True]
    first.release()
    for task in (*app, *pages):
        task.cancel()
    await asyncio.gather(*app, *pages, return_exceptions=True)


async def test_an_endpoint_that_answers_again_gets_all_its_slots_back(clock: ManualClock) -> None:
    """Its lost calls say nothing of it any more."""
    admission = AdmissionController(FOUR_SLOTS, clock)
    await give_up(admission, clock, 3)
    for _ in range(3):
        admission.on_answer(clock.now() + 0.1)
    first = await acquire(admission)
    first.mark_sent()
    clock.advance(0.1)
    first.on_answered()
    first.release()

    tasks = [asyncio.create_task(acquire(admission)) for _ in range(3)]
    await run_ready_tasks()

    assert [task.done() for task in tasks] == [True] * 3


async def test_the_status_counts_what_is_inside_and_what_waits(clock: ManualClock) -> None:
    """Operators see it in `GET /gateway/status`."""
    admission = AdmissionController(replace(USUAL, slots=2, slots_for_orders=1), clock)
    await acquire(admission)
    waiting = asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    status = admission.status(ghost_calls=7)

    assert (status.slots.taken, status.slots.total, status.slots.ghost_calls) == (1, 2, 7)
    assert (status.waiting.reads, status.waiting.orders) == (1, 0)
    assert status.budget is not None
    waiting.cancel()


async def test_calls_whose_callers_have_left_can_be_dropped(clock: ManualClock) -> None:
    """A bridge that ends would wait for each of them otherwise; the others stay in the queue."""
    admission = AdmissionController(TWO_SLOTS, clock)
    permit = await acquire(admission)
    is_here = [True, False, True]
    waiting = [
        asyncio.create_task(admission.acquire(PLAIN, READS, "app", 60.0, is_connected=functools.partial(bool, here)))
        for here in is_here
    ]
    await run_ready_tasks()

    admission.drop_disconnected()
    await run_ready_tasks()

    assert [task.done() for task in waiting] == [False, True, False]
    assert isinstance(waiting[1].exception(), CallerGone)
    assert admission.waiting()[READS] == 2
    permit.release()
    await run_ready_tasks()
    assert waiting[0].done() and admission.waiting()[READS] == 1
    waiting[2].cancel()


async def test_a_call_that_a_full_queue_has_removed_already_can_be_dropped(clock: ManualClock) -> None:
    """Its caller has left, and it still waits for its time to end."""
    admission = AdmissionController(replace(TWO_SLOTS, max_queued=1), clock)
    await acquire(admission)
    left = asyncio.create_task(admission.acquire(PLAIN, READS, "app", 60.0, is_connected=lambda: False))
    await run_ready_tasks()
    waiting = asyncio.create_task(acquire(admission))
    await run_ready_tasks()

    admission.drop_disconnected()
    await run_ready_tasks()

    assert (left.done(), waiting.done()) == (True, False)
    assert isinstance(left.exception(), CallerGone)
    waiting.cancel()
