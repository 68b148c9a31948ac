"""The refusals of brokerage calls that a good `auth/status` contradicts."""

from __future__ import annotations

import functools

from ibkr_bridge.session.refused_calls import RefusedCalls


def check(refused_calls: RefusedCalls) -> None:
    """A check that begins now and shows a session."""
    refused_calls.begin_check()
    refused_calls.confirm()


def test_two_confirmed_refusals_contradict_the_status() -> None:
    """One refusal may come from a session that was lost and found again in between."""
    refused_calls = RefusedCalls()

    refused_calls.on_refused("no bridge")
    check(refused_calls)
    after_one = refused_calls.contradicts_status
    refused_calls.on_refused("no bridge")
    unchecked = refused_calls.contradicts_status
    check(refused_calls)

    assert (after_one, unchecked, refused_calls.contradicts_status) == (False, False, True)


def test_a_check_confirms_no_refusal_that_came_after_its_beginning() -> None:
    """Its response may be older than the refusal."""
    refused_calls = RefusedCalls()
    refused_calls.on_refused("no bridge")
    refused_calls.begin_check()
    refused_calls.on_refused("no bridge")

    refused_calls.confirm()
    after_first = refused_calls.contradicts_status
    check(refused_calls)

    assert (after_first, refused_calls.contradicts_status) == (False, True)


def test_refusals_wait_for_a_check_that_shows_something() -> None:
    """A check without a response confirms nothing, and the refusal is not lost."""
    refused_calls = RefusedCalls()
    refused_calls.on_refused("no bridge")
    refused_calls.on_refused("no bridge")
    refused_calls.begin_check()  # no response comes

    check(refused_calls)

    assert refused_calls.contradicts_status


def test_a_working_call_or_a_lost_session_explains_the_refusals() -> None:
    """A single endpoint that is refused now and then is no lost session."""
    refused_calls = RefusedCalls()
    refused_calls.on_refused("no bridge")
    check(refused_calls)

    refused_calls.forget()
    refused_calls.on_refused("no bridge")
    check(refused_calls)

    assert refused_calls.has_refusals
    assert not refused_calls.contradicts_status


def test_a_contradiction_is_settled_by_a_minute_and_not_by_a_working_call() -> None:
    """Until then openings are spaced as if the last one had failed: one endpoint may be refused again and again."""
    refused_calls = RefusedCalls()
    assert refused_calls.is_settled(0.0)

    refused_calls.on_contradicted(100.0)
    refused_calls.forget()  # the keeper's own call works
    settled_at = [refused_calls.is_settled(now) for now in (100.0, 159.9, 160.0)]

    assert settled_at == [False, False, True]


def test_a_refusal_is_known_until_a_call_works() -> None:
    """Before, during and after the check: a request to reopen the session believes it at once."""
    refused_calls = RefusedCalls()
    known = [refused_calls.has_refusals]
    messages = [refused_calls.message]
    on_refused = functools.partial(refused_calls.on_refused, "no bridge")
    for step in (on_refused, refused_calls.begin_check, refused_calls.confirm, refused_calls.forget):
        step()
        known.append(refused_calls.has_refusals)
        messages.append(refused_calls.message)

    assert known == [False, True, True, True, False]
    assert messages == ["", *["no bridge"] * 3, ""]
