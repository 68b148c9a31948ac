"""Sign-in calls in IBKR's own shapes, answered by the keeper, however often clients make them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibkr_bridge.events import SessionOpening
from ibkr_bridge.session import keeper, session_api, session_status
from ibkr_bridge.session.session_status import MAX_AGE_S
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.conftest import Open
from tests.harness import READING, Harness, settings_for, within

STATUS = "/iserver/auth/status"
INIT = "/iserver/auth/ssodh/init"
AGAIN = "/iserver/reauthenticate"
BOTH = ("", "/v1/api")  # each is asked with and without the Gateway's own prefix


def ours(sim: Simulator, part: str) -> int:
    """How many calls of the bridge have reached the Gateway."""
    return len(sim.gateway_calls(part))


async def noticed(harness: Harness, state: SessionState) -> None:
    """Wait until the keeper has seen what was done to the session, sooner than by itself."""
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(state)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_status_has_ibkrs_shape(harness: Harness, method: str) -> None:
    """Clients read it without knowing that a bridge stands in between."""
    reply, twin = [await harness.request(method, prefix + STATUS) for prefix in BOTH]

    assert (reply.status, reply.body) == (200, twin.body)
    assert reply.headers["X-Bridge-Source"] == "bridge"
    assert set(reply.json) >= {"authenticated", "connected", "competing", "established", "MAC", "serverInfo"}
    assert (reply.json["authenticated"], reply.json["connected"], reply.json["competing"]) == (True, True, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_tickle_has_ibkrs_shape(harness: Harness, method: str) -> None:
    """With the session id that clients open their WebSocket with, and the time that is left now."""
    reply, twin = [await harness.request(method, f"{prefix}/tickle") for prefix in BOTH]

    assert (reply.status, twin.json["session"]) == (200, reply.json["session"])
    assert (len(reply.json["session"]), reply.json["userId"]) == (32, 123456789)
    assert reply.json["iserver"]["authStatus"]["authenticated"] is True
    assert 0 < reply.json["ssoExpires"] <= 600_000


async def test_the_time_left_runs_down(sim: Simulator, tmp_path: Path) -> None:
    """What the tickle said a minute ago is a minute less by now."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await within(sim.arrived("/iserver/account/orders"))  # the last call of the keeper's round
        first = await harness.get("/tickle")
        clock._now += MAX_AGE_S - 1.0  # time alone passes; nobody looks

        second = await harness.get("/tickle")

    assert first.json["ssoExpires"] - second.json["ssoExpires"] == (MAX_AGE_S - 1.0) * 1000


@pytest.mark.parametrize("path", ["/tickle", STATUS])
async def test_asked_a_hundred_times_ibkr_is_asked_no_more_than_by_the_keeper(
    sim: Simulator, tmp_path: Path, path: str
) -> None:
    """Clients poll these as they like; the clock stands still, so that the keeper itself asks nothing meanwhile."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await within(sim.arrived("/iserver/account/orders"))  # the last call of the keeper's round
        before = len(sim.gateway_calls())

        replies = [
            await harness.request(method, prefix + path)
            for method in ("GET", "POST")
            for prefix in BOTH
            for _ in range(25)
        ]

        assert {reply.status for reply in replies} == {200}
        assert len(sim.gateway_calls()) == before


@pytest.mark.parametrize("path", ["/tickle", STATUS, INIT, AGAIN])
async def test_with_nobody_signed_in_each_says_so(harness: Harness, sim: Simulator, path: str) -> None:
    """In the words of every other call; nothing in it could be taken for a session."""
    sim.log_out()
    await noticed(harness, SessionState.SIGNED_OUT)

    for prefix in BOTH:
        reply = await harness.post(prefix + path, {})

        assert (reply.status, reply.code) == (503, "session_unavailable")
        assert "sign in" in reply.json["hint"]
        assert "Retry-After" in reply.headers
        assert reply.json["error"] == reply.json["detail"]  # the member IBKR's own clients read


async def test_with_the_brokerage_session_lost_the_status_says_that(harness: Harness, sim: Simulator) -> None:
    """The login is there; IBKR's own shape has words for it."""
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    await noticed(harness, SessionState.OPENING)

    reply = await harness.get(STATUS)

    assert (reply.status, reply.json["authenticated"], reply.json["connected"]) == (200, False, True)


async def test_with_a_rival_the_status_says_that(open_harness: Open, sim: Simulator) -> None:
    """Clients have a flag for it."""
    harness = await open_harness(IBKR_COMPETE="yield")
    sim.compete()
    await noticed(harness, SessionState.COMPETING)

    assert (await harness.get(STATUS)).json["competing"] is True


@pytest.mark.parametrize("path", ["/tickle", STATUS])
async def test_an_old_view_is_not_told_as_the_present(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The Gateway has fallen silent: `authenticated: true` of ten seconds ago would be a lie."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.15)
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await clock.asleep(2)  # the keeper, and the jar that has saved its cookies
        sim.faults.add("silence", path=STATUS)
        clock.advance(2 * MAX_AGE_S)

        reply = await harness.get(path)

    assert (reply.status, reply.code) == (503, "session_unavailable")


async def test_a_failed_tickle_is_made_up_for(
    open_harness: Open, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tickle without its `session` leaves a client without its WebSocket for a whole minute."""
    monkeypatch.setattr(keeper, "TICKLE_RETRY_S", 0.2)
    sim.faults.add("status", path="/tickle", times=1, status=500)
    harness = await open_harness()

    reply = await harness.get("/tickle")

    assert reply.status == 200
    assert len(reply.json["session"]) == 32


async def test_while_tickles_fail_callers_do_not_make_the_keeper_look_each_time(
    open_harness: Open, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may ask as often as they like, whatever IBKR is going through."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.15)
    sim.faults.add("status", path="/tickle", status=500)
    harness = await open_harness()
    looks = ours(sim, STATUS)

    for _ in range(6):
        await harness.get("/tickle")

    assert ours(sim, STATUS) <= looks + 2


async def test_asking_for_the_session_brings_it_back(harness: Harness, sim: Simulator) -> None:
    """The keeper looks, asks IBKR in its own words, and answers when it is there."""
    sim.lose_brokerage()

    reply = await harness.post(INIT, {"publish": False, "compete": False, "x": "y"})

    assert (reply.status, reply.json["authenticated"]) == (200, True)
    (opened,) = [seen for seen in sim.gateway_calls(INIT) if seen.method == "POST"]
    assert opened.json() == {"publish": True, "compete": True}


async def test_asking_for_a_session_that_is_there_asks_nothing_of_ibkr(harness: Harness, sim: Simulator) -> None:
    """Some clients ask every minute, to be sure."""
    replies = [await harness.post(INIT, {"publish": True, "compete": True}) for _ in range(3)]

    assert {reply.status for reply in replies} == {200}
    assert ours(sim, INIT) == 0


async def test_asking_again_and_again_is_rationed(
    open_harness: Open, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While IBKR refuses, twenty callers who insist make one or two tries, not twenty."""
    monkeypatch.setattr(keeper, "CHECK_TIMEOUT_S", 0.2)
    harness = await open_harness()
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()
    await harness.wait_for_events(SessionOpening)

    replies = await asyncio.gather(*(harness.post(INIT, {}) for _ in range(20)))

    assert {reply.json["authenticated"] for reply in replies} == {False}
    assert ours(sim, INIT) <= 3


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("prefix", BOTH)
async def test_reauthenticate_makes_the_keeper_look_and_is_not_sent_on(
    harness: Harness, sim: Simulator, method: str, prefix: str
) -> None:
    """The Gateway would walk through its whole login again; its answer proves nothing."""
    looks = ours(sim, STATUS)

    reply = await harness.request(method, prefix + AGAIN)
    await sim.reached(STATUS, looks + 1)

    assert (reply.status, reply.json) == (200, {"message": "triggered"})
    assert ours(sim, AGAIN) == 0


@pytest.mark.parametrize(
    ("path", "allowed"), [("/tickle", "GET, POST"), (STATUS, "GET, POST"), (INIT, "POST"), (AGAIN, "GET, POST")]
)
async def test_other_methods_are_refused(harness: Harness, sim: Simulator, path: str, allowed: str) -> None:
    """And say which there are; nothing reaches the Gateway."""
    others = [method for method in ("GET", "PUT", "DELETE") if method not in allowed]
    before = len(sim.gateway_calls(path)) if path != STATUS else 0

    replies = [await harness.request(method, prefix + path) for prefix in BOTH for method in others]

    assert {(reply.status, reply.code, reply.headers["Allow"]) for reply in replies} == {
        (405, "method_not_allowed", allowed)
    }
    assert not [seen for seen in sim.gateway_calls(path)[before:] if seen.method in others and path != STATUS]


async def test_the_reading_key_may_look_at_the_session(open_harness: Open) -> None:
    """Looking changes nothing."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)

    for path in ("/tickle", STATUS):
        for method in ("GET", "POST"):
            assert (await harness.request(method, path, key=READING)).status == 200


async def test_the_session_id_never_reaches_the_log(harness: Harness) -> None:
    """Callers with the key get it; nobody else does."""
    session = (await harness.get("/tickle")).json["session"]

    assert session not in harness.written.getvalue()


async def test_a_trailing_slash_means_the_same(harness: Harness, sim: Simulator) -> None:
    """Real clients send it; the keeper answers all the same."""
    await sim.reached("/tickle")
    before = ours(sim, "/tickle")

    assert (await harness.get("/tickle/")).json["session"]
    assert (await harness.post(STATUS + "/")).json["authenticated"] is True
    assert ours(sim, "/tickle") == before


async def test_a_gateway_that_is_gone_is_said(harness: Harness, sim: Simulator) -> None:
    """Not as signed out: what to do is another thing."""
    sim.faults.add("refuse")
    await noticed(harness, SessionState.UNREACHABLE)

    assert (await harness.get(STATUS)).code == "gateway_unreachable"


async def test_the_look_within_is_shorter_than_a_callers_patience() -> None:
    """A look that hangs must not hang every caller with it."""
    assert session_api.CHECK_TIMEOUT_S <= MAX_AGE_S
    assert session_status.CHECK_TIMEOUT_S < session_api.CHECK_TIMEOUT_S
