"""The status of the session: how other parts read it, wait for a check, and request one."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.session import maintenance, session_status
from ibkr_bridge.session.gateway_session_api import GATEWAY_HINTS
from ibkr_bridge.session.state_machine import Observation, SessionState
from tests.clocks import NOON
from tests.harness import with_timeout
from tests.session.statuses import KnownStatus

MAX_AGE_S = 5.0  # a status that is older is checked again before it is returned
MAX_WAITERS = 64  # callers that wait for one check


async def run_pending_tasks() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("state", SessionState)
def test_a_layer_is_up_in_the_states_that_have_it(state: SessionState) -> None:
    """The brokerage session is up in one state only, and the login in four."""
    status = KnownStatus(state)

    assert status.is_up(Layer.BROKERAGE) is (state is SessionState.READY)
    assert status.is_up(Layer.LOGIN) is (
        state in (SessionState.READY, SessionState.OPENING, SessionState.COMPETING, SessionState.UNUSABLE)
    )


def test_the_hint_about_a_competing_session_follows_the_policy() -> None:
    """A person whose settings leave the session to the other program must know how to get it back."""
    yielding = KnownStatus(SessionState.COMPETING, compete=Compete.YIELD)
    reclaiming = KnownStatus(SessionState.COMPETING)

    assert yielding.hint() == GATEWAY_HINTS.yielding
    assert reclaiming.hint() == GATEWAY_HINTS.by_observation[Observation.COMPETING]


def test_a_keeper_that_is_late_is_reported_as_a_problem() -> None:
    """The longest round takes 21 s, so after 25 s the loop of the keeper is stuck."""
    status = KnownStatus()
    status.clock.advance(25.0)
    assert status.problem() is None

    status.clock.advance(1.0)

    assert status.problem() == "the keeper is 26 s late"


def test_a_check_that_is_not_due_yet_is_not_late() -> None:
    """The seconds count from the moment at which it is due."""
    status = KnownStatus()
    status.next_check_at = status.clock.now() + 10.0
    before = status.overdue_s

    status.clock.advance(13.0)

    assert (before, status.overdue_s) == (0.0, 3.0)


def test_the_hint_may_be_about_another_session_than_the_known_one() -> None:
    """A ready session that could not be checked is returned as silent, with the hint of a silent one."""
    status, silent = KnownStatus(), KnownStatus(SessionState.SILENT).session

    assert status.hint(silent) == GATEWAY_HINTS.by_observation[Observation.TIMEOUT]
    assert status.hint() == GATEWAY_HINTS.by_observation[Observation.SESSION]
    assert KnownStatus(SessionState.STARTING).hint() == "wait a moment"


def test_the_next_reset_is_that_of_the_region() -> None:
    """The settings name the region."""
    assert KnownStatus().next_reset == maintenance.next_reset(NOON, Region.AMERICA)


def test_what_calls_show_of_the_session_is_passed_on() -> None:
    """A call that works again shows that the refusals before it mean nothing."""
    status = KnownStatus()
    status.report_call(is_refused=True, message="not authenticated")
    refused = status.refused_calls.has_refusals, status.refused_calls.message

    status.report_call(is_refused=False)

    assert refused == (True, "not authenticated")
    assert (status.refused_calls.has_refusals, status.refused_calls.message) == (False, "")


def test_the_session_id_comes_from_the_last_tickle() -> None:
    """Before the first tickle IBKR has given no id, so it is empty."""
    status = KnownStatus()
    assert status.session_id() == ""

    status.tickle = {"session": "abc"}

    assert status.session_id() == "abc"


def test_the_end_of_a_maintenance_window_is_known_only_during_the_window() -> None:
    """The manual clock starts on a Wednesday at noon in New York."""
    inside = KnownStatus(maintenance=(WeeklyWindow.parse("wed 11:00-13:00"),))
    outside = KnownStatus(maintenance=(WeeklyWindow.parse("thu 11:00-13:00"),))

    assert inside.maintenance_end is not None
    assert (inside.maintenance_end - inside.utc()).total_seconds() == 3600.0
    assert outside.maintenance_end is None


async def test_a_fresh_status_is_returned_at_once() -> None:
    """The caller does not wait, and no check is requested."""
    status = KnownStatus()
    status.clock.advance(5.0)

    assert await with_timeout(status.current(), 1.0) is status.session
    assert not status.has_check_request


async def test_an_old_status_is_refreshed_before_it_is_returned() -> None:
    """Three callers that wait for it share one check."""
    status = KnownStatus()
    status.clock.advance(MAX_AGE_S + 0.1)
    tasks = [asyncio.create_task(status.current()) for _ in range(3)]
    await run_pending_tasks()
    assert (status.has_check_request, [task.done() for task in tasks]) == (True, [False] * 3)

    status.set_state(SessionState.OPENING)

    assert {(await with_timeout(task)).state for task in tasks} == {SessionState.OPENING}


async def test_a_status_that_was_never_checked_is_not_fresh() -> None:
    """A caller that comes right after the start waits for the first check."""
    status = KnownStatus(SessionState.STARTING)
    task = asyncio.create_task(status.current())
    await run_pending_tasks()
    assert (status.has_check_request, task.done()) == (True, False)

    status.set_state(SessionState.READY)

    assert (await with_timeout(task)).state is SessionState.READY


async def test_a_status_that_was_never_checked_is_older_than_any_age() -> None:
    """The clock of a machine that has just been switched on begins near zero."""
    status = KnownStatus(SessionState.STARTING)
    task = asyncio.create_task(status.current(max_age=1e6))
    await run_pending_tasks()

    assert status.has_check_request
    task.cancel()


async def test_a_caller_waits_three_seconds_for_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it gets what is known."""
    timeouts, real_timeout = list[float | None](), asyncio.timeout

    def short_timeout(seconds: float | None) -> asyncio.Timeout:
        timeouts.append(seconds)
        return real_timeout(0.01)

    monkeypatch.setattr(asyncio, "timeout", short_timeout)
    status = KnownStatus()
    status.clock.advance(MAX_AGE_S + 1.0)

    await status.current()
    await status.check_now()
    await status.wait_until_tickled()

    assert timeouts == [3.0] * 3


async def test_a_silent_gateway_is_checked_again_for_a_caller() -> None:
    """It may answer by now."""
    status = KnownStatus(SessionState.SILENT)
    status.clock.advance(MAX_AGE_S + 0.1)
    task = asyncio.create_task(status.current())
    await run_pending_tasks()
    assert (status.has_check_request, task.done()) == (True, False)

    status.set_state(SessionState.READY)

    assert (await with_timeout(task)).state is SessionState.READY


async def test_a_ready_session_that_cannot_be_checked_is_returned_as_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have been lost meanwhile. Any other state is returned as it was."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.01)
    ready, opening = KnownStatus(), KnownStatus(SessionState.OPENING)
    for status in (ready, opening):
        status.clock.advance(MAX_AGE_S + 1.0)

    session = await ready.current()

    assert (session.state, session.observation) == (SessionState.SILENT, Observation.TIMEOUT)
    assert ready.session.state is SessionState.READY
    assert (await opening.current()).state is SessionState.OPENING


async def test_no_check_is_requested_while_ibkr_limits_the_keeper() -> None:
    """Another check would be refused too, and would extend the limit."""
    status = KnownStatus()
    status.set_state(SessionState.READY, Observation.RATE_LIMITED)
    status.clock.advance(MAX_AGE_S + 1.0)

    session = await with_timeout(status.current(), 1.0)

    assert (session.observation, status.has_check_request) == (Observation.RATE_LIMITED, False)


async def test_the_number_of_callers_that_wait_for_a_check_is_limited() -> None:
    """Further callers get the known status at once, so that they do not hold their connections."""
    status = KnownStatus(SessionState.OPENING)
    status.clock.advance(MAX_AGE_S + 1.0)
    waiting = [asyncio.create_task(status.current()) for _ in range(MAX_WAITERS)]
    await run_pending_tasks()

    session = await with_timeout(status.current(), 1.0)

    assert session is status.session
    assert not any(task.done() for task in waiting)
    status.end_round()
    await asyncio.gather(*waiting)


async def test_callers_that_have_their_status_make_room_for_others() -> None:
    """Whether the check ended in time or not: the limit is for those that wait at the same time."""
    status = KnownStatus(SessionState.OPENING)
    for _ in range(2):
        status.clock.advance(MAX_AGE_S + 1.0)
        waiting = [asyncio.create_task(status.current()) for _ in range(MAX_WAITERS + 1)]
        await run_pending_tasks()
        assert [task.done() for task in waiting] == [False] * MAX_WAITERS + [True]
        status.end_round()
        await asyncio.gather(*waiting)


async def test_a_check_that_began_earlier_is_not_enough() -> None:
    """It may have been sent before the change because of which the caller wants a check."""
    status = KnownStatus()
    status._is_checking = True
    task = asyncio.create_task(status.check_now())
    await run_pending_tasks()

    status.end_round()
    await run_pending_tasks()
    assert not task.done()
    status.end_round()

    assert (await with_timeout(task, 1.0)).state is SessionState.READY


async def test_a_check_that_begins_now_is_enough() -> None:
    """No check runs, so the next one begins after the caller's request."""
    status = KnownStatus()
    task = asyncio.create_task(status.check_now())
    await run_pending_tasks()
    assert (status.has_check_request, task.done()) == (True, False)

    status.end_round()

    assert (await with_timeout(task, 1.0)).state is SessionState.READY


async def test_the_wait_for_a_check_ends_with_a_timeout() -> None:
    """The caller then gets the known status."""
    status = KnownStatus(SessionState.OPENING)

    assert (await with_timeout(status.check_now(0.01))).state is SessionState.OPENING


async def test_waiting_for_a_layer_ends_when_it_is_up() -> None:
    """A check that shows another state does not end the wait."""
    status = KnownStatus(SessionState.SIGNED_OUT)
    task = asyncio.create_task(status.wait_until_up(Layer.LOGIN, 5.0))
    await run_pending_tasks()
    status.set_state(SessionState.SILENT)
    await run_pending_tasks()
    assert not task.done()

    status.set_state(SessionState.OPENING)

    assert await with_timeout(task) is True


async def test_waiting_for_a_layer_ends_after_a_check_if_the_caller_leaves() -> None:
    """Its order is not sent any more, so nobody needs the layer."""
    status, is_leaving = KnownStatus(SessionState.SIGNED_OUT), [False]
    task = asyncio.create_task(status.wait_until_up(Layer.LOGIN, 5.0, lambda: is_leaving[0]))
    await run_pending_tasks()
    status.end_round()
    await run_pending_tasks()
    assert not task.done()

    is_leaving[0] = True
    status.end_round()

    assert await with_timeout(task, 1.0) is False


async def test_waiting_for_a_layer_ends_with_a_timeout() -> None:
    """The result says that the layer is not up."""
    assert await with_timeout(KnownStatus(SessionState.OPENING).wait_until_up(Layer.BROKERAGE, 0.01)) is False


@pytest.mark.parametrize("reason", ["a tickle was answered", "a second tickle failed", "the login was lost"])
async def test_waiting_for_a_tickle_ends_if_it_was_answered_or_will_not_be(reason: str) -> None:
    """A caller must not wait for a response that cannot come."""
    status = KnownStatus()
    status._tickle_failures += 1  # the next one may be answered
    task = asyncio.create_task(status.wait_until_tickled())
    await run_pending_tasks()
    assert not task.done()

    if reason == "a tickle was answered":
        status.tickle = {"session": "abc"}
    elif reason == "a second tickle failed":
        status._tickle_failures += 1
    else:
        status.set_state(SessionState.SIGNED_OUT)
    status.end_round()

    await with_timeout(task, 1.0)


def test_a_requested_check_wakes_the_keeper() -> None:
    """If the preflight was requested too, a later request without it must not cancel that."""
    status = KnownStatus()

    before = status._is_check_requested
    status.request_check()
    first = status._is_check_requested, status._prepare_again
    status.request_check(prepare=True)
    status.request_check()

    assert (before, first) == (False, (True, False))
    assert (status.has_check_request, status._prepare_again) == (True, True)
