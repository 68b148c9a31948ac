"""What is known of the session: how others ask for it, wait for it, and give a reason to doubt."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.config.settings import Compete
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.session import session_status
from ibkr_bridge.session.session_api import GATEWAY_HINTS
from ibkr_bridge.session.session_status import MAX_AGE_S, MAX_OVERDUE_S, MAX_WAITERS
from ibkr_bridge.session.state_machine import Observation, SessionState
from tests.harness import with_timeout
from tests.session.statuses import KnownStatus


async def turns() -> None:
    """Let everything that is due happen."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("state", SessionState)
def test_a_layer_is_up_in_the_states_that_have_it(state: SessionState) -> None:
    """The brokerage session in one of them, the login in three."""
    status = KnownStatus(state)

    assert status.is_up(Layer.BROKERAGE) is (state is SessionState.READY)
    assert status.is_up(Layer.LOGIN) is (state in (SessionState.READY, SessionState.OPENING, SessionState.COMPETING))


def test_the_hint_of_a_rival_session_follows_the_policy() -> None:
    """Who leaves it to the other side must know what the Gateway does then."""
    yielding = KnownStatus(SessionState.COMPETING, compete=Compete.YIELD)
    reclaiming = KnownStatus(SessionState.COMPETING)

    assert yielding.hint() == GATEWAY_HINTS.yielding
    assert reclaiming.hint() == GATEWAY_HINTS.by_observation[Observation.COMPETING]


def test_a_keeper_that_is_too_late_is_a_problem() -> None:
    """The longest round takes 21 s; later than that, the loop is stuck."""
    status = KnownStatus()
    status.clock.advance(MAX_OVERDUE_S)
    assert status.problem() is None

    status.clock.advance(1.0)

    assert status.problem() == "the keeper is 26 s late"


def test_the_session_id_is_the_last_tickles() -> None:
    """Empty while there is none."""
    status = KnownStatus()
    assert status.session_id() == ""

    status.tickle = {"session": "abc"}

    assert status.session_id() == "abc"


def test_the_end_of_a_maintenance_window_is_known_only_inside_of_it() -> None:
    """It is noon in New York on a Wednesday."""
    inside = KnownStatus(maintenance=(WeeklyWindow.parse("wed 11:00-13:00"),))
    outside = KnownStatus(maintenance=(WeeklyWindow.parse("thu 11:00-13:00"),))

    assert inside.maintenance_end is not None
    assert (inside.maintenance_end - inside.utc()).total_seconds() == 3600.0
    assert outside.maintenance_end is None


async def test_a_fresh_view_is_told_at_once() -> None:
    """Nobody waits, and no look is asked for."""
    status = KnownStatus()
    status.clock.advance(MAX_AGE_S)

    assert await with_timeout(status.current(), 1.0) is status.session
    assert not status.is_doubted


async def test_an_old_view_is_refreshed_before_it_is_told() -> None:
    """All who ask share one look."""
    status = KnownStatus()
    status.clock.advance(MAX_AGE_S + 0.1)
    asking = [asyncio.create_task(status.current()) for _ in range(3)]
    await turns()
    assert (status.is_doubted, [task.done() for task in asking]) == (True, [False] * 3)

    status.set_state(SessionState.OPENING)

    assert {(await with_timeout(task)).state for task in asking} == {SessionState.OPENING}


async def test_a_ready_session_that_cannot_be_looked_at_is_told_as_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody knows whether it is ready still; any other state is told as it was."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.01)
    ready, opening = KnownStatus(), KnownStatus(SessionState.OPENING)
    for status in (ready, opening):
        status.clock.advance(MAX_AGE_S + 1.0)

    told = await ready.current()

    assert (told.state, told.observation) == (SessionState.SILENT, Observation.TIMEOUT)
    assert ready.session.state is SessionState.READY
    assert (await opening.current()).state is SessionState.OPENING


async def test_a_keeper_that_ibkr_paces_is_not_asked_for_more() -> None:
    """Asking again would make it longer."""
    status = KnownStatus()
    status.set_state(SessionState.READY, Observation.RATE_LIMITED)
    status.clock.advance(MAX_AGE_S + 1.0)

    told = await with_timeout(status.current(), 1.0)

    assert (told.observation, status.is_doubted) == (Observation.RATE_LIMITED, False)


async def test_no_more_callers_wait_for_one_look_than_there_is_room_for() -> None:
    """More are told what is known, so that they hold no connections."""
    status = KnownStatus(SessionState.OPENING)
    status.clock.advance(MAX_AGE_S + 1.0)
    waiting = [asyncio.create_task(status.current()) for _ in range(MAX_WAITERS)]
    await turns()

    told = await with_timeout(status.current(), 1.0)

    assert told is status.session
    assert not any(task.done() for task in waiting)
    status.end_round()
    await asyncio.gather(*waiting)


async def test_a_look_that_has_begun_already_does_not_count() -> None:
    """It may have asked before what is doubted now happened."""
    status = KnownStatus()
    status._is_checking = True
    task = asyncio.create_task(status.check_now())
    await turns()

    status.end_round()
    await turns()
    assert not task.done()
    status.end_round()

    assert (await with_timeout(task)).state is SessionState.READY


async def test_a_look_that_does_not_come_is_not_waited_for_for_ever() -> None:
    """What is known is told."""
    status = KnownStatus(SessionState.OPENING)

    assert (await with_timeout(status.check_now(0.01))).state is SessionState.OPENING


async def test_waiting_for_a_layer_ends_when_it_is_up() -> None:
    """A look that shows something else does not end it."""
    status = KnownStatus(SessionState.SIGNED_OUT)
    task = asyncio.create_task(status.wait_until_up(Layer.LOGIN, 5.0))
    await turns()
    status.set_state(SessionState.SILENT)
    await turns()
    assert not task.done()

    status.set_state(SessionState.OPENING)

    assert await with_timeout(task) is True


async def test_waiting_for_a_layer_ends_with_its_time() -> None:
    """And says that it is not up."""
    assert await with_timeout(KnownStatus(SessionState.OPENING).wait_until_up(Layer.BROKERAGE, 0.01)) is False


@pytest.mark.parametrize("reason", ["a tickle was answered", "it fails again", "the login is gone"])
async def test_waiting_for_a_tickle_ends_when_there_is_none_to_come(reason: str) -> None:
    """A caller who asks for it would only lose time."""
    status = KnownStatus()
    task = asyncio.create_task(status.wait_until_tickled())
    await turns()
    assert not task.done()

    if reason == "a tickle was answered":
        status.tickle = {"session": "abc"}
    elif reason == "it fails again":
        status._tickle_failures = 2
    else:
        status.set_state(SessionState.SIGNED_OUT)
    status.end_round()

    await with_timeout(task)


def test_a_doubt_asks_for_a_look() -> None:
    """And for IBKR's first calls, where they have to be made again; a later doubt does not take that back."""
    status = KnownStatus()

    status.request_check(prepare=True)
    status.request_check()

    assert (status.is_doubted, status._prepare_again) == (True, True)
