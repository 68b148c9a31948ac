"""A call's context, and the copies that stages make of it."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect
from tests.calls.stage_setup import context_for

PATH = "/portfolio/accounts"


@pytest.mark.parametrize(
    ("attributes", "remaining"),
    [
        ({}, 0.0),
        ({"max_wait_s": 5.0}, 5.0),
        ({"max_wait_s": 5.0, "wait_s": 2.0}, 2.0),
        ({"max_wait_s": 5.0, "wait_s": 0.0}, 0.0),
        ({"max_wait_s": 5.0, "extra_wait_s": 3.0}, 8.0),
    ],
)
def test_the_wait_of_the_request_overrides_the_settings(attributes: dict[str, float], remaining: float) -> None:
    """Zero is a value as well: the call may not wait at all."""
    assert context_for("GET", PATH, b"", **attributes).remaining_wait() == remaining


def test_the_time_already_waited_is_subtracted() -> None:
    """The result is never negative, and a retry gets its extra wait on top."""
    context = context_for("GET", PATH, max_wait_s=5.0, extra_wait_s=1.0)

    context.timing.waited_s = 9.0

    assert context.remaining_wait() == 1.0


def test_an_attempt_has_preconditions_and_callbacks_of_its_own() -> None:
    """What is appended for one attempt must not run for the next one."""
    context = context_for("GET", PATH)
    context.preconditions.append(lambda _: None)
    context.is_sent = True

    attempt = context.attempt(extra_wait_s=2.0)
    attempt.preconditions.append(lambda _: None)
    attempt.on_sent.append(lambda _: None)
    attempt.on_released.append(lambda _: None)

    assert (len(context.preconditions), context.on_sent, context.on_released) == (1, [], [])
    assert (len(attempt.preconditions), attempt.is_sent, attempt.extra_wait_s) == (2, False, 2.0)


@pytest.mark.parametrize(
    ("context_needs", "attempt_needs", "expected"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_an_attempt_needs_the_complete_body_if_its_context_does(
    context_needs: bool, attempt_needs: bool, expected: bool
) -> None:
    """An outer stage may read it."""
    context = context_for("GET", PATH, needs_complete_body=context_needs)

    assert context.attempt(needs_complete_body=attempt_needs).needs_complete_body is expected


def test_all_parts_of_a_call_share_one_timing() -> None:
    """The caller learns how long its call took, together with all calls that were sent for it."""
    context = context_for("GET", PATH)
    call = Call("GET", "/v1/api/portfolio/DU1/positions/0")

    context.part(call, endpoint_of(call.method, call.target)).timing.upstream_s += 1.5
    context.attempt().timing.upstream_s += 0.5

    assert context.timing.upstream_s == 2.0


def test_a_part_has_no_source_and_age_of_its_context() -> None:
    """They belong to another response."""
    context = context_for("GET", PATH, source="cache", age_s=3.0)

    part = context.part(context.call, context.endpoint)

    assert (part.source, part.age_s) == ("gateway", None)


@pytest.mark.parametrize(
    ("parts", "source", "age"),
    [
        ([("gateway", None), ("shared", None)], "shared", None),
        ([("cache", 1.0), ("gateway", None)], "cache", 1.0),
        ([("cache", 1.0), ("cache", 4.0), ("cache", 2.0)], "cache", 4.0),
        ([("gateway", None), ("cache", 0.0), ("gateway", None)], "cache", 0.0),
    ],
)
def test_a_response_of_several_parts_is_as_old_as_the_oldest(
    parts: list[tuple[str, float | None]], source: str, age: float | None
) -> None:
    """The age says how stale a response may be, so the oldest part counts."""
    context = context_for("GET", PATH)

    for part_source, part_age in parts:
        context.merge_part(context_for("GET", PATH, source=part_source, age_s=part_age))

    assert (context.source, context.age_s) == (source, age)


def test_a_read_beside_an_order_does_not_inherit_its_checks() -> None:
    """The deadline, the journal entry and the checks belong to the order; the read would run them."""
    context = context_for("POST", "/iserver/account/DU1/orders", b"{}", key_label="full", wait_s=2.0, deadline=1.0)
    context.preconditions.append(lambda _: None)
    context.on_released.append(lambda _: None)
    call = Call("GET", "/v1/api/iserver/accounts")

    beside = context.beside(call, endpoint_of(call.method, call.target), max_age_s=0.0)

    assert (beside.deadline, beside.preconditions, beside.on_released, beside.before_first_byte) == (None, [], [], None)
    assert (beside.key_label, beside.wait_s, beside.max_age_s) == ("full", 2.0, 0.0)
    assert (beside.facts.effect, beside.facts.operation) == (Effect.READ, None)


@pytest.mark.parametrize(("method", "is_shared"), [("GET", True), ("POST", False)])
def test_only_a_read_shares_its_timing_with_a_read_beside(method: str, is_shared: bool) -> None:
    """The wait of an order is measured from its request to its first byte, so it would be counted twice."""
    context: CallContext = (
        context_for("GET", PATH) if method == "GET" else context_for("POST", "/iserver/account/DU1/orders", b"{}")
    )

    beside = context.beside(context.call, context.endpoint)

    assert (beside.timing is context.timing) is is_shared
