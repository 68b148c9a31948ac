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

    with pytest.raises(Busy):
        queue.enqueue(QueuedCall(PLAIN, READS, "one"))
    queue.enqueue(QueuedCall(PLACE, ORDERS, "one"))

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


def test_the_estimated_wait_counts_the_turns_of_the_other_keys() -> None:
    """As many calls of each other key go before a call as of its own, one a second."""
    queue = AdmissionQueue(replace(LIMITS, total=RateLimit(1, 1.0, "test")))
    calls = [QueuedCall(PLAIN, READS, key) for key in ("greedy", "greedy", "greedy", "modest", "modest")]
    for queued_call in calls:
        queue.enqueue(queued_call)

    waits = [queue.estimate_wait(queued_call, 0.0) for queued_call in calls]

    assert [round(wait_s / waits[0]) for wait_s in waits] == [1, 3, 4, 1, 3]
