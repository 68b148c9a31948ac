"""Calls that are not answered: which they are, and what they mean for further calls of the same endpoint."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.ibkr.endpoint import Priority
from ibkr_bridge.limits.queued_call import QueuedCall
from ibkr_bridge.limits.unanswered_calls import UnansweredCalls

HANGING = match("GET", ("portfolio", "DU1", "meta"))
OTHER = match("GET", ("portfolio", "accounts"))
SLOW = match("GET", ("iserver", "scanner", "params"))


def call_of(endpoint: object = HANGING, at: float = 0.0) -> QueuedCall:
    """A call that was admitted and sent at this time."""
    queued_call = QueuedCall(endpoint, Priority.READS, "app")  # type: ignore[arg-type]  # the rows above
    queued_call.admitted_at = queued_call.sent_at = at
    return queued_call


def calls_inside(*inside: QueuedCall) -> UnansweredCalls:
    """These calls inside a Gateway; three of one endpoint may go unanswered."""
    calls = UnansweredCalls(3)
    for each in inside:
        calls.add(each)
    return calls


def test_a_call_counts_as_unanswered_when_a_later_one_was_answered_promptly() -> None:
    """Both are needed: two seconds, and an answer that shows a free slot."""
    first = call_of(at=0.0)
    calls = calls_inside(first)
    alone = calls.unanswered(10.0)

    calls.on_prompt_answer(1.0, 1.1)

    assert (alone, calls.unanswered(1.9), calls.unanswered(2.0)) == ([], [], [first])
    assert calls.on_prompt_answer(3.0, 3.1) == [first]


def test_an_answer_to_an_earlier_call_shows_nothing() -> None:
    """The Gateway answered that one before it had to find a slot for the other."""
    calls = calls_inside(call_of(at=5.0))

    assert calls.on_prompt_answer(4.0, 9.0) == []
    assert calls.unanswered(9.0) == []


def test_a_call_for_which_ibkr_takes_long_is_not_late() -> None:
    """Its row in the catalogue has a deadline of its own."""
    calls = calls_inside(call_of(SLOW))
    calls.on_prompt_answer(5.0, 5.1)

    assert calls.unanswered(6.0) == []


def test_a_ghost_call_is_unanswered_until_it_is_removed() -> None:
    """Whatever its age."""
    ghost = call_of(at=0.0)
    calls = calls_inside(ghost)
    calls.on_given_up(ghost)
    before = calls.unanswered(0.1)

    calls.remove(ghost)

    assert (before, calls.unanswered(9.0)) == ([ghost], [])


def test_an_endpoint_that_hangs_gets_one_more_try_and_no_other() -> None:
    """Three slots, and a fourth for the try: the fifth of the Gateway is left for everything else."""
    calls = calls_inside(*(call_of(at=float(n)) for n in range(3)))
    calls.on_prompt_answer(4.0, 4.1)
    too_early = calls.may_enter(call_of(), 3.9)  # the third may still be answered
    one_more = calls.may_enter(call_of(), 5.0)
    calls.add(call_of(at=5.0))
    calls.on_prompt_answer(8.0, 8.1)

    assert (too_early, one_more, calls.may_enter(call_of(), 8.1)) == (False, True, False)
    assert calls.may_enter(call_of(OTHER), 8.1)


def test_while_the_gateway_is_silent_there_is_no_try() -> None:
    """A check of the session was not answered: perhaps no slot is free at all."""
    calls = calls_inside(*(call_of(at=float(n)) for n in range(3)))
    calls.on_prompt_answer(4.0, 4.1)

    calls.is_answering = False

    assert calls.may_enter(call_of(), 6.0) is False


@pytest.mark.parametrize("is_late", [False, True])
def test_an_answer_of_the_endpoint_itself_clears_its_earlier_calls(is_late: bool) -> None:
    """They were lost with a connection that IBKR refused; the endpoint works."""
    calls = calls_inside(*(call_of(at=float(n)) for n in range(3)))
    for each in list(calls.unanswered(0.0)):
        calls.on_given_up(each)
    calls.on_prompt_answer(4.0, 4.1)
    answered = call_of(at=5.0)
    calls.add(answered)

    calls.on_answer(answered, 12.0 if is_late else 5.1)
    calls.remove(answered)

    assert all(calls.may_enter(call_of(), 13.0) for _ in range(3))


def test_a_call_is_overtaken_after_two_seconds_and_a_later_answer() -> None:
    """Nobody joins it then."""
    calls = calls_inside()
    before = calls.is_overtaken(0.0, 9.0)
    calls.on_prompt_answer(1.0, 1.1)

    assert (before, calls.is_overtaken(0.0, 1.9), calls.is_overtaken(0.0, 2.0)) == (False, False, True)
    assert calls.is_overtaken(1.0, 9.0) is False


def test_a_prompt_answer_says_nothing_of_a_ghost_call_that_was_sent_later_or_not_at_all() -> None:
    """Only an earlier call should have been answered before."""
    later, unsent = call_of(at=5.0), call_of(at=0.0)
    unsent.sent_at = None
    calls = calls_inside(later, unsent)
    for each in (later, unsent):
        calls.on_given_up(each)

    assert calls.on_prompt_answer(3.0, 3.1) == []
    assert calls.on_prompt_answer(6.0, 6.1) == [later]


def test_calls_of_other_endpoints_take_no_place_of_one_that_hangs() -> None:
    """Nor does a call whose endpoint has answered since."""
    cleared = call_of(at=0.0)
    cleared.is_cleared = True
    calls = calls_inside(call_of(at=0.0), *(call_of(OTHER) for _ in range(3)), cleared, cleared)
    calls.on_prompt_answer(1.0, 1.1)

    assert calls.may_enter(call_of(), 5.0)


def four_lost_calls() -> UnansweredCalls:
    """An endpoint whose single try was lost too, at 5.0 s."""
    calls = calls_inside(*(call_of(at=float(n)) for n in range(3)))
    calls.on_prompt_answer(4.0, 4.1)
    calls.add(call_of(at=5.0))
    calls.on_prompt_answer(8.0, 8.1)
    return calls


@pytest.mark.parametrize(
    ("slow_sent_at", "quick_sent_at", "slow_answered_at", "may_enter"),
    [
        (9.0, 9.1, 9.5, True),
        (9.0, 9.1, 9.22, False),  # the two answers may have been read in another order
        (9.2, 9.1, 9.5, False),  # the quick one was sent first: one slot is enough for both
        (9.1, 9.1, 9.5, False),  # which of the two came first is not known
        (4.5, 4.9, 9.5, False),  # it was served before the last try
        (4.5, 5.0, 9.5, False),  # or at the same moment
    ],
)
def test_another_try_needs_two_slots_that_are_shown_to_be_free(
    slow_sent_at: float, quick_sent_at: float, slow_answered_at: float, may_enter: bool
) -> None:
    """The Gateway answers in another order than calls were sent only if it works on both at once."""
    calls = four_lost_calls()
    slow, quick = call_of(OTHER, slow_sent_at), call_of(OTHER, quick_sent_at)
    calls.add(slow)
    calls.add(quick)
    before = calls.may_enter(call_of(), 9.0)

    calls.on_prompt_answer(quick_sent_at, 9.2)
    calls.on_answer(quick, 9.2)
    calls.remove(quick)
    calls.on_answer(slow, slow_answered_at)
    calls.remove(slow)

    assert (before, calls.may_enter(call_of(), 10.0)) == (False, may_enter)


def test_each_further_try_needs_evidence_of_its_own() -> None:
    """The last try may have taken one of the two slots."""
    calls = four_lost_calls()
    slow, quick = call_of(OTHER, 9.0), call_of(OTHER, 9.1)
    calls.add(slow)
    calls.on_prompt_answer(9.1, 9.2)
    calls.on_answer(quick, 9.2)
    calls.on_answer(slow, 9.5)
    calls.remove(slow)
    first = calls.may_enter(call_of(), 10.0)

    calls.add(call_of(at=10.0))
    calls.on_prompt_answer(13.0, 13.1)

    assert (first, calls.may_enter(call_of(), 13.1)) == (True, False)


def cancels(count: int) -> list[QueuedCall]:
    """So many calls that need no slot."""
    return [QueuedCall(HANGING, Priority.ORDERS, "app", needs_slot=False) for _ in range(count)]


def test_six_cancels_may_wait_in_a_silent_gateway() -> None:
    """While it answers, none is urgent. Calls of another kind do not count."""
    calls = calls_inside(call_of(), *cancels(5))
    seen = [calls.may_be_urgent]
    calls.is_answering = False
    seen.append(calls.may_be_urgent)
    (sixth,) = cancels(1)

    calls.add(sixth)
    seen.append(calls.may_be_urgent)
    calls.remove(sixth)
    seen.append(calls.may_be_urgent)
    calls.on_prompt_answer(1.0, 1.1)

    assert [*seen, calls.may_be_urgent] == [False, True, False, True, False]


def test_a_ghost_call_is_counted_once() -> None:
    """Also if a later call was answered promptly before its deadline."""
    ghost = call_of(at=0.0)
    calls = calls_inside(ghost)
    calls.on_prompt_answer(1.0, 1.1)

    calls.on_given_up(ghost)

    assert calls.unanswered(15.0) == [ghost]
    assert repr(calls) == "<UnansweredCalls 1 inside, 1 of them ghost calls>"


def test_an_answer_to_an_earlier_call_does_not_undo_what_a_later_one_showed() -> None:
    """Answers may be read in another order than their calls were sent."""
    first = call_of(at=1.0)
    calls = calls_inside(first)
    calls.on_prompt_answer(2.0, 2.1)
    calls.on_prompt_answer(0.5, 2.2)

    assert calls.unanswered(3.0) == [first]
    assert calls.is_overtaken(1.0, 3.0)


def test_a_call_that_was_sent_at_the_same_moment_as_the_answered_one_is_not_late() -> None:
    """It may have been sent after it."""
    late, ghost = call_of(at=1.0), call_of(at=1.0)
    calls = calls_inside(late, ghost)
    calls.on_given_up(ghost)

    assert calls.on_prompt_answer(1.0, 1.1) == []
    assert calls.unanswered(9.0) == [ghost]


def test_the_next_late_call_is_the_first_that_has_not_waited_for_two_seconds() -> None:
    """The queue looks again then."""
    calls = calls_inside(call_of(at=0.0), call_of(at=0.5))

    assert (calls.next_late_at(1.9), calls.next_late_at(2.0), calls.next_late_at(2.5)) == (2.0, 2.5, None)


@pytest.mark.parametrize(
    ("answered_at", "admitted_at", "is_cleared"), [(5.0, 2.0, True), (2.0, 2.0, True), (1.5, 2.0, False)]
)
def test_an_answer_says_nothing_of_calls_that_were_admitted_later(
    answered_at: float, admitted_at: float, is_cleared: bool
) -> None:
    """The endpoint may have begun to hang after it."""
    lost = [call_of(at=float(n)) for n in (0, 1, admitted_at)]
    calls = calls_inside(*lost)
    for each in lost:
        calls.on_given_up(each)
    calls.add(call_of(at=5.0))

    calls.on_answer(call_of(at=answered_at), 6.0)

    assert [each.is_cleared for each in lost] == [True, True, is_cleared]


@pytest.mark.parametrize(("gap_s", "may_enter"), [(0.046875, False), (0.0625, True)])
def test_two_answers_close_together_may_have_been_read_in_another_order(gap_s: float, may_enter: bool) -> None:
    """Fifty milliseconds apart they show that the Gateway worked on both at once."""
    calls = four_lost_calls()
    slow, quick = call_of(OTHER, 9.0), call_of(OTHER, 9.1)
    calls.add(slow)
    calls.on_prompt_answer(9.1, 9.25)

    calls.on_answer(quick, 9.25)
    calls.on_answer(slow, 9.25 + gap_s)
    calls.remove(slow)

    assert calls.may_enter(call_of(), 10.0) is may_enter


def test_a_call_is_overtaken_by_the_first_later_answer() -> None:
    """A second one, a moment before its own answer, does not make the two look close together."""
    calls = four_lost_calls()
    slow = call_of(OTHER, 9.0)
    calls.add(slow)
    calls.on_prompt_answer(9.1, 9.2)
    calls.on_prompt_answer(9.3, 9.49)

    calls.on_answer(slow, 9.5)
    calls.remove(slow)

    assert calls.may_enter(call_of(), 10.0)


def test_older_evidence_does_not_replace_newer() -> None:
    """An answer that was overtaken long ago is read last."""
    calls = four_lost_calls()
    old, new = call_of(OTHER, 4.0), call_of(OTHER, 9.0)
    old.overtaken, new.overtaken = (4.5, 4.6), (9.1, 9.2)

    calls.on_answer(new, 9.5)
    calls.on_answer(old, 9.6)

    assert calls.may_enter(call_of(), 10.0)
