"""The waiting room: exact limits whatever happens, the important first, nobody forgotten, honest words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.counting import busiest
from ibkr_bridge.errors import Busy
from ibkr_bridge.ibkr.catalogue import CATALOGUE, match
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority, RateLimit
from ibkr_bridge.limits.admission_queue import AdmissionQueue, Limits, QueuedCall
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.limits.walked import Coming, by_row, walk

SESSION, ORDERS, READS = Priority
LIMITS = Limits.of(GATEWAY_TRAITS)
PLAIN = match("GET", ("portfolio", "DU1", "meta"))
ORDERS_LIST = match("GET", ("iserver", "account", "orders"))
PLACE = match("POST", ("iserver", "account", "DU1", "orders"))
SHORT = [endpoint for endpoint in CATALOGUE if endpoint.rate_limit is None or endpoint.rate_limit.period_s <= 5.0]
LEARNING = 0.1  # seconds; how long answers take is only known approximately
DELAYS = st.floats(0.0, 30.0)


@st.composite
def comings(draw: st.DrawFn) -> list[Coming]:
    """Any crowd: bursts and trickles, all rows, slow answers and ghosts, calls that are never sent."""
    crowd = []
    for _ in range(draw(st.integers(1, 40))):
        seen, then = draw(DELAYS), draw(DELAYS)
        crowd.append(
            Coming(
                draw(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0.0, 20.0)),
                draw(st.sampled_from(SHORT)),
                draw(st.sampled_from(Priority)),
                draw(st.sampled_from(["one", "two", "three"])),
                seen,
                seen + then,
                draw(st.booleans() | st.just(value=True)),
            )
        )
    return crowd


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(comings())
def test_no_window_at_the_far_side_ever_holds_more_than_its_limit(crowd: list[Coming]) -> None:
    """Whenever calls come, whenever they are seen over there, whenever they are answered; and everybody is served."""
    served = walk(LIMITS, crowd)
    sent = [gone.seen for gone in served if gone.coming.sent]

    assert len(served) == len(crowd)
    assert LIMITS.total is not None
    assert busiest(sent, LIMITS.total.period_s) <= LIMITS.total.calls
    for endpoint, times in by_row(served).items():
        assert endpoint.rate_limit is not None
        assert busiest(times, endpoint.rate_limit.period_s) <= endpoint.rate_limit.calls, endpoint.path


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(comings())
def test_never_more_inside_than_there_are_places(crowd: list[Coming]) -> None:
    """Ghosts included; and one place that no read takes."""
    served = walk(LIMITS, crowd)
    changes = [change for gone in served for change in ((gone.began, 1), (gone.began + gone.coming.answered_after, -1))]
    reads = [
        change
        for gone in served
        if gone.coming.importance is not ORDERS
        for change in ((gone.began, 1), (gone.began + gone.coming.answered_after, -1))
    ]

    assert most(changes) <= LIMITS.slots
    # an order may stand in a place of theirs, so that reads alone are told apart only where there are no orders
    if not any(gone.coming.importance is ORDERS for gone in served):
        assert most(reads) <= LIMITS.slots - LIMITS.slots_for_orders


def most(changes: list[tuple[float, int]]) -> int:
    """The most inside at once; who leaves in a moment leaves before who comes in it."""
    inside = highest = 0
    for _, change in sorted(changes):
        inside += change
        highest = max(highest, inside)
    return highest


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.sampled_from([PLAIN, ORDERS_LIST, match("POST", ("iserver", "scanner", "run"))]), max_size=30),
    answered=st.floats(0.0, 0.1),
)
def test_the_time_that_is_told_is_within_one_period_of_the_truth(rows: list[Endpoint], answered: float) -> None:
    """For a crowd of one importance that is answered as IBKR usually does."""
    before = [Coming(n * 1.5, PLAIN, READS, "one", 0.0, answered) for n in range(12)]

    served = walk(LIMITS, [*before, *(Coming(30.0, endpoint, READS, "one", 0.0, answered) for endpoint in rows)])

    for gone in served:
        period = max(1.0, gone.coming.endpoint.rate_limit.period_s if gone.coming.endpoint.rate_limit else 0.0)
        assert abs(gone.coming.at + gone.told - gone.began) <= period + LEARNING


def test_orders_do_not_wait_for_reads() -> None:
    """Reads at full speed leave them a place and a share of the budget."""
    reads = [Coming(n / 100, PLAIN, READS, "app", 0.02, 0.04) for n in range(100)]
    order = Coming(0.7, PLACE, ORDERS, "app", 0.02, 0.04)

    served = walk(LIMITS, [*reads, order])

    assert next(gone.began for gone in served if gone.coming is order) == pytest.approx(0.7)


def test_orders_without_an_end_do_not_starve_reads() -> None:
    """A share is theirs."""
    orders = [Coming(n / 20, PLACE, ORDERS, "app", 0.0, 0.01) for n in range(100)]
    read = Coming(1.0, PLAIN, READS, "app", 0.0, 0.01)

    served = walk(LIMITS, [*orders, read])

    assert next(gone.began for gone in served if gone.coming is read) <= 2.0


def test_a_row_that_has_to_wait_holds_nobody_else_up() -> None:
    """The orders list every five seconds; everything else meanwhile."""
    lists = [Coming(0.0, ORDERS_LIST, READS, "app", 0.0, 0.01) for _ in range(3)]
    other = Coming(0.1, PLAIN, READS, "app", 0.0, 0.01)

    began = [(gone.coming.endpoint, round(gone.began, 2)) for gone in walk(LIMITS, [*lists, other])]

    assert began == [(ORDERS_LIST, 0.0), (PLAIN, 0.1), (ORDERS_LIST, 5.01), (ORDERS_LIST, 10.02)]


def test_keys_take_turns() -> None:
    """One that asks for everything leaves the other its half."""
    crowd = [Coming(0.0, PLAIN, READS, "greedy", 0.0, 0.5) for _ in range(9)]
    crowd += [Coming(0.0, PLAIN, READS, "modest", 0.0, 0.5) for _ in range(2)]

    keys = [gone.coming.key for gone in walk(LIMITS, crowd)]

    assert keys.index("modest") == 4  # three went in at once, and one came before
    assert "modest" in keys[keys.index("modest") + 1 : keys.index("modest") + 3]


def test_a_call_sent_again_is_counted_twice_or_not_sent() -> None:
    """A connection that broke before an answer: IBKR may have counted the first one."""
    limits = replace(LIMITS, total=RateLimit(2, 1.0, "test"))
    queue, queued_call = AdmissionQueue(limits), QueuedCall(PLAIN, READS, "one")
    queue.enqueue(queued_call)
    queue.admit_next(0.0)

    first, second = queue.readmit(queued_call, 0.0), queue.readmit(queued_call, 0.0)
    queue.release(queued_call, 0.5, sent=True)

    assert (first, second, queue.budget_used(1.0), queue.budget_used(1.6)) == (True, False, 2, 0)


def test_a_call_that_was_never_sent_costs_nothing() -> None:
    """Its caller hung up: the place is free at once, the limit too."""
    queue, queued_call = AdmissionQueue(LIMITS), QueuedCall(ORDERS_LIST, READS, "one")
    queue.enqueue(queued_call)
    queue.admit_next(0.0)

    queue.release(queued_call, 0.1, sent=False)
    again = QueuedCall(ORDERS_LIST, READS, "two")
    queue.enqueue(again)

    assert queue.admit_next(0.1) is again


def test_who_stops_waiting_is_forgotten() -> None:
    """And was not waiting, once inside."""
    queue, one, two = AdmissionQueue(LIMITS), QueuedCall(PLAIN, READS, "one"), QueuedCall(PLAIN, READS, "one")
    queue.enqueue(one)
    queue.enqueue(two)

    assert (queue.remove(one), queue.remove(one)) == (True, False)
    assert queue.admit_next(0.0) is two
    assert queue.remove(two) is False
    assert queue.next_change_at(0.0) is None


def test_a_queue_has_an_end_and_each_importance_its_own() -> None:
    """Reads without number keep no cancel out."""
    queue = AdmissionQueue(replace(LIMITS, max_queued=2))
    for _ in range(2):
        queue.enqueue(QueuedCall(PLAIN, READS, "one"))

    with pytest.raises(Busy):
        queue.enqueue(QueuedCall(PLAIN, READS, "two"))
    queue.enqueue(QueuedCall(PLACE, ORDERS, "one"))

    assert queue.waiting() == {SESSION: 0, ORDERS: 1, READS: 2}
    assert repr(queue) == "<AdmissionQueue 0/4 taken, 3 waiting>"
