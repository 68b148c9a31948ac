"""The keeper before a simulated Gateway: what it sees, what it does about it, and how politely."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ibkr_bridge.calls.messages import Call, OnReleased, Response, noop
from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.sources import PROJECT_ROOT
from ibkr_bridge.events import PreflightDone, SessionOpening, SessionReady
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.session import session_api, session_status
from ibkr_bridge.session.backoff import GRACE_S, MAX_FAILED_PER_HOUR, MAX_RECLAIMS_PER_HOUR
from ibkr_bridge.session.keeper import LOGIN_TYPE_INTERVAL_S, MIN_INTERVAL_S
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.session_status import MAX_AGE_S, MAX_OVERDUE_S, YIELD_HINT, TrafficView
from ibkr_bridge.session.state_machine import Observation, SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.session.watched import ACCOUNTS, INIT, STATUS, WATCH, Watched

Watch = Callable[..., Awaitable[Watched]]
NEVER = 1e9  # seconds; a Gateway that does not tickle by itself does not log itself out
HOUR = 3600.0
VALIDATE = "/sso/validate"


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Starts a keeper before a simulated Gateway; `sim` is told to the simulator, the rest to the keeper."""
    async with AsyncExitStack() as doors:

        async def watching(sim: dict[str, Any] | None = None, **told: Any) -> Watched:
            clock = ManualClock()
            simulator = await doors.enter_async_context(Simulator(clock=clock, **(sim or {})))
            return await doors.enter_async_context(Watched(simulator, clock, **told))

        yield watching


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks are given up after two real seconds instead of five. Less would fail on a machine that is busy."""
    monkeypatch.setattr(session_api, "CHECK_TIMEOUT_S", 2.0)


# -- the brokerage session, lost and reopened


async def test_a_lost_brokerage_session_is_asked_for_at_once(watch: Watch) -> None:
    """The Gateway would log itself out within thirty seconds; the look that sees the loss repairs it."""
    watched = await watch()
    watched.sim.lose_brokerage()

    await watched.live(WATCH)
    await watched.until(SessionState.READY, timeout_s=1.0)

    assert [seen.json() for seen in watched.openings] == [{"publish": True, "compete": True}]
    assert [(move.state, move.reason) for move in watched.moves[-2:]] == [
        ("opening", "brokerage_lost"),
        ("ready", "ready"),
    ]


async def test_ready_is_announced_after_the_preflight(watch: Watch) -> None:
    """Whoever hears of it may ask for orders and positions at once."""
    watched = await watch()
    seen_before: list[int] = []
    watched.bus.subscribe(
        lambda event: (
            seen_before.append(len(watched.sim.gateway_calls("/portfolio/accounts")))
            if isinstance(event, SessionReady)
            else None
        )
    )
    watched.sim.lose_brokerage()

    await watched.live(2 * WATCH)

    assert seen_before == [2]  # once at the start, once after the loss
    assert len(watched.sim.gateway_calls(ACCOUNTS)) == 2
    kinds = [
        type(event) for event in watched.events_seen if isinstance(event, PreflightDone | SessionReady | SessionOpening)
    ]
    assert kinds == [PreflightDone, SessionReady, SessionOpening, PreflightDone, SessionReady]


async def test_the_accounts_are_known_when_ready_is_said(watch: Watch) -> None:
    """The guard judges orders by them."""
    watched = await watch()

    assert watched.keeper.accounts.numbers == {"DU1234567", "DU7654321"}
    assert watched.keeper.accounts.paper is True


async def test_a_failed_preflight_is_made_up_for(watch: Watch) -> None:
    """One bad answer at the wrong moment must not leave the bridge without accounts until the next loss."""
    watched = await watch()
    watched.sim.faults.add("status", path=ACCOUNTS, times=1, status=500)
    watched.sim.lose_brokerage()
    await watched.live(2 * WATCH)

    await watched.live(60.0)

    assert watched.keeper.session.state is SessionState.READY
    assert watched.keeper.accounts.numbers == {"DU1234567", "DU7654321"}


# -- what kind of login it is


@pytest.mark.parametrize("live", [True, False])
async def test_the_kind_of_login_is_known_when_ready_is_said(watch: Watch, live: bool) -> None:
    """The guard judges orders by it."""
    watched = await watch({"live": live})

    assert watched.keeper.session.state is SessionState.READY
    assert watched.keeper.accounts.login_is_paper is not live
    assert len(watched.sim.gateway_calls(VALIDATE)) == 1


async def test_the_kind_of_login_is_asked_once_after_each_preflight_and_once_a_minute_at_most(watch: Watch) -> None:
    """IBKR takes no more, whoever asks; what is not asked at once is asked when it may be."""
    watched = await watch()
    for _ in range(3):
        watched.sim.lose_brokerage()
        await watched.live(2 * WATCH)
    assert len(watched.sim.gateway_calls(VALIDATE)) == 1
    assert watched.keeper.accounts.login_is_paper is True

    await watched.live(5 * 60.0)

    first, second = watched.sim.gateway_calls(VALIDATE)
    assert LOGIN_TYPE_INTERVAL_S <= second.at - first.at < LOGIN_TYPE_INTERVAL_S + 2 * WATCH


async def test_a_new_login_is_asked_for_its_kind_a_minute_later(watch: Watch) -> None:
    """Whoever signs in makes the Gateway ask the same, which IBKR counts; until then it is not known."""
    watched = await watch({"tickle_interval_s": NEVER, "live": True})
    await watched.live(2 * LOGIN_TYPE_INTERVAL_S)
    watched.sim.log_out()
    await watched.until(SessionState.SIGNED_OUT)
    watched.sim.log_in()
    await watched.until(SessionState.READY)
    assert (watched.keeper.accounts.paper, watched.keeper.accounts.login_is_paper) == (False, None)

    await watched.live(LOGIN_TYPE_INTERVAL_S - WATCH)
    asked_early = len(watched.sim.gateway_calls(VALIDATE)) - 1
    await watched.live(2 * WATCH)

    assert (asked_early, len(watched.sim.gateway_calls(VALIDATE)) - 1) == (0, 1)
    assert watched.keeper.accounts.login_is_paper is False


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize("fault", ["empty-503", "html-500", "garble", "cut-before", "hidden-error", "429", "silence"])
async def test_a_kind_that_is_not_told_holds_up_nothing(watch: Watch, fault: str) -> None:
    """What the same login was told to be still holds; ready is said all the same, and nobody asks again and again."""
    watched = await watch()
    await watched.live(2 * LOGIN_TYPE_INTERVAL_S)
    watched.sim.faults.add(fault, path=VALIDATE, times=1)
    watched.sim.lose_brokerage()

    await watched.until(SessionState.READY, timeout_s=2 * WATCH)
    await watched.live(3 * LOGIN_TYPE_INTERVAL_S)

    assert watched.keeper.accounts.login_is_paper is True
    assert len({seen.at for seen in watched.sim.gateway_calls(VALIDATE)}) == 2
    assert not watched.surprises


async def test_in_the_penalty_box_nobody_asks_for_the_kind(watch: Watch) -> None:
    """Whatever is asked there makes it longer."""
    watched = await watch()
    boxed = [True]
    watched.keeper._traffic = TrafficView(in_box=lambda: boxed[0])
    watched.keeper.request_check(prepare=True)
    await watched.live(5 * 60.0)
    asked = len(watched.sim.gateway_calls(VALIDATE))

    boxed.clear()
    boxed.append(False)
    await watched.live(60.0 + WATCH)

    assert (asked, len(watched.sim.gateway_calls(VALIDATE))) == (1, 2)


# -- how the session is asked for


async def test_the_opening_is_announced_with_its_outcome(watch: Watch) -> None:
    """The log tells which try it was, what came back, and when the next one is due."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()

    await watched.live(WATCH)

    (opening,) = [event for event in watched.events_seen if isinstance(event, SessionOpening)]
    assert (opening.attempt, opening.status, opening.compete, opening.next_try_s) == (1, 500, True, 1.0)


async def test_failing_openings_come_ever_more_slowly(watch: Watch) -> None:
    """1, 5, 15, 30, 60 seconds apart, and a minute each from then on."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()

    await watched.live(4 * 60.0)

    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(watched.openings)]
    assert len(gaps) >= 6
    for gap, rationed in zip(gaps, (1, 5, 15, 30, 60, 60), strict=False):
        assert rationed <= round(gap, 6) <= rationed + WATCH


async def test_no_more_than_twenty_openings_fail_in_an_hour(watch: Watch) -> None:
    """IBKR counts them; a person is needed by then."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.lose_brokerage()

    await watched.live(25 * 60.0)
    within = [seen.at for seen in watched.openings]
    await watched.leap(within[0] + HOUR + WATCH - watched.clock.now())

    begun = [seen.at for seen in watched.openings]
    assert len(within) == MAX_FAILED_PER_HOUR
    assert len(begun) == MAX_FAILED_PER_HOUR + 1
    assert begun[-1] - begun[0] >= HOUR


# -- another session of the same user


async def spend_reclaims(watched: Watched) -> None:
    """Rivals come and are displaced, as often as an hour allows."""
    for _ in range(MAX_RECLAIMS_PER_HOUR):
        watched.sim.start_competing()
        await watched.live(WATCH)
        await watched.until(SessionState.READY)


async def test_a_rival_is_displaced_three_times_an_hour_and_then_left_alone(watch: Watch) -> None:
    """Two machines that both reclaim would kick each other for ever."""
    watched = await watch({"tickle_interval_s": NEVER})
    await spend_reclaims(watched)
    watched.sim.start_competing()

    await watched.leap(20 * 60.0)
    left_alone = len(watched.openings)
    told = watched.keeper.next_action
    await watched.leap(HOUR - 20 * 60.0)

    assert [seen.json()["compete"] for seen in watched.openings[:left_alone]] == [True] * MAX_RECLAIMS_PER_HOUR
    assert "take the session back in 2" in told  # some 2400 s
    assert len(watched.openings) > left_alone  # the hour is over


async def test_a_rival_that_is_left_alone_is_said(watch: Watch) -> None:
    """The log and the status tell a person that the bridge has given in, and until when."""
    watched = await watch({"tickle_interval_s": NEVER})
    await spend_reclaims(watched)
    watched.sim.start_competing()

    await watched.live(60.0)

    assert watched.keeper.session.state is SessionState.COMPETING
    wait = float(watched.moves[-1].next_act.split("take the session back in ")[1].removesuffix(" s"))
    assert HOUR - 60.0 < wait <= HOUR


async def test_a_yielding_keeper_never_asks(watch: Watch) -> None:
    """The person at the other screen keeps the session, and the hint says what that means."""
    watched = await watch({"tickle_interval_s": NEVER}, compete=Compete.YIELD)
    watched.sim.start_competing()

    await watched.live(10 * 60.0)

    assert watched.keeper.session.state is SessionState.COMPETING
    assert watched.openings == []
    assert watched.keeper.hint() == watched.moves[-1].hint == YIELD_HINT
    assert "takes" not in watched.keeper.next_action


async def test_a_yielding_keeper_reopens_a_lost_session_without_competing(watch: Watch) -> None:
    """Lost is not taken: it may be had again, as long as nobody else wants it."""
    watched = await watch({"tickle_interval_s": NEVER}, compete=Compete.YIELD)
    watched.sim.lose_brokerage()

    await watched.live(WATCH)

    assert [seen.json() for seen in watched.openings] == [{"publish": True, "compete": False}]


# -- a fresh login


async def test_after_a_browser_login_the_gateway_goes_first(watch: Watch) -> None:
    """It opens the session by itself within three to four seconds; two openings at once disturb each other."""
    watched = await watch({"logged_in": False}, sleepers=1)
    watched.sleepers = 2  # the Gateway's chain sleeps before its last steps
    await watched.sim.log_in_by_browser()
    await watched.quiet()
    begun = watched.clock.now()

    await watched.round()
    await watched.live(begun + 2.9 - watched.clock.now())
    watched.sleepers = 3
    await watched.until(SessionState.READY, timeout_s=GRACE_S - 2.9)

    assert [(move.state, move.reason) for move in watched.moves[:2]] == [
        ("signed_out", "signed_out"),
        ("opening", "brokerage_lost"),
    ]
    assert watched.openings == []


async def test_a_login_the_gateway_does_not_finish_is_finished_without_a_storm(watch: Watch) -> None:
    """The grace over, the keeper asks itself, at its rationed pace."""
    watched = await watch({"logged_in": False, "auth_delay_s": NEVER}, sleepers=1)
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sleepers = 2
    await watched.sim.log_in_by_browser()
    await watched.quiet()
    await watched.round()
    seen = watched.clock.now()

    await watched.live(25.0)

    tries = [each.at - seen for each in watched.openings]
    assert GRACE_S <= tries[0] <= GRACE_S + WATCH
    assert len(tries) <= 4


# -- every state, through real faults


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize(
    ("fault", "told", "state", "reason"),
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
    watch: Watch, fault: str, told: dict[str, Any], state: SessionState, reason: str
) -> None:
    """What is wrong is said in one stable word, with a hint and the next act beside it; the end of it is noticed."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    watched.sim.faults.add(fault, **told)

    await watched.live(WATCH)

    moved = watched.moves[-1]
    assert (watched.keeper.session.state, watched.keeper.session.reason) == (state, reason)
    assert (moved.was, moved.state, moved.reason) == ("ready", state.value, reason)
    assert moved.hint
    assert moved.next_act.startswith("next check in ")
    assert not watched.surprises

    watched.sim.faults.clear()
    if state is SessionState.SIGNED_OUT and fault == "sso-lost":
        watched.sim.log_in()
    await watched.until(SessionState.READY)


async def test_accounts_that_are_still_loading_are_waited_for(watch: Watch) -> None:
    """Authenticated is not enough: answers would come back empty."""
    watched = await watch({"establish_delay_s": 5.0})
    watched.sim.lose_brokerage()

    await watched.live(WATCH + 2.0)

    assert (watched.keeper.session.state, watched.keeper.session.reason) == (SessionState.OPENING, "establishing")
    await watched.until(SessionState.READY, timeout_s=6.0)


# -- answers of auth/status that say nothing


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
async def test_an_answer_that_makes_no_sense_is_an_observation(watch: Watch, body: str, content_type: str) -> None:
    """Nothing that comes over the wire is taken for a session, and nothing crashes the keeper."""
    watched = await watch()
    body = body.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    watched.sim.faults.add("status", path=STATUS, times=1, status=200, body=body, content_type=content_type)

    await watched.live(WATCH)

    assert watched.keeper.session.state is not SessionState.READY
    assert not watched.surprises
    await watched.until(SessionState.READY)


async def test_a_huge_answer_is_an_observation(watch: Watch) -> None:
    """Megabytes are not read into the keeper, and it goes on."""
    watched = await watch()
    watched.sim.faults.add("big", path=STATUS, times=1, size=3_000_000)

    await watched.live(WATCH)

    assert watched.keeper.session.reason == "ibkr_unavailable"
    await watched.until(SessionState.READY)


# -- no exception kills it


class Raising:
    """A road that fails as nobody foresaw, now and then."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.road: Any = None

    async def send(self, call: Call, *, timeout_s: float | None = None, on_released: OnReleased = noop) -> Response:
        """Fail, or go on."""
        if self.error is not None:
            raise self.error
        response: Response = await self.road.send(call, timeout_s=timeout_s, on_released=on_released)
        return response


@pytest.mark.parametrize("error", [ZeroDivisionError("secret words"), KeyError("x"), RecursionError(), OSError(5, "x")])
async def test_no_exception_ends_the_loop(watch: Watch, error: Exception) -> None:
    """A keeper that died in silence is the worst state there is: its surprise is told by place, not by words."""
    road = Raising()
    road.error = error
    watched = await watch(asking=road)
    road.road = watched.client
    surprise = watched.surprises[0]

    await watched.live(3 * WATCH)
    road.error = None
    await watched.until(SessionState.READY)

    assert watched.is_alive
    assert len(watched.surprises) >= 3
    assert (surprise.error, surprise.profile) == (type(error).__name__, "main")
    assert "session_api.py" in surprise.places
    assert "secret words" not in repr(watched.events_seen)


async def test_while_it_is_surprised_it_does_not_rush(watch: Watch) -> None:
    """A bug must not become a storm."""
    road = Raising()
    road.error = ZeroDivisionError()
    watched = await watch(asking=road)
    already = len(watched.surprises)

    await watched.live(10 * WATCH)

    assert len(watched.surprises) - already <= 10


async def test_a_surprised_keepers_old_view_is_told_as_silent(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old view that cannot be refreshed is told as silence, whatever the cause."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.2)
    road = Raising()
    watched = await watch(asking=road)
    road.road = watched.client
    await watched.round()
    assert watched.keeper.session.state is SessionState.READY
    road.error = ZeroDivisionError()
    watched.clock.advance(MAX_AGE_S + 1)

    told = await watched.keeper.current()

    assert told.state is SessionState.SILENT


# -- the view that askers share


async def test_fifty_askers_share_one_look(watch: Watch) -> None:
    """However many poll the open routes, IBKR sees one."""
    watched = await watch()
    watched.sim.faults.add("html-500", path=STATUS)
    await watched.live(60.0)  # by now it looks only every thirty seconds
    watched.sim.faults.clear()
    looks = len(watched.looks)
    assert watched.keeper.next_check_at - watched.clock.now() > MAX_AGE_S + 1
    watched.clock.advance(MAX_AGE_S + 0.1)
    await watched.quiet()

    told = await asyncio.gather(*(watched.keeper.current() for _ in range(50)))

    assert {session.state for session in told} == {SessionState.READY}
    assert len(watched.looks) == looks + 1


async def test_a_fresh_view_is_told_without_a_look(watch: Watch) -> None:
    """Asking often costs nothing."""
    watched = await watch()
    watched.clock._now += MAX_AGE_S  # time alone passes; nobody is woken
    looks = len(watched.looks)

    told = [await watched.keeper.current() for _ in range(100)]

    assert {session.state for session in told} == {SessionState.READY}
    assert len(watched.looks) == looks


async def test_an_old_view_is_refreshed_before_it_is_told(watch: Watch) -> None:
    """Never older than five seconds: a loss in between is not hidden."""
    watched = await watch({"tickle_interval_s": NEVER})
    await watched.live(1.0)
    watched.sim.log_out()
    watched.clock._now += MAX_AGE_S + 0.1  # time alone passes, as on a machine that slept

    told = await watched.keeper.current()

    assert told.state is SessionState.SIGNED_OUT


async def test_an_old_view_that_cannot_be_refreshed_is_told_as_silent(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready was true once; nobody knows whether it still is."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.2)
    watched = await watch()
    watched.sim.faults.add("silence", path=STATUS)
    watched.clock.advance(MAX_AGE_S + 1)

    told = await watched.keeper.current()

    assert (told.state, told.reason) == (SessionState.SILENT, "gateway_timeout")
    assert watched.keeper.session.state is SessionState.READY  # the look itself is not given up yet


async def test_who_waits_for_a_layer_is_told_when_it_is_up(watch: Watch) -> None:
    """`X-Bridge-Wait` rests on this."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.lose_brokerage()
    await watched.live(WATCH)
    waiting = asyncio.create_task(watched.keeper.wait_until_up(Layer.BROKERAGE, 10.0))

    await watched.until(SessionState.READY)

    assert await waiting is True
    assert await watched.keeper.wait_until_up(Layer.LOGIN, 0.0) is True


# -- doubts


async def test_a_doubt_makes_it_look_at_once(watch: Watch) -> None:
    """A call's 401 is noticed long before the next look is due."""
    watched = await watch()
    await watched.live(1.0)
    moment = watched.clock.now()

    watched.keeper.request_check()
    await watched.woken()

    assert watched.looks[-1].at == moment


async def test_a_thousand_doubts_make_looks_a_quarter_of_a_second_apart(watch: Watch) -> None:
    """At least: IBKR allows ten calls a second in all, whatever callers run into."""
    watched = await watch()
    start = len(watched.looks)

    for _ in range(1000):
        watched.keeper.request_check()
        await watched.live(0.01)

    times = [seen.at for seen in watched.looks[start - 1 :]]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(gaps) >= MIN_INTERVAL_S - 1e-6
    assert max(gaps) <= WATCH + 0.02


async def test_a_doubt_during_a_look_is_not_forgotten(watch: Watch) -> None:
    """The look that is out may have seen the time before."""
    watched = await watch()
    watched.sim.faults.add("delay", path=STATUS, times=1, seconds=0.5)
    await watched.live(WATCH)
    looks = len(watched.looks)
    watched.keeper.request_check()

    await watched.live(0.5 + MIN_INTERVAL_S)

    assert len(watched.looks) == looks + 1


async def test_a_call_that_wants_the_preflight_gets_it(watch: Watch) -> None:
    """`Please query /accounts first` is repaired without a loss of the session."""
    watched = await watch()
    before = len(watched.sim.gateway_calls(ACCOUNTS))

    watched.keeper.request_check(prepare=True)
    await watched.live(1.0)
    await watched.live(3 * WATCH)

    assert len(watched.sim.gateway_calls(ACCOUNTS)) == before + 1
    assert [move.state for move in watched.moves] == ["ready"]


# -- IBKR is angry


async def test_too_many_requests_keep_the_state_and_slow_the_keeper(watch: Watch) -> None:
    """429 says nothing about the session; asking on would make it worse."""
    watched = await watch()
    watched.sim.faults.add("429", path=STATUS)
    await watched.live(WATCH)
    start = len(watched.looks)

    await watched.live(5 * 60.0)

    assert watched.keeper.session.state is SessionState.READY
    assert watched.keeper.session.observation is Observation.RATE_LIMITED
    assert watched.keeper.session.reason == "rate_limited"
    assert len(watched.looks) - start == 5


async def test_askers_do_not_hurry_a_keeper_that_was_told_to_slow_down(watch: Watch) -> None:
    """A page that polls `/readyz` every second must not keep the penalty box closed for ever."""
    watched = await watch()
    watched.sim.faults.add("429", path=STATUS)
    await watched.live(WATCH)
    start = len(watched.looks)

    asked = []
    for _ in range(55):
        await watched.live(1.0)
        asked.append(asyncio.create_task(watched.keeper.current()))
        await watched.idle()

    assert len(watched.looks) == start
    assert {(await each).reason for each in asked} == {"rate_limited"}


async def test_doubts_do_not_hurry_a_keeper_that_was_told_to_slow_down(watch: Watch) -> None:
    """Callers who run into refusals would otherwise make four looks a second of it."""
    watched = await watch()
    watched.sim.faults.add("429", path=STATUS)
    await watched.live(WATCH)
    start = len(watched.looks)

    for _ in range(50):
        watched.keeper.request_check()
        await watched.idle()
        await watched.live(1.0)

    assert len(watched.looks) == start


# -- silence


async def test_looks_at_a_silent_gateway_become_rare(watch: Watch) -> None:
    """Each one may hold one of its five slots: 3 to 30 seconds apart."""
    watched = await watch()
    watched.sim.faults.add("html-500", path=STATUS)
    await watched.live(WATCH)
    start = len(watched.looks) - 1

    await watched.live(180.0)

    times = [seen.at for seen in watched.looks[start:]]
    gaps = [round(later - sooner, 3) for sooner, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert (min(gaps) >= 3.0, max(gaps)) == (True, 30.0)


@pytest.mark.parametrize("fault", ["html-500", "denied", "hidden-error", "429"])
async def test_the_next_look_comes_when_it_was_announced(watch: Watch, fault: str) -> None:
    """A person who reads the log can count on it."""
    watched = await watch()
    watched.sim.faults.add(fault, path=STATUS)
    await watched.live(WATCH)
    seen = watched.clock.now()
    looks = len(watched.looks)
    announced = watched.moves[-1].next_act

    while len(watched.looks) == looks:
        await watched.live(watched.clock.next_alarm)

    assert announced == f"next check in {watched.clock.now() - seen:.1f} s"


@pytest.mark.usefixtures("short_checks")
async def test_the_late_answer_of_a_look_that_was_given_up_wakes_the_keeper(watch: Watch) -> None:
    """The Gateway is back: nobody waits for the next look to be due."""
    watched = await watch()
    watched.sim.faults.add("delay", path=STATUS, times=1, seconds=WATCH - 1.0)
    watched.sleepers = 3  # the keeper is at work while the answer, on its way, sleeps in its place
    await watched.live(WATCH)
    watched.sleepers = 4
    await watched.quiet()  # the look was given up
    silent = watched.keeper.session.state
    due = watched.keeper.next_check_at

    watched.sleepers = 3
    await watched.live(WATCH - 1.0)
    await watched.woken_to(SessionState.READY)

    assert silent is SessionState.SILENT
    assert watched.clock.now() < due


# -- the tickle


async def test_the_login_is_kept_awake_once_a_minute(watch: Watch) -> None:
    """IBKR ends a login that nobody uses for some minutes."""
    watched = await watch()

    await watched.live(5 * 60.0)

    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(watched.tickles)]
    assert len(watched.tickles) == 6
    assert all(60.0 <= round(gap, 6) <= 60.0 + WATCH for gap in gaps)


@pytest.mark.usefixtures("short_checks")
@pytest.mark.parametrize("fault", ["empty-503", "html-500", "garble", "cut-before", "hidden-error", "429", "silence"])
async def test_a_tickle_that_fails_does_no_harm(watch: Watch, fault: str) -> None:
    """Only `auth/status` is believed."""
    watched = await watch()
    watched.sim.faults.add(fault, path="/tickle", times=1)

    await watched.live(61.0 + WATCH)

    assert len(watched.tickles) >= 2
    assert [move.state for move in watched.moves] == ["ready"]
    assert watched.keeper.session.state is SessionState.READY
    assert not watched.surprises


@pytest.mark.parametrize("body", ['{"session":"abcdef","ssoExpires":NaN}', '{"session":"abcdef","ssoExpires":"1"}'])
async def test_a_tickle_with_strange_figures_does_no_harm(watch: Watch, body: str) -> None:
    """What cannot be read is not told."""
    watched = await watch({"logged_in": False}, sleepers=1)
    watched.sim.faults.add("status", path="/tickle", status=200, body=body)
    watched.sim.log_in()
    watched.sleepers = 3
    await watched.until(SessionState.READY)
    await watched.quiet()

    assert watched.keeper.login_expires is None
    assert not watched.surprises


async def test_the_session_id_is_a_secret_from_then_on(watch: Watch) -> None:
    """Whoever knows it can open the WebSocket."""
    watched = await watch()

    session = str(watched.keeper.tickle["session"])

    assert len(session) == 32
    assert watched.redactor.redact(f"a log line with {session} in it") == "a log line with [hidden] in it"
    assert session not in repr(watched.events_seen) + repr(watched.keeper)


async def test_what_belonged_to_a_login_goes_with_it(watch: Watch) -> None:
    """The next user's accounts may be others."""
    watched = await watch({"tickle_interval_s": NEVER})
    assert watched.keeper.login_expires is not None
    watched.sim.log_out()

    await watched.live(WATCH)

    assert watched.keeper.session.state is SessionState.SIGNED_OUT
    assert (watched.keeper.accounts, watched.keeper.tickle) == (Accounts(), {})
    assert watched.keeper.login_expires is None


# -- log-out and reconnect


async def test_a_log_out_is_seen_at_once(watch: Watch) -> None:
    """Whoever asked for it is shown the result."""
    watched = await watch({"tickle_interval_s": NEVER})
    ending = asyncio.create_task(watched.keeper.log_out())
    await watched.sim.wait_for_gateway_calls("/logout")
    while not ending.done():
        await watched.live(MIN_INTERVAL_S)

    assert await ending == 200
    assert watched.keeper.session.state is SessionState.SIGNED_OUT
    assert watched.sim.gateway_calls("/logout")[0].method == "POST"


async def test_who_asks_to_reopen_gets_a_look_that_begins_afterwards(watch: Watch) -> None:
    """And the session back where it was lost."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.lose_brokerage()

    asking = asyncio.create_task(watched.keeper.reopen())
    for _ in range(20):
        await watched.live(0.1)

    assert (await asking).state is SessionState.READY
    assert len(watched.openings) == 1


async def test_a_look_that_is_out_already_does_not_count_as_new(watch: Watch) -> None:
    """It may have seen the time before the doubt: `look_again` waits for the one that begins after it."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("delay", path=STATUS, times=1, seconds=0.5)
    await watched.live(WATCH)  # the delayed look is out, and has seen a session
    asking = asyncio.create_task(watched.keeper.check_now())
    await asyncio.sleep(0)
    watched.sim.log_out()

    for _ in range(10):
        await watched.live(0.25)

    assert (await asking).state is SessionState.SIGNED_OUT


# -- words


async def test_the_next_act_is_told_in_words(watch: Watch) -> None:
    """A person reads when something happens by itself."""
    watched = await watch({"tickle_interval_s": NEVER})
    watched.sim.faults.add("status", path=INIT, status=500)
    ready = watched.keeper.next_action
    await watched.live(1.0)
    later = watched.keeper.next_action
    watched.sim.lose_brokerage()
    await watched.live(2.0)
    opening = watched.keeper.next_action
    watched.sim.start_competing()
    await watched.round()
    competing = watched.keeper.next_action

    assert ready == "next check in 3.0 s"
    assert later == "next check in 2.0 s"
    assert opening == "next check in 0.5 s, next attempt to open the session in 1 s"
    assert re.fullmatch(r"next check in \d\.\d s, next attempt to take the session back in \d+ s", competing)


async def test_a_keeper_shows_its_state(watch: Watch) -> None:
    """In a debugger or a failing test."""
    assert repr((await watch()).keeper) == "<Keeper main ready: ready>"


async def test_a_keeper_is_in_trouble_when_its_round_is_too_late() -> None:
    """Longer than the longest round, and soon enough that with the watchdog's time a minute is not over."""
    clock = ManualClock()
    watched = session_status.SessionStatus(session_status.Policy(3.0, Compete.RECLAIM, Region.AMERICA, ()), clock)

    clock.advance(25.0)
    in_time = watched.problem()
    clock.advance(1.0)

    assert (in_time, watched.problem()) == (None, "the keeper is 26 s late")
    unit = (PROJECT_ROOT / "deploy/systemd/ibkr-bridge.service").read_text()
    assert MAX_OVERDUE_S + float(re.findall(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)[0]) < 60.0
