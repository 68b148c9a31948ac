"""The keeper in front of a simulated Gateway: its observations, its actions, and how often it sends calls."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from ibkr_bridge.calls.messages import Call, OnReleased, Response, noop
from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.sources import PROJECT_ROOT
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.events import AccountNotSelected, PreflightDone, SessionOpening, SessionReady
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.session import gateway_session_api, session_api, session_status
from ibkr_bridge.session.keeper import OPEN_ALREADY
from ibkr_bridge.session.opener import OpeningReport
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.session_status import TrafficView
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import context_for
from tests.clocks import ManualClock
from tests.session.watched_keeper import ACCOUNTS, INIT, STATUS, WATCH_INTERVAL_S, WatchedKeeper

Watch = Callable[..., Awaitable[WatchedKeeper]]
NEVER = 1e9  # seconds; a Gateway that does not tickle by itself does not log itself out
HOUR = 3600.0
# What the documents say of the keeper; a module whose figure is changed must fail here.
LOGIN_TYPE_INTERVAL_S, RATE_LIMITED_INTERVAL_S, MIN_INTERVAL_S, MAX_AGE_S, MAX_OVERDUE_S = 61.0, 60.0, 0.25, 5.0, 25.0
GRACE_S, MAX_FAILED_PER_HOUR, MAX_RECLAIMS_PER_HOUR = 5.0, 20, 3
VALIDATE, SELECT = "/sso/validate", "/iserver/account"


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Start a keeper in front of a simulated Gateway; `sim` has the arguments of the simulator."""
    async with AsyncExitStack() as stack:

        async def start_keeper(sim: dict[str, Any] | None = None, **options: Any) -> WatchedKeeper:
            clock = ManualClock()
            simulator = await stack.enter_async_context(Simulator(clock=clock, **(sim or {})))
            return await stack.enter_async_context(WatchedKeeper(simulator, clock, **options))

        yield start_keeper


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks time out after two real seconds instead of five. Less would fail on a busy machine."""
    monkeypatch.setattr(session_api, "CHECK_TIMEOUT_S", 2.0)


# -- the brokerage session, lost and reopened


async def test_a_lost_brokerage_session_is_requested_at_once(watch: Watch) -> None:
    """The Gateway would end the login within thirty seconds; the check that notices the loss opens the session."""
    watched = await watch()
    watched.sim.lose_brokerage()

    await watched.advance(WATCH_INTERVAL_S)
    await watched.advance_until(SessionState.READY, timeout_s=1.0)

    assert [call.json() for call in watched.openings] == [{"publish": True, "compete": True}]
    assert [(change.state, change.reason) for change in watched.changes[-2:]] == [
        ("opening", "brokerage_lost"),
        ("ready", "ready"),
    ]


async def test_ready_is_published_after_the_preflight(watch: Watch) -> None:
    """Subscribers of the event may request orders and positions at once."""
    watched = await watch()
    account_calls: list[int] = []
    watched.bus.subscribe(
        lambda event: (
            account_calls.append(len(watched.sim.gateway_calls("/portfolio/accounts")))
            if isinstance(event, SessionReady)
            else None
        )
    )
    watched.sim.lose_brokerage()

    await watched.advance(2 * WATCH_INTERVAL_S)

    assert account_calls == [2]  # once at the start, once after the loss
    assert len(watched.sim.gateway_calls(ACCOUNTS)) == 2
    kinds = [
        type(event) for event in watched.events_seen if isinstance(event, PreflightDone | SessionReady | SessionOpening)
    ]
    assert kinds == [PreflightDone, SessionReady, SessionOpening, PreflightDone, SessionReady]


async def test_the_accounts_in_a_list_that_a_caller_fetched_are_masked_from_then_on(watch: Watch) -> None:
    """An advisor's sub-accounts are not in the preflight."""
    watched = await watch()
    listed, other = Response(200, {}, b'[{"id":"QX4711ZA"}]'), Response(200, {}, b'[{"id":"QX4712ZA"}]')

    watched.keeper.observe(context_for("GET", "/portfolio/subaccounts"), listed)
    watched.keeper.observe(context_for("GET", "/trsrv/secdef"), other)

    assert watched.redactor.redact("QX4711ZA QX4712ZA DU1234567") == "QX*****ZA QX4712ZA DU*****67"


async def test_each_list_of_accounts_that_differs_from_the_one_before_is_read(watch: Watch) -> None:
    """A list that a caller fetches again is not parsed again."""
    watched = await watch()
    for number in ("QX4711ZA", "QX4711ZA", "QX4712ZA"):
        listed = Response(200, {}, b'[{"id":"%b"}]' % number.encode())
        watched.keeper.observe(context_for("GET", "/portfolio/subaccounts"), listed)

    assert watched.redactor.redact("QX4711ZA QX4712ZA") == "QX*****ZA QX*****ZA"


async def test_the_accounts_are_known_when_the_session_is_ready(watch: Watch) -> None:
    """The guard checks orders by them."""
    watched = await watch()

    assert watched.keeper.accounts.numbers == {"DU1234567", "DU7654321"}
    assert watched.keeper.accounts.paper is True


async def test_a_failed_preflight_is_repeated(watch: Watch) -> None:
    """One failed call must not leave the bridge without accounts until the next loss."""
    watched = await watch()
    watched.sim.faults.add("status", path=ACCOUNTS, times=1, status=500)
    watched.sim.lose_brokerage()
    await watched.advance(2 * WATCH_INTERVAL_S)

    await watched.advance(60.0)

    assert watched.keeper.session.state is SessionState.READY
    assert watched.keeper.accounts.numbers == {"DU1234567", "DU7654321"}


async def test_the_accounts_of_the_portfolio_are_masked_too(watch: Watch) -> None:
    """An advisor's accounts may be in this list alone; the event counts those that take orders."""
    watched = await watch()
    await watched.advance(2 * WATCH_INTERVAL_S)
    watched.sim.faults.add("status", path="/portfolio/accounts", status=200, body='[{"id":"QX4711ZA"}]')

    watched.keeper.request_check(prepare=True)
    await watched.advance(1.0)

    assert watched.redactor.redact("QX4711ZA DU1234567") == "QX*****ZA DU*****67"
    done = [event for event in watched.events_seen if isinstance(event, PreflightDone)]
    assert [(event.accounts, event.paper) for event in done] == [(2, "yes")] * 2


async def test_an_incomplete_list_of_accounts_is_not_read(watch: Watch) -> None:
    """Only a 200 has the list, and a streamed body is not complete."""
    watched, body = await watch(), b'[{"id":"QX4711ZA"}]'
    for response in (Response(100, {}, body), Response(500, {}, body), Response(200, {}, body, FakeBodyStream())):
        watched.keeper.observe(context_for("GET", "/portfolio/subaccounts"), response)

    assert watched.redactor.redact("QX4711ZA") == "QX4711ZA"


async def test_the_suppressed_questions_are_suppressed_again_with_each_session(watch: Watch) -> None:
    """IBKR drops the list with the brokerage session."""
    body = b'{"messageIds":["o163"]}'
    headers = (("Content-Type", "application/json"),)
    suppress = Call("POST", "/v1/api/iserver/questions/suppress", headers, body, is_change=True)
    watched = await watch({"tickle_interval_s": NEVER}, suppressed_call=lambda: suppress)
    watched.sim.lose_brokerage()

    await watched.advance(2 * WATCH_INTERVAL_S)

    assert [call.body for call in watched.sim.gateway_calls("/questions/suppress")] == [body] * 2


def selections(watched: WatchedKeeper) -> list[bytes]:
    """The bodies of the calls that selected an account."""
    return [call.body for call in watched.sim.gateway_calls() if call.target.endswith(SELECT)]


async def test_the_selected_account_is_selected_before_the_session_is_ready(watch: Watch) -> None:
    """An order that names no account would go to another one."""
    watched = await watch(selected_account="DU7654321")

    assert watched.keeper.session.state is SessionState.READY
    assert selections(watched) == [b'{"acctId":"DU7654321"}']


@pytest.mark.parametrize("path", [f"{SELECT}$", ACCOUNTS])
async def test_the_session_is_not_ready_while_the_selection_is_undecided(watch: Watch, path: str) -> None:
    """IBKR failed at the selection, or at the list that would show what is selected now."""
    watched = await watch({"tickle_interval_s": NEVER}, selected_account="DU7654321")
    watched.sim.faults.add("selection-lost")
    watched.sim.faults.add("html-500", path=path)
    watched.sim.lose_brokerage()
    await watched.advance(2 * WATCH_INTERVAL_S)
    undecided = watched.keeper.session.state, watched.keeper.session.reason
    watched.sim.faults.clear()

    await watched.advance_until(SessionState.READY)

    assert undecided == (SessionState.OPENING, "establishing")
    assert watched.selected_account.number == "DU7654321"
    assert selections(watched)[-1] == b'{"acctId":"DU7654321"}'


async def test_a_selection_that_ibkr_refuses_is_reported_and_forgotten(watch: Watch) -> None:
    """The session is ready without it; the words of IBKR are redacted."""
    watched = await watch({"tickle_interval_s": NEVER}, selected_account="DU7654321")
    watched.sim.faults.add("selection-lost")
    body = '{"error":"Account DU7654321 not found"}'
    watched.sim.faults.add("status", path=f"{SELECT}$", status=500, body=body)
    watched.sim.lose_brokerage()

    await watched.advance(2 * WATCH_INTERVAL_S)

    assert (watched.keeper.session.state, watched.selected_account.number) == (SessionState.READY, "")
    (event,) = [event for event in watched.events_seen if isinstance(event, AccountNotSelected)]
    assert (event.status, event.ibkr_message) == (500, "Account DU*****21 not found")


async def test_a_demanded_preflight_is_made_once_in_five_seconds(watch: Watch) -> None:
    """IBKR allows one /portfolio/accounts in five seconds."""
    watched = await watch()
    await watched.advance(2 * WATCH_INTERVAL_S)
    first_count = len(watched.sim.gateway_calls(ACCOUNTS))

    for _ in range(100):
        watched.keeper.request_check(prepare=True)
        await watched.advance(0.1)

    times = [call.at for call in watched.sim.gateway_calls(ACCOUNTS)][first_count:]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert gaps
    assert 5.0 <= min(gaps) <= max(gaps) <= 5.0 + WATCH_INTERVAL_S


# -- the type of the login


@pytest.mark.parametrize("live", [True, False])
async def test_the_type_of_the_login_is_known_when_the_session_is_ready(watch: Watch, live: bool) -> None:
    """The guard checks orders by it."""
    watched = await watch({"live": live})

    assert watched.keeper.session.state is SessionState.READY
    assert watched.keeper.accounts.login_is_paper is not live
    assert len(watched.sim.gateway_calls(VALIDATE)) == 1


async def test_the_type_of_the_login_is_requested_after_each_preflight_but_once_a_minute_at_most(watch: Watch) -> None:
    """IBKR allows one such call a minute; a call that must wait is sent later."""
    watched = await watch()
    for _ in range(3):
        watched.sim.lose_brokerage()
        await watched.advance(2 * WATCH_INTERVAL_S)
    assert len(watched.sim.gateway_calls(VALIDATE)) == 1
    assert watched.keeper.accounts.login_is_paper is True

    await watched.advance(5 * 60.0)

    first, second = watched.sim.gateway_calls(VALIDATE)
    assert 60.0 < second.at - first.at < 61.0 + 2 * WATCH_INTERVAL_S


async def test_the_type_of_the_login_is_not_requested_within_a_minute_of_the_last_time(watch: Watch) -> None:
    """IBKR's clock may run a little slower than ours, so it is a second more."""
    watched = await watch()
    await watched.advance(30.0)
    watched.keeper.request_check(prepare=True)
    counts = []
    for seconds in (30.5, 1.0):
        await watched.advance(seconds)
        watched.keeper.request_check()
        await watched.wait_for_requested_check()
        counts.append(len(watched.sim.gateway_calls(VALIDATE)))

    assert counts == [1, 2]


async def test_the_type_of_a_new_login_is_requested_a_minute_later(watch: Watch) -> None:
    """At a login the Gateway sends the same call, and IBKR counts it; until then the type is unknown."""
    watched = await watch({"tickle_interval_s": NEVER, "live": True})
    await watched.advance(2 * LOGIN_TYPE_INTERVAL_S)
    watched.sim.log_out()
    await watched.advance_until(SessionState.SIGNED_OUT)
    watched.sim.log_in()
    await watched.advance_until(SessionState.READY)
    assert (watched.keeper.accounts.paper, watched.keeper.accounts.login_is_paper) == (False, None)

    await watched.advance(LOGIN_TYPE_INTERVAL_S - WATCH_INTERVAL_S)
    early_calls = len(watched.sim.gateway_calls(VALIDATE)) - 1
    await watched.advance(2 * WATCH_INTERVAL_S)

    assert (early_calls, len(watched.sim.gateway_calls(VALIDATE)) - 1) == (0, 1)
    assert watched.keeper.accounts.login_is_paper is False


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize("fault", ["empty-503", "html-500", "garble", "cut-before", "hidden-error", "429", "silence"])
async def test_an_unknown_login_type_does_not_delay_the_session(watch: Watch, fault: str) -> None:
    """The type of the same login stays valid, the session becomes ready, and the call is not repeated at once."""
    watched = await watch()
    await watched.advance(2 * LOGIN_TYPE_INTERVAL_S)
    watched.sim.faults.add(fault, path=VALIDATE, times=1)
    watched.sim.lose_brokerage()

    await watched.advance_until(SessionState.READY, timeout_s=2 * WATCH_INTERVAL_S)
    await watched.advance(3 * LOGIN_TYPE_INTERVAL_S)

    assert watched.keeper.accounts.login_is_paper is True
    assert len({call.at for call in watched.sim.gateway_calls(VALIDATE)}) == 2
    assert not watched.failures


async def test_in_the_penalty_box_the_login_type_is_not_requested(watch: Watch) -> None:
    """Every call would make the penalty longer."""
    watched = await watch()
    boxed = [True]
    watched.keeper._traffic = TrafficView(in_box=lambda: boxed[0])
    watched.keeper.request_check(prepare=True)
    await watched.advance(5 * 60.0)
    calls_in_box = len(watched.sim.gateway_calls(VALIDATE))

    boxed.clear()
    boxed.append(False)
    await watched.advance(60.0 + WATCH_INTERVAL_S)

    assert (calls_in_box, len(watched.sim.gateway_calls(VALIDATE))) == (1, 2)


# -- opening the session


async def test_ibkrs_words_about_the_status_and_about_the_request_are_joined(watch: Watch) -> None:
    """They are in the event and in the status, without account numbers, each text once."""
    watched = await watch({"tickle_interval_s": NEVER})
    status = '{"authenticated":false,"connected":true,"message":"approve the login of DU1234567"}'
    watched.sim.faults.add("status", path=STATUS, status=200, body=status)
    watched.sim.faults.add("status", path=INIT, status=500, body='{"error":"try later"}')

    await watched.advance(WATCH_INTERVAL_S)

    assert watched.changes[-1].ibkr_message == "approve the login of DU*****67"
    assert watched.keeper.status().ibkr_message == "approve the login of DU*****67; try later"


async def test_an_attempt_to_open_is_published_with_its_outcome(watch: Watch) -> None:
    """The event has the number of the attempt, the status and the time until the next one."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()

    await watched.advance(WATCH_INTERVAL_S)

    (opening,) = [event for event in watched.events_seen if isinstance(event, SessionOpening)]
    assert (opening.attempt, opening.status, opening.compete, opening.next_try_s) == (1, 500, True, 1.0)


async def test_failing_attempts_become_rarer(watch: Watch) -> None:
    """1, 5, 15, 30, 60 seconds apart, and a minute each from then on."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()

    await watched.advance(4 * 60.0)

    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(watched.openings)]
    assert len(gaps) >= 6
    for gap, min_gap in zip(gaps, (1, 5, 15, 30, 60, 60), strict=False):
        assert min_gap <= round(gap, 6) <= min_gap + WATCH_INTERVAL_S


async def test_no_more_than_twenty_attempts_fail_in_an_hour(watch: Watch) -> None:
    """IBKR counts them; after so many failures a person is needed."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()

    await watched.advance(25 * 60.0)
    first_hour = [call.at for call in watched.openings]
    await watched.advance_in_steps(first_hour[0] + HOUR + WATCH_INTERVAL_S - watched.clock.now())

    attempts = [call.at for call in watched.openings]
    assert len(first_hour) == MAX_FAILED_PER_HOUR
    assert len(attempts) == MAX_FAILED_PER_HOUR + 1
    assert attempts[-1] - attempts[0] >= HOUR


async def test_accounts_that_never_load_make_the_keeper_request_the_session(watch: Watch) -> None:
    """The keeper requests the session after twenty seconds, and the request repairs it."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("never-established")
    await watched.run_round()
    began = watched.clock.now()

    await watched.advance(19.0)
    early = len(watched.openings)
    await watched.advance_until(SessionState.READY, timeout_s=10.0)

    assert (early, len(watched.openings)) == (0, 1)
    assert 20.0 <= watched.openings[0].at - began <= 20.0 + WATCH_INTERVAL_S


def assert_spaced(watched: WatchedKeeper) -> None:
    """The openings of five minutes keep the pauses of the backoff."""
    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(watched.openings)]
    assert 5 <= len(watched.openings) <= 9
    for gap, min_gap in zip(gaps, (1, 5, 15, 30, 60, 60, 60), strict=False):
        assert round(gap, 6) >= min_gap


async def test_an_unusable_session_is_requested_no_more_often_than_a_lost_one(watch: Watch) -> None:
    """The limits of the backoff apply even if the preflight works and later calls fail."""
    watched = await watch({"tickle_interval_s": NEVER})
    end = watched.clock.now() + 300.0

    while watched.clock.now() < end:
        watched.keeper.report_call(is_refused=True)
        await watched.run_round()

    assert_spaced(watched)


async def test_a_session_whose_preflight_is_refused_is_requested_no_more_often_than_a_lost_one(watch: Watch) -> None:
    """A preflight that works after the request does not end the row of attempts: the next one is refused again."""
    watched = await watch({"tickle_interval_s": NEVER})
    end = watched.clock.now() + 300.0

    while watched.clock.now() < end:
        if watched.keeper.session.state is SessionState.READY:
            watched.sim.faults.add("no-bridge")
        watched.keeper.request_check(prepare=True)
        await watched.run_round()

    assert_spaced(watched)


async def test_tickles_go_on_while_the_session_is_disconnected(watch: Watch) -> None:
    """Without them IBKR would end the login."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.faults.add("disconnected")
    tickle_count = len(watched.tickles)

    await watched.advance(10 * 60.0)

    assert watched.keeper.session.observation is Observation.DISCONNECTED
    assert watched.keeper.session.has_login
    assert len(watched.tickles) - tickle_count >= 10


async def test_a_check_after_a_429_waits_a_minute_unless_the_limits_are_known_to_be_over(watch: Watch) -> None:
    """Requests do not shorten the minute. In the demo, `trigger clear` ends the penalty."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("429", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    refused_count = len(watched.checks)
    watched.keeper.request_check()
    await watched.advance(30.0)
    count_in_the_minute = len(watched.checks)
    watched.sim.faults.clear()

    watched.keeper.end_slow_down()
    await watched.wait_for_requested_check()

    assert (count_in_the_minute, len(watched.checks)) == (refused_count, refused_count + 1)
    assert watched.keeper.session.observation is Observation.SESSION


async def test_after_three_failed_requests_the_hint_names_the_usual_causes(watch: Watch) -> None:
    """Waiting alone seldom helps then."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()
    hints = []
    while len(watched.openings) < 3:
        await watched.advance(WATCH_INTERVAL_S)
        hints.append((len(watched.openings), watched.keeper.hint()))

    waiting = gateway_session_api.GATEWAY_HINTS.by_observation[Observation.LOGIN_ONLY]
    causes = gateway_session_api.GATEWAY_HINTS.openings_fail
    assert hints == [(count, waiting if count < 3 else causes) for count, _ in hints]


async def test_refusals_that_the_reopening_explained_are_forgotten(watch: Watch) -> None:
    """One request repairs the session; after a quiet minute the row of attempts is over."""
    watched = await watch({"tickle_interval_s": NEVER})
    for _ in range(2):
        watched.keeper.report_call(is_refused=True)
    await watched.run_round()
    await watched.advance(61.0)
    watched.sim.lose_brokerage()
    await watched.advance(WATCH_INTERVAL_S)
    await watched.advance_until(SessionState.READY)

    openings = [event for event in watched.events_seen if isinstance(event, SessionOpening)]
    assert [event.attempt for event in openings] == [1, 1]


@pytest.mark.parametrize(("is_lost_between", "opening_count"), [(False, 1), (True, 0)])
async def test_a_refusal_before_a_loss_is_explained_by_it(
    watch: Watch, is_lost_between: bool, opening_count: int
) -> None:
    """A check that shows nothing explains nothing: with a second refusal the session counts as unusable."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.keeper.report_call(is_refused=True)
    if is_lost_between:
        body = '{"authenticated":true,"connected":true,"established":false}'
        watched.sim.faults.add("status", path=STATUS, times=1, status=200, body=body)
        watched.sim.faults.add("status", path=ACCOUNTS, times=1, status=500)  # else the preflight explains it too
    else:
        watched.sim.faults.add("429", path=STATUS, times=1)
    await watched.run_round()
    await watched.advance(RATE_LIMITED_INTERVAL_S)

    watched.keeper.report_call(is_refused=True)
    await watched.run_round()

    assert len(watched.openings) == opening_count


async def test_a_preflight_that_fails_does_not_end_an_unusable_session(watch: Watch) -> None:
    """Only one that works shows that brokerage calls do."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=ACCOUNTS, status=500)
    for _ in range(2):
        watched.keeper.report_call(is_refused=True)

    await watched.advance(20.0)
    state = watched.keeper.session.state
    watched.sim.faults.clear()
    await watched.advance_until(SessionState.READY)

    assert state is SessionState.UNUSABLE
    assert [change.state for change in watched.changes] == ["ready", "unusable", "ready"]


async def test_the_pauses_of_a_state_begin_anew_with_it(watch: Watch) -> None:
    """A lost session is checked often at first, a silent Gateway less and less, however long it was good before."""
    watched = await watch({"tickle_interval_s": NEVER})
    await watched.advance(30 * WATCH_INTERVAL_S)
    watched.sim.faults.add("html-500", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    silent_s = watched.keeper.next_check_at - watched.clock.now()
    watched.sim.faults.clear()
    await watched.advance_until(SessionState.READY)
    await watched.advance(30 * WATCH_INTERVAL_S)
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()
    await watched.advance(WATCH_INTERVAL_S)
    count = len(watched.checks)

    await watched.advance(30.0)

    times = [call.at for call in watched.checks[count - 1 :]]
    gaps = [round(later - sooner, 3) for sooner, later in itertools.pairwise(times)]
    assert silent_s == 6.0
    assert gaps == [0.5] * 19 + [WATCH_INTERVAL_S] * 6


# -- another session of the same user


async def spend_reclaims(watched: WatchedKeeper) -> None:
    """Take the session back from another program as often as one hour allows."""
    for _ in range(MAX_RECLAIMS_PER_HOUR):
        watched.sim.start_competing()
        await watched.advance(WATCH_INTERVAL_S)
        await watched.advance_until(SessionState.READY)


async def test_the_session_is_taken_back_three_times_an_hour_at_most(watch: Watch) -> None:
    """Otherwise two programs that both take it back would displace each other without end."""
    watched = await watch({"tickle_interval_s": NEVER})
    await spend_reclaims(watched)
    watched.sim.start_competing()

    await watched.advance_in_steps(20 * 60.0)
    openings = len(watched.openings)
    next_action = watched.keeper.next_action
    await watched.advance_in_steps(HOUR - 20 * 60.0)

    assert [call.json()["compete"] for call in watched.openings[:openings]] == [True] * MAX_RECLAIMS_PER_HOUR
    assert "take the session back in 2" in next_action  # some 2400 s
    assert len(watched.openings) > openings  # the hour is over


async def test_a_session_that_is_not_taken_back_is_reported(watch: Watch) -> None:
    """The event says that the bridge waits, how long, and that a person has to sign out elsewhere."""
    watched = await watch({"tickle_interval_s": NEVER})
    await spend_reclaims(watched)
    hints = [change.hint for change in watched.changes if change.state == "competing"]
    watched.sim.start_competing()

    await watched.advance(60.0)

    assert watched.keeper.session.state is SessionState.COMPETING
    wait = float(watched.changes[-1].next_act.split("take the session back in ")[1].removesuffix(" s"))
    assert HOUR - 60.0 < wait <= HOUR
    assert hints == [gateway_session_api.GATEWAY_HINTS.by_observation[Observation.COMPETING]] * MAX_RECLAIMS_PER_HOUR
    assert watched.changes[-1].hint == gateway_session_api.GATEWAY_HINTS.reclaims_exhausted


async def test_after_a_reclaim_the_session_is_checked_often_for_three_seconds(watch: Watch) -> None:
    """It usually opens in that time. The next attempt has to wait longer."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    await watched.advance(30 * WATCH_INTERVAL_S)
    watched.sim.start_competing()
    while len(watched.openings) < MAX_RECLAIMS_PER_HOUR:
        await watched.advance(0.5)
    count = len(watched.checks)

    await watched.advance(10.0)

    times = [call.at for call in watched.checks[count - 1 :]]
    gaps = [round(later - sooner, 3) for sooner, later in itertools.pairwise(times)]
    assert gaps == [0.5] * 6 + [WATCH_INTERVAL_S] * 2


async def test_a_yielding_keeper_never_takes_the_session_back(watch: Watch) -> None:
    """The other program keeps the session, and the hint says what that means."""
    watched = await watch({"tickle_interval_s": NEVER}, compete=Compete.YIELD)
    watched.sim.start_competing()

    await watched.advance(10 * 60.0)

    assert watched.keeper.session.state is SessionState.COMPETING
    assert watched.openings == []
    assert watched.keeper.hint() == watched.changes[-1].hint == gateway_session_api.GATEWAY_HINTS.yielding
    assert "takes" not in watched.keeper.next_action


async def test_a_yielding_keeper_reopens_a_lost_session_without_competing(watch: Watch) -> None:
    """A lost session may be opened again as long as no other program has it."""
    watched = await watch({"tickle_interval_s": NEVER}, compete=Compete.YIELD)
    watched.sim.lose_brokerage()

    await watched.advance(WATCH_INTERVAL_S)

    assert [call.json() for call in watched.openings] == [{"publish": True, "compete": False}]


# -- a fresh login


async def test_after_a_browser_login_the_gateway_opens_the_session(watch: Watch) -> None:
    """It does so by itself within three to four seconds; two attempts at once disturb each other."""
    watched = await watch({"logged_in": False}, sleepers=1)
    watched.sleepers = 2  # the Gateway's chain sleeps before its last steps
    await watched.sim.log_in_by_browser()
    await watched.wait_until_idle()
    login_at = watched.clock.now()

    await watched.run_round()
    await watched.advance(login_at + 2.9 - watched.clock.now())
    watched.sleepers = 3
    await watched.advance_until(SessionState.READY, timeout_s=GRACE_S - 2.9)

    assert [(change.state, change.reason) for change in watched.changes[:2]] == [
        ("signed_out", "signed_out"),
        ("opening", "brokerage_lost"),
    ]
    assert watched.openings == []


async def test_a_session_that_the_gateway_does_not_open_is_opened_by_the_keeper(watch: Watch) -> None:
    """After the grace period the keeper opens it, with its usual pauses."""
    watched = await watch({"logged_in": False, "auth_delay_s": NEVER}, sleepers=1)
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sleepers = 2
    await watched.sim.log_in_by_browser()
    await watched.wait_until_idle()
    await watched.run_round()
    noticed_at = watched.clock.now()

    await watched.advance(25.0)

    attempts = [call.at - noticed_at for call in watched.openings]
    assert GRACE_S <= attempts[0] <= GRACE_S + WATCH_INTERVAL_S
    assert len(attempts) <= 4


# -- every state, caused by faults


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize(
    ("fault", "options", "state", "reason"),
    [
        ("sso-lost", {}, SessionState.SIGNED_OUT, "signed_out"),
        ("status", {"path": STATUS, "status": 401, "body": ""}, SessionState.SIGNED_OUT, "signed_out"),
        ("status", {"path": STATUS, "status": 601, "body": ""}, SessionState.SIGNED_OUT, "signed_out"),
        ("hidden-error", {"path": STATUS}, SessionState.SIGNED_OUT, "signed_out"),
        ("refuse", {}, SessionState.UNREACHABLE, "gateway_unreachable"),
        ("denied", {}, SessionState.UNREACHABLE, "gateway_forbidden"),
        ("silence", {"path": STATUS}, SessionState.SILENT, "gateway_timeout"),
        ("stall-in", {"path": STATUS}, SessionState.SILENT, "gateway_timeout"),
        ("drop", {"path": STATUS}, SessionState.SILENT, "gateway_timeout"),
        ("ibkr-down", {}, SessionState.SILENT, "gateway_timeout"),
        ("cut-before", {"path": STATUS}, SessionState.SILENT, "ibkr_unavailable"),
        ("cut-in", {"path": STATUS}, SessionState.SILENT, "ibkr_unavailable"),
        ("garble", {"path": STATUS}, SessionState.SILENT, "ibkr_unavailable"),
        ("empty-503", {"path": STATUS}, SessionState.SILENT, "ibkr_unavailable"),
        ("html-500", {"path": STATUS}, SessionState.SILENT, "ibkr_unavailable"),
        ("maintenance", {"own": False}, SessionState.SILENT, "ibkr_unavailable"),
        ("brokerage-lost", {}, SessionState.OPENING, "brokerage_lost"),
        ("competing", {}, SessionState.COMPETING, "competing"),
    ],
)
async def test_each_state_has_its_reason(
    watch: Watch, fault: str, options: dict[str, Any], state: SessionState, reason: str
) -> None:
    """The reason is a stable word, with a hint and the next action. The keeper notices the end of the fault."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.faults.add(fault, **options)

    await watched.advance(WATCH_INTERVAL_S)

    last_change = watched.changes[-1]
    assert (watched.keeper.session.state, watched.keeper.session.reason) == (state, reason)
    assert (last_change.was, last_change.state, last_change.reason) == ("ready", state.value, reason)
    assert last_change.hint
    assert last_change.next_act.startswith("next check in ")
    assert not watched.failures

    watched.sim.faults.clear()
    if state is SessionState.SIGNED_OUT and fault == "sso-lost":
        watched.sim.log_in()
    await watched.advance_until(SessionState.READY)


async def test_accounts_that_are_still_loading_are_waited_for(watch: Watch) -> None:
    """Being authenticated is not enough: responses would be empty."""
    watched = await watch({"establish_delay_s": 5.0})
    watched.sim.lose_brokerage()

    await watched.advance(WATCH_INTERVAL_S + 2.0)

    assert (watched.keeper.session.state, watched.keeper.session.reason) == (SessionState.OPENING, "establishing")
    await watched.advance_until(SessionState.READY, timeout_s=6.0)


# -- invalid responses of auth/status


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", "application/json"),
        ("{", "application/json"),
        ("null", "application/json"),
        ("[]", "application/json"),
        ('[{"authenticated":true,"connected":true}]', "application/json"),
        ('"authenticated"', "application/json"),
        ("NaN", "application/json"),
        ("1" * 5000, "application/json"),
        ("[" * 100_000, "application/json"),
        ("<html><body>Hello</body></html>", "text/html"),
        ('{"authenticated":null,"connected":NaN}', "application/json"),
        ('{"authenticated":{},"connected":[1],"competing":"x"}', "application/json"),
        ('{"authenticated":"true","connected":"true"}', "application/json"),
        ('{"authenticated":1,"connected":1}', "application/json"),
        ('{"statusCode":200}', "application/json"),
        ("\ud83d\ude00\u0000", "application/json"),
    ],
)
async def test_an_invalid_response_is_an_observation(watch: Watch, body: str, content_type: str) -> None:
    """It is not taken for a session, and it does not end the keeper."""
    watched = await watch()
    body = body.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    watched.sim.faults.add("status", path=STATUS, times=1, status=200, body=body, content_type=content_type)

    await watched.advance(WATCH_INTERVAL_S)

    assert watched.keeper.session.state is not SessionState.READY
    assert not watched.failures
    await watched.advance_until(SessionState.READY)


async def test_a_huge_response_is_an_observation(watch: Watch) -> None:
    """The keeper does not read megabytes, and it continues."""
    watched = await watch()
    watched.sim.faults.add("big", path=STATUS, times=1, size=3_000_000)

    await watched.advance(WATCH_INTERVAL_S)

    assert watched.keeper.session.reason == "ibkr_unavailable"
    await watched.advance_until(SessionState.READY)


# -- unexpected exceptions


class FailingUpstream:
    """An upstream that raises `error` if it is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.client: Any = None

    async def send(self, call: Call, *, timeout_s: float | None = None, on_released: OnReleased = noop) -> Response:
        """Raise the error, or send the call."""
        if self.error is not None:
            raise self.error
        response: Response = await self.client.send(call, timeout_s=timeout_s, on_released=on_released)
        return response


@pytest.mark.parametrize("error", [ZeroDivisionError("secret words"), KeyError("x"), RecursionError(), OSError(5, "x")])
async def test_no_exception_ends_the_loop(watch: Watch, error: Exception) -> None:
    """A keeper that stopped silently would be worse than any error. The event has the place, but no message."""
    upstream = FailingUpstream()
    upstream.error = error
    watched = await watch(upstream=upstream)
    upstream.client = watched.client
    failure = watched.failures[0]

    await watched.advance(3 * WATCH_INTERVAL_S)
    upstream.error = None
    await watched.advance_until(SessionState.READY)

    assert watched.is_alive
    assert len(watched.failures) >= 3
    assert (failure.error, failure.profile) == (type(error).__name__, "main")
    assert "session_api.py" in failure.places
    assert "secret words" not in repr(watched.events_seen)


async def test_a_failing_keeper_keeps_its_pauses(watch: Watch) -> None:
    """A bug must not cause many calls."""
    upstream = FailingUpstream()
    upstream.error = ZeroDivisionError()
    watched = await watch(upstream=upstream)
    count = len(watched.failures)

    await watched.advance(10 * WATCH_INTERVAL_S)

    assert len(watched.failures) - count <= 10


async def test_the_old_view_of_a_failing_keeper_is_reported_as_silent(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old view that cannot be refreshed is reported as silent, whatever the cause."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.2)
    upstream = FailingUpstream()
    watched = await watch(upstream=upstream)
    upstream.client = watched.client
    await watched.run_round()
    assert watched.keeper.session.state is SessionState.READY
    upstream.error = ZeroDivisionError()
    watched.clock.advance(MAX_AGE_S + 1)

    session = await watched.keeper.current()

    assert session.state is SessionState.SILENT


# -- the shared view of the session


async def test_fifty_requests_share_one_check(watch: Watch) -> None:
    """However many clients poll the open routes, IBKR gets one call."""
    watched = await watch()
    watched.sim.faults.add("html-500", path=STATUS)
    await watched.advance(60.0)  # by now the keeper checks only every thirty seconds
    watched.sim.faults.clear()
    count = len(watched.checks)
    assert watched.keeper.next_check_at - watched.clock.now() > MAX_AGE_S + 1
    watched.clock.advance(MAX_AGE_S + 0.1)
    await watched.wait_until_idle()

    sessions = await asyncio.gather(*(watched.keeper.current() for _ in range(50)))

    assert {session.state for session in sessions} == {SessionState.READY}
    assert len(watched.checks) == count + 1


async def test_a_fresh_view_is_returned_without_a_check(watch: Watch) -> None:
    """Frequent requests cause no calls."""
    watched = await watch()
    watched.clock._now += MAX_AGE_S  # the time passes, but no task wakes
    count = len(watched.checks)

    sessions = [await watched.keeper.current() for _ in range(100)]

    assert {session.state for session in sessions} == {SessionState.READY}
    assert len(watched.checks) == count


async def test_an_old_view_is_refreshed_before_it_is_returned(watch: Watch) -> None:
    """A view is never older than five seconds, so a loss in between shows."""
    watched = await watch({"tickle_interval_s": NEVER})
    await watched.advance(1.0)
    watched.sim.log_out()
    watched.clock._now += MAX_AGE_S + 0.1  # the time passes, as on a machine that was suspended

    session = await watched.keeper.current()

    assert session.state is SessionState.SIGNED_OUT


async def test_an_old_view_that_cannot_be_refreshed_is_reported_as_silent(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session was ready, but it is unknown whether it still is."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.2)
    watched = await watch()
    watched.sim.faults.add("silence", path=STATUS)
    watched.clock.advance(MAX_AGE_S + 1)

    session = await watched.keeper.current()

    assert (session.state, session.reason) == (SessionState.SILENT, "gateway_timeout")
    assert watched.keeper.session.state is SessionState.READY  # the check itself has not ended yet


@pytest.mark.usefixtures("short_checks")
async def test_while_a_check_is_unanswered_no_other_is_made_for_a_view(watch: Watch) -> None:
    """It would show nothing newer, and hold another slot of the Gateway."""
    watched = await watch()
    watched.sim.faults.add("silence", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    await watched.advance(MAX_AGE_S + 0.1)  # the next check is due after six seconds
    count = len(watched.checks)

    session = await watched.keeper.current()

    assert session is watched.keeper.session
    assert (session.state, len(watched.checks)) == (SessionState.SILENT, count)


async def test_a_wait_for_a_layer_ends_when_it_is_up(watch: Watch) -> None:
    """`X-Bridge-Wait` depends on this."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.lose_brokerage()
    await watched.advance(WATCH_INTERVAL_S)
    waiting = asyncio.create_task(watched.keeper.wait_until_up(Layer.BROKERAGE, 10.0))

    await watched.advance_until(SessionState.READY)

    assert await waiting is True
    assert await watched.keeper.wait_until_up(Layer.LOGIN, 0.0) is True


# -- requested checks


async def test_a_requested_check_runs_at_once(watch: Watch) -> None:
    """After a 401 to a call the keeper does not wait until its next check is due."""
    watched = await watch()
    await watched.advance(1.0)
    moment = watched.clock.now()

    watched.keeper.request_check()
    await watched.wait_for_requested_check()

    assert watched.checks[-1].at == moment


async def test_a_thousand_requested_checks_are_a_quarter_of_a_second_apart(watch: Watch) -> None:
    """IBKR allows ten calls a second in all."""
    watched = await watch()
    start = len(watched.checks)

    for _ in range(1000):
        watched.keeper.request_check()
        await watched.advance(0.01)

    times = [call.at for call in watched.checks[start - 1 :]]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(gaps) >= MIN_INTERVAL_S - 1e-6
    assert max(gaps) <= WATCH_INTERVAL_S + 0.02


async def test_requested_checks_that_find_the_session_open_become_rarer(watch: Watch) -> None:
    """Calls that fail for another reason must not cost four checks a second. A check that was due ends the row."""
    watched = await watch()

    for _ in range(130):
        watched.keeper.request_check()
        await watched.advance(0.1)
    gaps = [round(later.at - sooner.at, 3) for sooner, later in itertools.pairwise(watched.checks)]
    await watched.advance(2 * WATCH_INTERVAL_S + 0.5)
    watched.keeper.request_check()
    await watched.wait_for_requested_check()

    assert gaps == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0, 3.0]
    assert watched.checks[-1].at == watched.clock.now()


async def test_a_check_requested_during_a_check_is_not_forgotten(watch: Watch) -> None:
    """The check in flight may show the state before the request."""
    watched = await watch()
    watched.sim.faults.add("delay", path=STATUS, times=1, seconds=0.5)
    await watched.advance(WATCH_INTERVAL_S)
    count = len(watched.checks)
    watched.keeper.request_check()

    await watched.advance(0.5 + MIN_INTERVAL_S)

    assert len(watched.checks) == count + 1


async def test_a_call_that_wants_the_preflight_gets_it(watch: Watch) -> None:
    """`Please query /accounts first` is repaired without a loss of the session."""
    watched = await watch()
    before = len(watched.sim.gateway_calls(ACCOUNTS))

    watched.keeper.request_check(prepare=True)
    await watched.advance(1.0)
    await watched.advance(3 * WATCH_INTERVAL_S)

    assert len(watched.sim.gateway_calls(ACCOUNTS)) == before + 1
    assert [change.state for change in watched.changes] == ["ready"]


async def test_a_check_on_request_takes_one_round(watch: Watch) -> None:
    """Its caller does not wait for another one."""
    watched = await watch()
    await watched.advance(1.0)
    count = len(watched.checks)

    check = asyncio.create_task(watched.keeper.check_now())
    await watched.wait_for_requested_check()

    assert (await check).state is SessionState.READY
    assert len(watched.checks) == count + 1


# -- rate limits of IBKR


async def test_a_refused_check_is_reported_to_the_limits(watch: Watch) -> None:
    """Calls of others would make the penalty longer too."""
    reports: list[None] = []
    watched = await watch(traffic=TrafficView(on_rate_limited=lambda: reports.append(None)))
    before = list(reports)
    watched.sim.faults.add("429", path=STATUS, times=1)

    await watched.advance(WATCH_INTERVAL_S)

    assert (before, reports) == ([], [None])


async def test_in_the_penalty_box_a_check_is_made_once_a_minute(watch: Watch) -> None:
    """Whatever put the user into the box, and whoever requests a check."""
    boxed = [True]
    watched = await watch(traffic=TrafficView(in_box=lambda: boxed[0]))
    count = len(watched.checks)
    for _ in range(12):
        watched.keeper.request_check()
        await watched.advance(10.0)
    times = [call.at for call in watched.checks[count - 1 :]]

    assert [later - sooner for sooner, later in itertools.pairwise(times)] == [60.0, 60.0]


async def test_the_end_of_one_slow_down_does_not_end_the_next(watch: Watch) -> None:
    """Each 429 slows the keeper for a minute."""
    watched = await watch()
    watched.keeper.end_slow_down()
    watched.sim.faults.add("429", path=STATUS)
    await watched.advance(2 * WATCH_INTERVAL_S)
    count = len(watched.checks)

    await watched.advance(50.0)

    assert len(watched.checks) == count


async def test_too_many_requests_keep_the_state_and_slow_the_keeper(watch: Watch) -> None:
    """429 says nothing about the session, and more calls would make the limit worse."""
    watched = await watch()
    watched.sim.faults.add("429", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    start = len(watched.checks)

    await watched.advance(5 * 60.0)

    assert watched.keeper.session.state is SessionState.READY
    assert watched.keeper.session.observation is Observation.RATE_LIMITED
    assert watched.keeper.session.reason == "rate_limited"
    assert len(watched.checks) - start == 5


async def test_requests_of_the_view_do_not_hurry_a_rate_limited_keeper(watch: Watch) -> None:
    """A page that polls `/readyz` every second must not prolong the penalty."""
    watched = await watch()
    watched.sim.faults.add("429", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    start = len(watched.checks)

    views = []
    for _ in range(55):
        await watched.advance(1.0)
        views.append(asyncio.create_task(watched.keeper.current()))
        await watched.finish_requested_work()

    assert len(watched.checks) == start
    assert {(await view).reason for view in views} == {"rate_limited"}


async def test_requested_checks_do_not_hurry_a_rate_limited_keeper(watch: Watch) -> None:
    """Otherwise callers that are refused would cause four checks a second."""
    watched = await watch()
    watched.sim.faults.add("429", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    start = len(watched.checks)

    for _ in range(50):
        watched.keeper.request_check()
        await watched.finish_requested_work()
        await watched.advance(1.0)

    assert len(watched.checks) == start


# -- silence


async def test_checks_of_a_silent_gateway_become_rare(watch: Watch) -> None:
    """Each may hold one of the five slots of the Gateway; they are 3 to 30 seconds apart."""
    watched = await watch()
    watched.sim.faults.add("html-500", path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    start = len(watched.checks) - 1

    await watched.advance(180.0)

    times = [call.at for call in watched.checks[start:]]
    gaps = [round(later - sooner, 3) for sooner, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert (min(gaps) >= 3.0, max(gaps)) == (True, 30.0)


@pytest.mark.parametrize("fault", ["html-500", "denied", "hidden-error", "429"])
async def test_the_next_check_comes_when_it_was_announced(watch: Watch, fault: str) -> None:
    """The announced time is that in the log."""
    watched = await watch()
    watched.sim.faults.add(fault, path=STATUS)
    await watched.advance(WATCH_INTERVAL_S)
    changed_at = watched.clock.now()
    count = len(watched.checks)
    announced = watched.changes[-1].next_act

    while len(watched.checks) == count:
        await watched.advance(watched.clock.next_alarm)

    assert announced == f"next check in {watched.clock.now() - changed_at:.1f} s"


@pytest.mark.usefixtures("short_checks")
async def test_a_late_response_to_a_check_starts_the_next_check(watch: Watch) -> None:
    """The Gateway answers again, so the keeper checks before the next check is due."""
    watched = await watch()
    watched.sim.faults.add("delay", path=STATUS, times=1, seconds=WATCH_INTERVAL_S - 1.0)
    watched.sleepers = 3  # the delayed response sleeps; the keeper waits for it
    await watched.advance(WATCH_INTERVAL_S)
    watched.sleepers = 4
    await watched.wait_until_idle()  # the check has timed out
    state_before = watched.keeper.session.state
    due_at = watched.keeper.next_check_at

    watched.sleepers = 3
    await watched.advance(WATCH_INTERVAL_S - 1.0)
    await watched.wait_for_state(SessionState.READY)

    assert state_before is SessionState.SILENT
    assert watched.clock.now() < due_at


# -- the tickle


async def test_a_tickle_is_sent_once_a_minute(watch: Watch) -> None:
    """IBKR ends a login that is not used for some minutes."""
    watched = await watch()

    await watched.advance(5 * 60.0)

    gaps = [round(later.at - sooner.at, 6) for sooner, later in itertools.pairwise(watched.tickles)]
    assert gaps == [60.0] * 5  # a multiple of the pause between two checks


async def test_a_tickle_that_fails_is_repeated_after_growing_pauses(watch: Watch) -> None:
    """IBKR ends a login that is not used for some minutes."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("html-500", path="/tickle")
    count = len(watched.tickles)

    await watched.advance(5 * 60.0)

    times = [call.at for call in watched.tickles[count - 1 :]]
    gaps = [round(later - sooner, 3) for sooner, later in itertools.pairwise(times)]
    assert gaps == [60.0, 2.0, 6.0, 9.0, 18.0, 33.0, 60.0, 60.0]  # 2, 4, 8, 16, 32 s, then at the next check


async def test_a_new_login_gets_its_tickle_at_once(watch: Watch) -> None:
    """The session id of the former one is not valid any more."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.log_out()
    await watched.advance_until(SessionState.SIGNED_OUT)
    count = len(watched.tickles)
    watched.sim.log_in()

    await watched.advance(WATCH_INTERVAL_S)

    assert len(watched.tickles) == count + 1
    assert watched.keeper.session_id()


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize("fault", ["empty-503", "html-500", "garble", "cut-before", "hidden-error", "429", "silence"])
async def test_a_tickle_that_fails_does_no_harm(watch: Watch, fault: str) -> None:
    """Only `auth/status` decides the state."""
    watched = await watch()
    watched.sim.faults.add(fault, path="/tickle", times=1)

    await watched.advance(61.0 + WATCH_INTERVAL_S)

    assert len(watched.tickles) >= 2
    assert [change.state for change in watched.changes] == ["ready"]
    assert watched.keeper.session.state is SessionState.READY
    assert not watched.failures


@pytest.mark.parametrize(
    ("figure", "remaining_s"),
    [("NaN", None), ('"1"', None), ("-1", None), ("10000000000", None), ("0", 0.0), ("9999999000", 9_999_999.0)],
)
async def test_a_tickle_with_an_invalid_figure_does_no_harm(
    watch: Watch, figure: str, remaining_s: float | None
) -> None:
    """An invalid time until the login expires is left out of the status."""
    body = f'{{"session":"abcdef","ssoExpires":{figure}}}'
    watched = await watch({"logged_in": False}, sleepers=1)
    watched.sim.faults.add("status", path="/tickle", status=200, body=body)
    watched.sim.log_in()
    watched.sleepers = 3
    await watched.advance_until(SessionState.READY)
    await watched.wait_until_idle()

    expires = watched.keeper.login_expires
    assert (expires and (expires - watched.clock.utc()).total_seconds()) == remaining_s
    assert not watched.failures


async def test_the_session_id_is_redacted(watch: Watch) -> None:
    """The session id is enough to open the websocket."""
    watched = await watch()

    session = str(watched.keeper.tickle["session"])

    assert len(session) == 32
    assert watched.redactor.redact(f"a log line with {session} in it") == "a log line with [hidden] in it"
    assert session not in repr(watched.events_seen) + repr(watched.keeper)


async def test_the_data_of_a_login_is_dropped_with_it(watch: Watch) -> None:
    """The next login may have other accounts."""
    watched = await watch({"tickle_interval_s": NEVER})
    assert watched.keeper.login_expires is not None
    watched.sim.log_out()

    await watched.advance(WATCH_INTERVAL_S)

    assert watched.keeper.session.state is SessionState.SIGNED_OUT
    assert (watched.keeper.accounts, watched.keeper.tickle) == (Accounts(), {})
    assert watched.keeper.login_expires is None


# -- log-out and reconnect


async def test_a_log_out_is_noticed_at_once(watch: Watch) -> None:
    """The response to the log-out has the new state."""
    watched = await watch({"tickle_interval_s": NEVER})
    log_out = asyncio.create_task(watched.keeper.log_out())
    await watched.sim.wait_for_gateway_calls("/logout")
    while not log_out.done():
        await watched.advance(MIN_INTERVAL_S)

    assert await log_out == 200
    assert watched.keeper.session.state is SessionState.SIGNED_OUT
    assert watched.sim.gateway_calls("/logout")[0].method == "POST"


async def test_a_request_to_reopen_waits_for_a_check_that_begins_afterwards(watch: Watch) -> None:
    """The keeper opens a lost session again."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.lose_brokerage()

    reopening = asyncio.create_task(watched.keeper.reopen())
    for _ in range(20):
        await watched.advance(0.1)

    report = await reopening
    assert (report.requested, report.reason) == (True, "IBKR answered 200")
    assert watched.keeper.session.state is SessionState.READY
    assert len(watched.openings) == 1


async def request_reopening(watched: WatchedKeeper) -> OpeningReport:
    """Request that the session is reopened, and move the clock until the request is answered."""
    reopening = asyncio.create_task(watched.keeper.reopen())
    while not reopening.done():
        await watched.advance(MIN_INTERVAL_S)
    return await reopening


async def test_a_session_that_is_open_is_not_requested_again(watch: Watch) -> None:
    """The report says why nothing was sent."""
    watched = await watch({"tickle_interval_s": NEVER})

    report = await request_reopening(watched)

    assert report == OpeningReport(requested=False, reason=OPEN_ALREADY)
    assert watched.openings == []


async def test_a_session_that_is_left_to_another_program_is_not_requested_for_a_caller(watch: Watch) -> None:
    """IBKR_COMPETE=yield applies to requests too, and the report says what to do."""
    watched = await watch({"tickle_interval_s": NEVER}, compete=Compete.YIELD)
    watched.sim.start_competing()

    report = await request_reopening(watched)

    assert report == OpeningReport(requested=False, reason=gateway_session_api.GATEWAY_HINTS.yielding)
    assert watched.openings == []


async def test_a_request_to_reopen_without_a_login_says_that_a_person_has_to_sign_in(watch: Watch) -> None:
    """The bridge cannot do it."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.log_out()

    report = await request_reopening(watched)

    hint = gateway_session_api.GATEWAY_HINTS.by_observation[Observation.NO_LOGIN]
    assert report == OpeningReport(requested=False, reason=hint)
    assert watched.openings == []


async def test_one_refused_call_is_enough_to_reopen_a_session_on_request(watch: Watch) -> None:
    """A person wants it, and the open session contradicts the call. Without a request two refusals are needed."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.keeper.report_call(is_refused=True)
    await watched.run_round()
    count = len(watched.openings)

    report = await request_reopening(watched)

    assert (count, report.requested, len(watched.openings)) == (0, True, 1)


async def test_a_check_in_flight_does_not_count_as_a_new_one(watch: Watch) -> None:
    """It may show the state before the request: `check_now` waits for a check that begins after the request."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("delay", path=STATUS, times=1, seconds=0.5)
    await watched.advance(WATCH_INTERVAL_S)  # the delayed check is in flight, and it has observed a session
    new_check = asyncio.create_task(watched.keeper.check_now())
    await asyncio.sleep(0)
    watched.sim.log_out()

    for _ in range(10):
        await watched.advance(0.25)

    assert (await new_check).state is SessionState.SIGNED_OUT


# -- texts for people


async def test_the_next_action_is_described(watch: Watch) -> None:
    """The text says when the keeper acts by itself; behind a Gateway it asks for no access."""
    watched = await watch({"tickle_interval_s": NEVER})
    assert watched.keeper.next_access is None
    watched.sim.faults.add("status", path=INIT, status=500)
    ready = watched.keeper.next_action
    await watched.advance(1.0)
    later = watched.keeper.next_action
    watched.sim.lose_brokerage()
    await watched.advance(2.0)
    opening = watched.keeper.next_action
    watched.sim.start_competing()
    await watched.run_round()
    competing = watched.keeper.next_action

    assert ready == "next check in 3.0 s"
    assert later == "next check in 2.0 s"
    assert opening == "next check in 0.5 s, next attempt to open the session in 1 s"
    assert re.fullmatch(r"next check in \d\.\d s, next attempt to take the session back in \d+ s", competing)


async def test_a_check_that_is_late_is_the_next_one(watch: Watch) -> None:
    """The text does not count below zero."""
    watched = await watch()
    watched.clock._now += 10.0  # the time passes, but no task wakes

    assert watched.keeper.next_action == "next check in 0.0 s"


async def test_the_status_has_all_that_is_known_of_the_session(watch: Watch) -> None:
    """Dashboards show it. A session that was not checked in time is described as it is returned."""
    watched = await watch()
    ready_at = watched.clock.utc()
    await watched.advance(2 * WATCH_INTERVAL_S)
    status, silent = watched.keeper.status(), Session(SessionState.SILENT, Observation.TIMEOUT, watched.clock.now())
    substitute = watched.keeper.status(silent)

    now = watched.clock.utc()
    assert (status.state, status.authenticated, status.login, status.competing) == ("ready", True, True, False)
    assert (status.reason, status.hint, status.ibkr_message) == ("ready", "nothing to do", "")
    assert (status.since, status.checked, status.last_good) == (ready_at, now, now)
    assert status.next == "next check in 3.0 s"
    assert status.login_expires is not None
    assert (status.next_reset - now).total_seconds() == 12 * HOUR - 2 * WATCH_INTERVAL_S
    assert watched.keeper.status_body["authenticated"] is True
    assert (substitute.state, substitute.authenticated, substitute.login) == ("silent", False, False)
    assert (substitute.reason, substitute.since) == ("gateway_timeout", now)
    assert substitute.hint == gateway_session_api.GATEWAY_HINTS.by_observation[Observation.TIMEOUT]


async def test_the_status_of_a_lost_session_says_when_it_was_good(watch: Watch) -> None:
    """A competing session is a login without a session."""
    watched = await watch({"tickle_interval_s": NEVER}, compete=Compete.YIELD)
    good_at = watched.clock.utc()
    watched.sim.start_competing()
    await watched.advance(2 * WATCH_INTERVAL_S)
    status = watched.keeper.status()

    assert (status.authenticated, status.login, status.competing) == (False, True, True)
    assert (status.last_good, status.checked) == (good_at, watched.clock.utc())
    assert status.since == good_at + timedelta(seconds=WATCH_INTERVAL_S)


async def test_the_hint_about_a_missing_connection_is_that_of_the_error(watch: Watch) -> None:
    """It tells a refused connection from one that was refused because of its certificate."""
    watched = await watch()
    watched.sim.faults.add("refuse")
    await watched.advance(WATCH_INTERVAL_S)

    assert watched.keeper.session.observation is Observation.NO_CONNECTION
    assert watched.keeper.hint() == GatewayUnreachable.hint


@pytest.mark.parametrize(("window", "level"), [("wed 11:00-13:00", "notice"), ("thu 11:00-13:00", "warning")])
async def test_a_loss_during_maintenance_is_no_warning(watch: Watch, window: str, level: str) -> None:
    """It is expected. The event says how long the state before lasted."""
    watched = await watch({"tickle_interval_s": NEVER}, maintenance=(WeeklyWindow.parse(window),))
    await watched.advance(2 * WATCH_INTERVAL_S)
    watched.sim.log_out()
    await watched.advance(WATCH_INTERVAL_S)
    watched.sim.log_in()
    await watched.advance_until(SessionState.READY)

    assert [type(change) for change in watched.changes[:1]] == [SessionReady]
    lost = watched.changes[1]
    assert (lost.level, lost.event, lost.after_s) == (
        level,
        "session.lost" if level == "warning" else "session.changed",
        3 * WATCH_INTERVAL_S,
    )
    assert type(watched.changes[-1]) is SessionReady


async def test_the_repr_of_a_keeper_shows_its_state(watch: Watch) -> None:
    """It is read in a debugger or a failing test."""
    assert repr((await watch()).keeper) == "<Keeper main ready: ready>"


async def test_a_keeper_whose_round_is_too_late_is_a_problem() -> None:
    """The limit is longer than the longest round; with the time of the watchdog it stays below a minute."""
    clock = ManualClock()
    watched = session_status.SessionStatus(
        session_status.Policy(3.0, Compete.RECLAIM, Region.AMERICA, ()), clock, gateway_session_api.GATEWAY_HINTS
    )

    clock.advance(25.0)
    in_time = watched.problem()
    clock.advance(1.0)

    assert (in_time, watched.problem()) == (None, "the keeper is 26 s late")
    unit = (PROJECT_ROOT / "deploy/systemd/ibkr-bridge.service").read_text()
    assert MAX_OVERDUE_S + float(re.findall(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)[0]) < 60.0
