"""The admission queue: limits that hold in every case, priorities, turns between keys and honest estimates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.counting import busiest
from ibkr_bridge.errors import Busy
from ibkr_bridge.ibkr.catalogue import CATALOGUE, match
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority, RateLimit
from ibkr_bridge.limits.admission_queue import AdmissionQueue, Limits
from ibkr_bridge.limits.queued_call import QueuedCall
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.limits.queue_simulation import Arrival, seen_by_endpoint, simulate

SESSION, ORDERS, READS = Priority
LIMITS = Limits.of(GATEWAY_TRAITS)
PLAIN = match("GET", ("portfolio", "DU1", "meta"))
ORDERS_LIST = match("GET", ("iserver", "account", "orders"))
PLACE = match("POST", ("iserver", "account", "DU1", "orders"))
SHORT_LIMITS = [
    endpoint for endpoint in CATALOGUE if endpoint.rate_limit is None or endpoint.rate_limit.period_s <= 5.0
]
ESTIMATE_TOLERANCE_S = 0.1  # the queue knows only approximately how long a response takes
DELAYS = st.floats(0.0, 30.0)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Any calls: in bursts or one by one, to any endpoint, with slow responses, ghost calls and calls never sent."""
    calls = []
    for _ in range(draw(st.integers(1, 40))):
        seen_after, more = draw(DELAYS), draw(DELAYS)
        calls.append(
            Arrival(
                draw(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0.0, 20.0)),
                draw(st.sampled_from(SHORT_LIMITS)),
                draw(st.sampled_from(Priority)),
                draw(st.sampled_from(["one", "two", "three"])),
                seen_after,
                seen_after + more,
                draw(st.booleans() | st.just(value=True)),
            )
        )
    return calls


@pytest.mark.slow
@given(arrivals())
def test_no_schedule_exceeds_a_rate_limit_at_ibkr(calls: list[Arrival]) -> None:
    """Calls may arrive, be counted and be answered at any time; all of them are served."""
    served = simulate(LIMITS, calls)
    sent = [call.seen_at for call in served if call.arrival.sent]

    assert len(served) == len(calls)
    assert LIMITS.total is not None
    assert busiest(sent, LIMITS.total.period_s) <= LIMITS.total.calls
    for endpoint, times in seen_by_endpoint(served).items():
        assert endpoint.rate_limit is not None
        assert busiest(times, endpoint.rate_limit.period_s) <= endpoint.rate_limit.calls, endpoint.path


@pytest.mark.slow
@given(arrivals())
def test_no_schedule_takes_more_slots_than_there_are(calls: list[Arrival]) -> None:
    """Ghost calls count, and reads never take the slot that is reserved for orders."""
    served = simulate(LIMITS, calls)
    changes = [
        change
        for call in served
        for change in ((call.admitted_at, 1), (call.admitted_at + call.arrival.answered_after, -1))
    ]
    reads = [
        change
        for call in served
        if call.arrival.importance is not ORDERS
        for change in ((call.admitted_at, 1), (call.admitted_at + call.arrival.answered_after, -1))
    ]

    assert max_inside(changes) <= LIMITS.slots
    # an order may take one of the other slots, so the reads' share can be checked only in a schedule without orders
    if not any(call.arrival.importance is ORDERS for call in served):
        assert max_inside(reads) <= LIMITS.slots - LIMITS.slots_for_orders


def max_inside(changes: list[tuple[float, int]]) -> int:
    """The most calls inside at once; at the same time, releases count before admissions."""
    inside = highest = 0
    for _, change in sorted(changes):
        inside += change
        highest = max(highest, inside)
    return highest


@given(
    endpoints=st.lists(
        st.sampled_from([PLAIN, ORDERS_LIST, match("POST", ("iserver", "scanner", "run"))]), max_size=30
    ),
    answered_after=st.floats(0.0, 0.1),
)
def test_an_estimated_wait_is_right_within_one_period(endpoints: list[Endpoint], answered_after: float) -> None:
    """The calls have one priority, and IBKR responds as fast as usual."""
    before = [Arrival(n * 1.5, PLAIN, READS, "one", 0.0, answered_after) for n in range(12)]

    served = simulate(
        LIMITS, [*before, *(Arrival(30.0, endpoint, READS, "one", 0.0, answered_after) for endpoint in endpoints)]
    )

    for call in served:
        period_s = max(1.0, call.arrival.endpoint.rate_limit.period_s if call.arrival.endpoint.rate_limit else 0.0)
        assert abs(call.arrival.at + call.estimated_wait_s - call.admitted_at) <= period_s + ESTIMATE_TOLERANCE_S


def test_orders_do_not_wait_for_reads() -> None:
    """Reads at the highest rate leave orders a slot and a share of the rate."""
    reads = [Arrival(n / 100, PLAIN, READS, "app", 0.02, 0.04) for n in range(100)]
    order = Arrival(0.7, PLACE, ORDERS, "app", 0.02, 0.04)

    served = simulate(LIMITS, [*reads, order])

    assert next(call.admitted_at for call in served if call.arrival is order) == pytest.approx(0.7)


def test_a_flood_of_orders_does_not_stop_reads() -> None:
    """A share of the rate is reserved for reads."""
    orders = [Arrival(n / 20, PLACE, ORDERS, "app", 0.0, 0.01) for n in range(100)]
    read = Arrival(1.0, PLAIN, READS, "app", 0.0, 0.01)

    served = simulate(LIMITS, [*orders, read])

    assert next(call.admitted_at for call in served if call.arrival is read) <= 2.0


def test_an_endpoint_that_must_wait_does_not_delay_others() -> None:
    """The list of orders may be read every 5 s; other calls are sent meanwhile."""
    lists = [Arrival(0.0, ORDERS_LIST, READS, "app", 0.0, 0.01) for _ in range(3)]
    other = Arrival(0.1, PLAIN, READS, "app", 0.0, 0.01)

    admissions = [(call.arrival.endpoint, round(call.admitted_at, 2)) for call in simulate(LIMITS, [*lists, other])]

    assert admissions == [(ORDERS_LIST, 0.0), (PLAIN, 0.1), (ORDERS_LIST, 5.01), (ORDERS_LIST, 10.02)]


def test_keys_take_turns() -> None:
    """A key with many calls leaves half of the turns to the other key."""
    calls = [Arrival(0.0, PLAIN, READS, "greedy", 0.0, 0.5) for _ in range(9)]
    calls += [Arrival(0.0, PLAIN, READS, "modest", 0.0, 0.5) for _ in range(2)]

    keys = [call.arrival.key for call in simulate(LIMITS, calls)]

    assert keys.index("modest") == 4  # three calls were admitted at once, and one greedy call has the next turn
    assert "modest" in keys[keys.index("modest") + 1 : keys.index("modest") + 3]


def test_a_retry_is_counted_as_a_second_call_or_not_sent() -> None:
    """A connection broke before the response, and IBKR may have counted the first sending."""
    limits = replace(LIMITS, total=RateLimit(2, 1.0, "test"))
    queue, queued_call = AdmissionQueue(limits), QueuedCall(PLAIN, READS, "one")
    queue.enqueue(queued_call)
    queue.admit_next(0.0)

    first, second = queue.readmit(queued_call, 0.0), queue.readmit(queued_call, 0.0)
    queue.release(queued_call, 0.5, sent=True)

    assert (first, second, queue.budget_used(1.0), queue.budget_used(1.6)) == (True, False, 2, 0)


def test_a_call_that_was_never_sent_is_not_counted() -> None:
    """Its caller disconnected: the slot and the room in each window are free at once."""
    queue, queued_call = AdmissionQueue(LIMITS), QueuedCall(ORDERS_LIST, READS, "one")
    queue.enqueue(queued_call)
    queue.admit_next(0.0)

    queue.release(queued_call, 0.1, sent=False)
    next_call = QueuedCall(ORDERS_LIST, READS, "two")
    queue.enqueue(next_call)

    assert queue.admit_next(0.1) is next_call


def test_a_removed_call_is_not_admitted() -> None:
    """`remove` returns False for a call that no longer waits, also after its admission."""
    queue, one, two = AdmissionQueue(LIMITS), QueuedCall(PLAIN, READS, "one"), QueuedCall(PLAIN, READS, "one")
    queue.enqueue(one)
    queue.enqueue(two)

    assert (queue.remove(one), queue.remove(one)) == (True, False)
    assert queue.admit_next(0.0) is two
    assert queue.remove(two) is False
    assert queue.next_change_at(0.0) is None


def test_each_priority_has_a_queue_of_its_own_with_a_maximum() -> None:
    """Any number of reads leaves room for a cancel."""
    queue = AdmissionQueue(replace(LIMITS, max_queued=2))
    for _ in range(2):
        queue.enqueue(QueuedCall(PLAIN, READS, "one"))

    with pytest.raises(Busy) as caught:
        queue.enqueue(QueuedCall(PLAIN, READS, "one"))
    queue.enqueue(QueuedCall(PLACE, ORDERS, "one"))

    assert caught.value.retry_after == 1.0

    assert queue.waiting() == {SESSION: 0, ORDERS: 1, READS: 2}
    assert repr(queue) == "<AdmissionQueue 0/4 taken, 3 waiting>"


def test_callers_with_a_reduced_share_leave_a_quarter_of_the_queue() -> None:
    """A page that sends a hundred reads at once must not keep the app's own reads out."""
    queue = AdmissionQueue(LIMITS)
    for _ in range(96):
        queue.enqueue(QueuedCall(PLAIN, READS, "token", has_reduced_share=True))

    with pytest.raises(Busy):
        queue.enqueue(QueuedCall(PLAIN, READS, "token", has_reduced_share=True))
    for _ in range(32):
        assert queue.enqueue(QueuedCall(PLAIN, READS, "full")) is None

    assert queue.waiting()[READS] == 128


@pytest.mark.parametrize(("label", "is_reduced", "tries"), [("read-only", True, 60), ("full", False, 60)])
def test_a_key_that_fills_the_queue_gives_places_to_the_others(label: str, is_reduced: bool, tries: int) -> None:
    """Its latest calls lose their places, until both keys have as many; a reduced share stays what it is."""
    queue = AdmissionQueue(LIMITS)
    first = [QueuedCall(PLAIN, READS, "token", has_reduced_share=True) for _ in range(96)]
    first += [QueuedCall(PLAIN, READS, "app") for _ in range(32)]
    for each in first:
        queue.enqueue(each)

    displaced = [queue.enqueue(QueuedCall(PLAIN, READS, label, has_reduced_share=is_reduced)) for _ in range(40)]
    with pytest.raises(Busy):
        displaced.extend(
            queue.enqueue(QueuedCall(PLAIN, READS, label, has_reduced_share=is_reduced)) for _ in range(tries)
        )

    assert displaced == first[95 : 95 - len(displaced) : -1]
    assert len(displaced) == 48
    assert queue.waiting()[READS] == 128


def queue_filled_by(max_queued: int, *calls: tuple[str, bool]) -> AdmissionQueue:
    """A full queue with a read for each of these: its key, and whether it has a reduced share."""
    queue = AdmissionQueue(replace(LIMITS, max_queued=max_queued))
    for key, is_reduced in calls:
        queue.enqueue(QueuedCall(PLAIN, READS, key, has_reduced_share=is_reduced))
    return queue


def test_a_key_with_one_call_less_than_another_displaces_none() -> None:
    """The two would only change places."""
    queue = queue_filled_by(3, ("one", False), ("one", False), ("two", False))

    with pytest.raises(Busy):
        queue.enqueue(QueuedCall(PLAIN, READS, "two"))


def test_where_the_reduced_share_is_used_up_a_call_within_it_loses_its_place() -> None:
    """Six of eight places; the app has as many calls as each of the three tokens."""
    tokens = [(key, True) for key in ("a", "b", "c") for _ in range(2)]
    queue = queue_filled_by(8, ("app", False), ("app", False), *tokens)

    displaced = queue.enqueue(QueuedCall(PLAIN, READS, "d", has_reduced_share=True))

    assert displaced is not None
    assert displaced.key_label == "a"


def test_where_the_reduced_share_has_room_the_key_with_the_most_calls_loses_a_place() -> None:
    """Also if that is the app's."""
    tokens = [(key, True) for key in ("a", "b") for _ in range(2)]
    queue = queue_filled_by(8, *tokens, *[("app", False)] * 4)

    displaced = queue.enqueue(QueuedCall(PLAIN, READS, "c", has_reduced_share=True))

    assert displaced is not None
    assert displaced.key_label == "app"


def test_the_estimated_wait_counts_the_turns_of_the_other_keys() -> None:
    """As many calls of each other key go before a call as of its own, one a second."""
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(1, 1.0, "test")))
    calls = [QueuedCall(PLAIN, READS, key) for key in ("greedy", "greedy", "greedy", "modest", "modest")]
    for queued_call in calls:
        queue.enqueue(queued_call)

    waits = [queue.estimate_wait(queued_call, 0.0) for queued_call in calls]

    assert [round(wait_s / waits[0]) for wait_s in waits] == [1, 3, 4, 1, 3]


@pytest.mark.parametrize(
    ("sent", "is_given_up", "second_after_first_s"), [(True, False, 1.7), (False, False, 1.1), (True, True, 1.1)]
)
def test_the_estimated_wait_follows_the_time_that_responses_take(
    sent: bool, is_given_up: bool, second_after_first_s: float
) -> None:
    """A response takes 0.1 s at first. One of 2.1 s moves that by three tenths of the difference, to 0.7 s.

    A call that was not sent, or was given up, says nothing of a usual response.
    """
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(1, 1.0, "test"), by_priority={}))
    latest, one, two = (QueuedCall(PLAIN, READS, "app") for _ in range(3))
    assert queue.try_admit(latest, 0.0)
    if is_given_up:
        queue.on_given_up(latest)
    queue.release(latest, 2.1, sent=sent)
    for each in (one, two):
        queue.enqueue(each)

    waits = [queue.estimate_wait(each, 2.1) for each in (one, two)]

    assert waits[1] - waits[0] == pytest.approx(second_after_first_s, abs=0.001)


def test_an_answer_clears_the_earlier_calls_of_its_endpoint() -> None:
    """Three were lost, so only a single one was let in beside them; it is answered, and three may go in again."""
    queue = AdmissionQueue(replace(LIMITS, total=None, by_priority={}))
    lost = [QueuedCall(PLAIN, READS, "app") for _ in range(3)]
    for each in lost:
        assert queue.try_admit(each, 0.0)
        each.sent_at = 0.0
        queue.on_given_up(each)
    for _ in lost:
        queue.on_prompt_answer(5.0, 5.1)
    single = QueuedCall(PLAIN, READS, "app")
    assert queue.try_admit(single, 6.0)
    assert not queue.try_admit(QueuedCall(PLAIN, READS, "app"), 6.0)

    queue.on_answer(single, 6.1)
    queue.release(single, 6.1, sent=True)

    assert [queue.try_admit(QueuedCall(PLAIN, READS, "app"), 6.1) for _ in range(3)] == [True] * 3


def test_an_upstream_without_a_number_of_slots_has_a_thousand() -> None:
    """So many never wait there at a time."""
    assert Limits.of(replace(GATEWAY_TRAITS, slots=None)).slots == 1000
    assert Limits.of(GATEWAY_TRAITS).slots == 4


def test_a_call_is_not_admitted_past_those_that_wait() -> None:
    """Although its own slot and windows are free: the queue gives the turns."""
    queue = AdmissionQueue(LIMITS)
    queue.enqueue(QueuedCall(PLAIN, READS, "one"))
    late = QueuedCall(PLAIN, READS, "two")

    assert queue.try_admit(late, 0.0) is False
    queue.admit_next(0.0)
    assert queue.try_admit(late, 0.0) is True


@pytest.mark.parametrize(("answered_at", "next_change_at"), [(None, 2.0), (1.5, 2.5)])
def test_the_next_change_is_the_first_moment_at_which_a_call_may_go(
    answered_at: float | None, next_change_at: float
) -> None:
    """A place of the windows becomes free, or a call inside has waited for two seconds and may count as unanswered."""
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(1, 1.0, "test"), by_priority={}))
    inside = QueuedCall(PLAIN, READS, "app")
    assert queue.try_admit(inside, 0.0)
    queue.enqueue(QueuedCall(PLAIN, READS, "app"))
    if answered_at is not None:
        queue.release(inside, answered_at, sent=True)

    assert queue.next_change_at(1.6) == pytest.approx(next_change_at, abs=0.001)


def test_a_call_that_needs_a_response_first_has_no_next_change() -> None:
    """The limit of all calls has a free place soon, but that of the endpoint needs an answer."""
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(2, 1.0, "test"), by_priority={}))
    hanging, answered = QueuedCall(ORDERS_LIST, READS, "app"), QueuedCall(PLAIN, READS, "app")
    for each in (hanging, answered):
        assert queue.try_admit(each, 0.0)
    queue.release(answered, 1.5, sent=True)
    queue.enqueue(QueuedCall(ORDERS_LIST, READS, "app"))

    assert (queue.next_change_at(1.6), queue.next_change_at(2.1)) == (2.0, None)


def test_the_estimated_wait_counts_the_calls_of_higher_priority() -> None:
    """They go first, whenever they came."""
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(1, 1.0, "test"), by_priority={}))
    waiting, other = QueuedCall(PLAIN, READS, "app"), QueuedCall(PLAIN, SESSION, "app")
    queue.enqueue(waiting)
    queue.enqueue(other)
    alone = queue.estimate_wait(waiting, 0.0)
    queue.enqueue(QueuedCall(PLACE, ORDERS, "app"))

    waits = [queue.estimate_wait(each, 0.0) for each in (other, waiting)]

    assert (round(alone), [round(wait_s) for wait_s in waits]) == (1, [0, 2])


def test_the_estimated_wait_of_a_call_outside_the_queue_is_that_of_the_last_of_its_key() -> None:
    """It has just been removed, as its wait was over."""
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(1, 1.0, "test"), by_priority={}))
    for _ in range(2):
        queue.enqueue(QueuedCall(PLAIN, READS, "app"))

    assert round(queue.estimate_wait(QueuedCall(PLAIN, READS, "app"), 0.0)) == 2


def test_a_call_out_of_band_counts_in_its_windows_until_it_is_answered() -> None:
    """It takes no slot, and it is refused while the limit of its endpoint is used up."""
    queue = AdmissionQueue(LIMITS)
    first = queue.admit_out_of_band(ORDERS_LIST, 0.0)
    assert first is not None
    seen = [queue.admit_out_of_band(ORDERS_LIST, 100.0)]
    counts = [queue.slots_taken, queue.budget_used(100.0)]

    queue.on_answered(first, 100.0)
    queue.on_answered(first, 101.0)  # counted once
    seen.append(queue.admit_out_of_band(ORDERS_LIST, 104.9))

    assert (counts, seen, queue.budget_used(104.9)) == ([0, 1], [None, None], 0)
    assert queue.admit_out_of_band(ORDERS_LIST, 105.1) is not None


# -- calls that are not answered


FOUR_SLOTS = replace(LIMITS, total=RateLimit(8, 1.0, "test"), by_priority={})


def queue_of(limits: Limits, *inside: QueuedCall) -> AdmissionQueue:
    """A queue that has admitted these calls; they were sent at once, at 0.0 s."""
    queue = AdmissionQueue(limits)
    for each in inside:
        assert queue.try_admit(each, 0.0)
        each.sent_at = 0.0
    return queue


def read() -> QueuedCall:
    """A read without a limit of its own."""
    return QueuedCall(PLAIN, READS, "app")


def cancel() -> QueuedCall:
    """A call that needs no slot."""
    return QueuedCall(PLAIN, ORDERS, "app", needs_slot=False)


def test_only_a_cancel_passes_a_full_window_and_only_while_the_gateway_is_silent() -> None:
    """The calls that a silent Gateway does not answer fill the window until they end."""
    queue = queue_of(replace(FOUR_SLOTS, total=RateLimit(1, 1.0, "test")), read())
    seen = [queue.try_admit(cancel(), 30.0)]

    queue.on_silence()
    seen += [queue.try_admit(read(), 30.0), queue.try_admit(cancel(), 30.0)]

    assert (seen, queue.slots_taken) == ([False, False, True], 1)


def test_a_waiting_cancel_passes_full_windows_while_the_gateway_is_silent() -> None:
    """The windows of all calls, and of its priority."""
    one = RateLimit(1, 1.0, "test")
    queue = queue_of(replace(FOUR_SLOTS, total=one, by_priority={ORDERS: one}), QueuedCall(PLACE, ORDERS, "app"))
    waiting = cancel()
    queue.enqueue(waiting)
    before = queue.admit_next(30.0)

    queue.on_silence()

    assert (before, queue.admit_next(30.0)) == (None, waiting)


def test_a_prompt_answer_ends_the_earlier_calls_in_their_windows_and_frees_one_slot() -> None:
    """IBKR has counted them by now: one period later the window has room."""
    lost = [read(), read(), read()]
    queue = queue_of(FOUR_SLOTS, *lost)
    for each in lost:
        queue.on_given_up(each)

    queue.on_prompt_answer(5.0, 5.1)

    assert (queue.slots_taken, queue.budget_used(6.0), queue.budget_used(6.2)) == (2, 3, 0)
    for each in lost:
        queue.release(each, 9.0, sent=True)  # the slot that is free already is not freed again
    assert queue.slots_taken == 0


def test_one_read_is_let_in_beside_calls_that_are_given_up_while_the_gateway_answers() -> None:
    """All the slots of reads are held by them."""
    lost = [QueuedCall(PLAIN, READS, "app") for _ in range(3)]
    queue, other = queue_of(FOUR_SLOTS, *lost), match("GET", ("portfolio", "accounts"))
    seen = [queue.try_admit(QueuedCall(other, READS, "app"), 1.0)]
    for each in lost[:2]:
        queue.on_given_up(each)
    seen.append(queue.try_admit(QueuedCall(other, READS, "app"), 1.0))
    queue.on_given_up(lost[2])
    queue.on_silence()
    seen.append(queue.try_admit(QueuedCall(other, READS, "app"), 1.0))

    queue.on_prompt_answer(0.0, 1.5)  # it answers again; nothing was sent before that answer
    seen += [queue.try_admit(QueuedCall(other, READS, "app"), 2.0) for _ in range(2)]

    assert seen == [False, False, False, True, False]


def test_a_call_is_overtaken_two_seconds_later() -> None:
    """A later one was answered promptly."""
    queue = AdmissionQueue(LIMITS)
    queue.on_prompt_answer(1.0, 1.1)

    assert (queue.is_overtaken(0.0, 1.9), queue.is_overtaken(0.0, 2.0)) == (False, True)


def test_a_place_that_an_earlier_run_used_is_free_at_its_time() -> None:
    """The limits of an endpoint survive a restart; one without a limit has nothing to use."""
    queue = AdmissionQueue(LIMITS)
    queue.occupy(ORDERS_LIST, 30.0)
    queue.occupy(PLAIN, 30.0)

    assert not queue.try_admit(QueuedCall(ORDERS_LIST, READS, "app"), 29.9)
    assert queue.try_admit(QueuedCall(ORDERS_LIST, READS, "app"), 30.0)
    assert queue.try_admit(read(), 0.0)


def test_callers_that_have_left_lose_their_places_to_a_new_call() -> None:
    """Nobody is displaced and nobody is refused while such places are there."""
    queue, is_connected = AdmissionQueue(replace(LIMITS, max_queued=2)), [True]
    staying = read()
    queue.enqueue(QueuedCall(PLAIN, READS, "app", lambda: is_connected[0]))
    queue.enqueue(staying)
    is_connected[0] = False

    displaced = queue.enqueue(QueuedCall(PLAIN, READS, "other"))

    assert (displaced, queue.waiting()[READS]) == (None, 2)
    assert queue.remove(staying)


def test_without_a_limit_of_all_calls_no_budget_is_used() -> None:
    """The calls inside still count in their slots."""
    queue = queue_of(replace(LIMITS, total=None), read())

    assert (queue.budget_used(0.0), queue.slots_taken) == (0, 1)


def test_a_call_whose_caller_has_left_is_passed_over() -> None:
    """It is never sent."""
    queue, staying = AdmissionQueue(LIMITS), read()
    queue.enqueue(QueuedCall(PLAIN, READS, "app", lambda: False))
    queue.enqueue(staying)

    assert (queue.admit_next(0.0), queue.admit_next(0.0)) == (staying, None)


@pytest.mark.parametrize(("priority", "is_admitted"), [(SESSION, False), (ORDERS, True), (READS, False)])
def test_the_last_slot_is_for_orders(priority: Priority, is_admitted: bool) -> None:
    """Reads that hang hold the other three. An order to the same endpoint goes all the same."""
    queue = queue_of(FOUR_SLOTS, read(), read(), read())

    assert queue.try_admit(QueuedCall(PLAIN, priority, "app"), 0.0) is is_admitted
    assert not queue.try_admit(QueuedCall(PLAIN, priority, "app"), 0.0)


def test_an_order_may_enter_an_endpoint_that_hangs() -> None:
    """Only reads are kept out of it: an order is never refused because of a guess."""
    lost = [read(), read(), read()]
    queue = queue_of(FOUR_SLOTS, *lost)
    for each in lost:
        queue.on_given_up(each)
    queue.on_silence()

    assert queue.try_admit(QueuedCall(PLAIN, ORDERS, "app"), 1.0)
