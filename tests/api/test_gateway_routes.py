"""The keyed routes about the Gateway: the status, the session, the trading pause and the logout."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from pathlib import Path

import pytest

from ibkr_bridge.events import PauseCleared, PauseSet, SessionOpening
from ibkr_bridge.session import keeper, session_status
from ibkr_bridge.session.session_status import MAX_AGE_S
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.conftest import OpenHarness
from tests.harness import KEY, READONLY_KEY, Harness, Placement, settings_for

INIT = "/iserver/auth/ssodh/init"
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CANCEL = "/iserver/account/DU1234567/order/{}"


async def wait_for_state(harness: Harness, state: SessionState) -> None:
    """Make the keeper check the session at once, and wait until it is in this state."""
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(state)


# -- status


async def test_the_status_has_every_member(harness: Harness, sim: Simulator) -> None:
    """One object for people and dashboards; no member is ever missing."""
    reply = await harness.get("/gateway/status")
    status = reply.json

    assert reply.status == 200
    assert list(status) == [
        *("state", "authenticated", "login", "competing", "reason", "hint", "since", "checked", "last_good"),
        *("ibkr_message", "next", "login_expires", "next_reset"),
        *("conditions", "mode", "read_only", "paused", "maintenance_until", "draining", "gateway", "restart_needed"),
        *("accounts", "slots", "waiting", "budget", "penalty", "cache", "journal", "stream"),
    ]
    assert (status["state"], status["authenticated"], status["login"], status["competing"]) == (
        "ready",
        True,
        True,
        False,
    )
    assert (status["reason"], status["hint"]) == ("ready", "nothing to do")
    assert (status["mode"], status["read_only"], status["paused"], status["draining"]) == ("paper", False, None, False)
    assert status["gateway"] == sim.url
    assert status["slots"] == {"total": 4, "taken": 0, "waiting": 0, "ghost_calls": 0}
    assert status["waiting"] == {"session": 0, "orders": 0, "reads": 0}
    assert status["penalty"] == {"box_s": 0, "endpoints": {}}
    assert status["next"].startswith("next check in ")


async def test_its_times_are_in_utc(harness: Harness) -> None:
    """To the second, with a Z."""
    status = (await harness.get("/gateway/status")).json

    for name in ("since", "checked", "last_good", "next_reset"):
        assert UTC.fullmatch(status[name])


async def test_account_numbers_are_masked(harness: Harness) -> None:
    """The owner recognises a masked number; other readers do not learn it."""
    reply = await harness.get("/gateway/status")

    assert reply.json["accounts"] == [
        {"account": "DU*****67", "kind": "paper"},
        {"account": "DU*****21", "kind": "paper"},
    ]
    assert not re.search(rb"DU\d", reply.body)


async def test_it_has_no_secret(harness: Harness) -> None:
    """No key, no cookie, no session id."""
    session = (await harness.get("/tickle")).json["session"]

    reply = await harness.get("/gateway/status")

    assert KEY.encode() not in reply.body
    assert session.encode() not in reply.body
    assert b"x-sess-uuid" not in reply.body


async def test_live_accounts_are_called_live(tmp_path: Path) -> None:
    """A person must not mistake them for paper accounts."""
    async with Simulator(live=True) as live, Harness(settings_for(live.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        status = (await harness.get("/gateway/status")).json

    assert {each["kind"] for each in status["accounts"]} == {"live"}
    assert {each["account"] for each in status["accounts"]} == {"U*****67", "U*****21"}


async def test_the_status_after_a_lost_login(harness: Harness, sim: Simulator) -> None:
    """Nothing of the former login is left in it."""
    await harness.get("/tickle")
    sim.log_out()
    await wait_for_state(harness, SessionState.SIGNED_OUT)

    status = (await harness.get("/gateway/status")).json

    assert (status["state"], status["authenticated"], status["login"]) == ("signed_out", False, False)
    assert (status["accounts"], status["competing"]) == ([], False)
    assert status["login_expires"] is None
    assert status["last_good"] <= status["since"]


async def test_a_competing_session_is_reported(open_harness: OpenHarness, sim: Simulator) -> None:
    """It is no longer reported once the login has ended."""
    harness = await open_harness(IBKR_COMPETE="yield")
    sim.start_competing()
    await wait_for_state(harness, SessionState.COMPETING)
    competing = (await harness.get("/gateway/status")).json

    sim.log_out()
    await wait_for_state(harness, SessionState.SIGNED_OUT)
    after_logout = (await harness.get("/gateway/status")).json

    assert (competing["state"], competing["competing"], competing["login"]) == ("competing", True, True)
    assert "IBeam" in competing["hint"]
    assert after_logout["competing"] is False


async def test_an_old_check_is_not_reported_as_the_present_state(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both routes say that nobody knows whether the session is still open."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.15)
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await clock.wait_for_sleepers(2)  # the keeper, and the cookies that were saved
        sim.faults.add("silence", path="/auth/status")
        clock.advance(2 * MAX_AGE_S)

        auth_status = (await harness.get("/gateway/auth-status", key=None)).json
        status = (await harness.get("/gateway/status")).json

    assert (auth_status["authenticated"], auth_status["reason"]) == (False, "gateway_timeout")
    assert (status["authenticated"], status["state"], status["reason"]) == (False, "silent", "gateway_timeout")


@pytest.mark.unanswered
@pytest.mark.unanswered
async def test_abandoned_calls_are_counted(harness: Harness, sim: Simulator) -> None:
    """They hold slots until the Gateway has finished with them."""
    sim.faults.add("silence", path="/portfolio/accounts", times=2)
    await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(2)))

    status = (await harness.get("/gateway/status")).json

    assert status["slots"] == {"total": 4, "taken": 2, "waiting": 0, "ghost_calls": 2}


async def test_a_maintenance_window_is_reported(sim: Simulator, open_harness: OpenHarness) -> None:
    """With its end. The session may be open nevertheless."""
    harness = await open_harness(IBKR_BRIDGE_MAINTENANCE="daily 00:00-24:00")

    status = (await harness.get("/gateway/status")).json

    assert UTC.fullmatch(status["maintenance_until"])
    assert status["authenticated"] is True


async def test_the_read_only_key_may_read_it(open_harness: OpenHarness) -> None:
    """Dashboards show it."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    assert (await harness.get("/gateway/status", key=READONLY_KEY)).status == 200
    assert (await harness.get("/gateway/status", key=None)).status == 401


# -- reconnect


async def test_reconnect_reopens_a_lost_session(harness: Harness, sim: Simulator) -> None:
    """The response comes when the session is open."""
    sim.lose_brokerage()

    reply = await harness.post("/gateway/reconnect")

    assert (reply.status, reply.json["state"], reply.json["authenticated"]) == (200, "ready", True)
    assert len(sim.gateway_calls(INIT)) == 1


async def test_reconnect_does_not_reopen_an_open_session(harness: Harness, sim: Simulator) -> None:
    """It only checks the session."""
    reply = await harness.post("/gateway/reconnect")

    assert reply.json["state"] == "ready"
    assert not sim.gateway_calls(INIT)


async def test_reconnect_obeys_the_backoff(harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response says when the next attempt is due."""
    monkeypatch.setattr(keeper, "CHECK_TIMEOUT_S", 0.1)
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()
    await harness.wait_for_events(SessionOpening)

    replies = [await harness.post("/gateway/reconnect") for _ in range(3)]

    assert {reply.json["state"] for reply in replies} == {"opening"}
    assert "next attempt to open the session in" in replies[-1].json["next"]
    assert len(sim.gateway_calls(INIT)) <= 3


async def test_reconnect_with_nobody_signed_in_says_what_to_do(harness: Harness, sim: Simulator) -> None:
    """The bridge cannot sign in; a person or IBeam is needed."""
    sim.log_out()

    reply = await harness.post("/gateway/reconnect")

    assert (reply.status, reply.json["state"]) == (200, "signed_out")
    assert "sign in" in reply.json["hint"]


# -- pause


async def test_a_pause_stops_orders_but_not_cancels_and_reads(harness: Harness, sim: Simulator) -> None:
    """A person can always cancel an order."""
    placed = await harness.post(Placement().target, Placement().body)
    paused = await harness.post("/gateway/pause")

    order = await harness.post(Placement().target, Placement().body)
    cancel = await harness.request("DELETE", CANCEL.format(placed.json[0]["order_id"]))
    read = await harness.get("/portfolio/accounts")

    assert (paused.status, paused.json["paused"], paused.json["by"]) == (200, True, "full key")
    assert paused.json["kept"] is True
    assert (order.status, order.code) == (403, "trading_paused")
    assert "/gateway/resume" in order.json["hint"]
    assert (cancel.code, read.status) == (None, 200)  # IBKR's own response, whatever it is
    assert [call.method for call in sim.gateway_calls("/order/")] == ["DELETE"]
    assert len([call for call in sim.gateway_calls(Placement().target) if call.method == "POST"]) == 1
    assert [event.by for event in harness.events_seen if isinstance(event, PauseSet)] == ["full key"]


async def test_after_a_resume_orders_are_sent_again(harness: Harness) -> None:
    """The status shows the pause and its end."""
    await harness.post("/gateway/pause")
    during = (await harness.get("/gateway/status")).json["paused"]

    resumed = await harness.post("/gateway/resume")
    order = await harness.post(Placement().target, Placement().body)

    assert (during["by"], bool(during["since"])) == ("full key", True)
    assert resumed.json == {"paused": False, "kept": True}
    assert order.status == 200
    assert (await harness.get("/gateway/status")).json["paused"] is None
    assert [event.by for event in harness.events_seen if isinstance(event, PauseCleared)] == ["full key"]


async def test_a_pause_survives_a_restart(sim: Simulator, tmp_path: Path) -> None:
    """With the same name and time. Its end survives a restart as well."""
    async with Harness(settings_for(sim.url, tmp_path)) as first:
        await first.wait_until(SessionState.READY)
        paused = (await first.post("/gateway/pause")).json
    async with Harness(settings_for(sim.url, tmp_path)) as second:
        await second.wait_until(SessionState.READY)
        order = await second.post(Placement().target, Placement().body)
        pause = (await second.get("/gateway/status")).json["paused"]
        ready = (await second.get("/readyz", key=None)).status
        await second.post("/gateway/resume")
    async with Harness(settings_for(sim.url, tmp_path)) as third:
        await third.wait_until(SessionState.READY)
        after = await third.post(Placement().target, Placement().body)

    assert (order.code, ready, after.status) == ("trading_paused", 503, 200)
    assert pause == {"by": paused["by"], "since": paused["since"]}


async def test_a_pause_that_cannot_be_saved_says_so(sim: Simulator, tmp_path: Path) -> None:
    """It would not survive a restart, and its user must know that."""
    (tmp_path / "state").write_text("a file where the directory should be")
    async with Harness(settings_for(sim.url, tmp_path / "state")) as harness:
        await harness.wait_until(SessionState.READY)

        paused = (await harness.post("/gateway/pause")).json
        order = await harness.post(Placement().target, Placement().body)

    assert (paused["paused"], paused["kept"], order.code) == (True, False, "journal_unavailable")


async def test_pausing_twice_keeps_the_first_time(harness: Harness) -> None:
    """A second pause changes neither the time nor the name."""
    first = (await harness.post("/gateway/pause")).json

    second = (await harness.post("/gateway/pause")).json

    assert first == second
    assert len([event for event in harness.events_seen if isinstance(event, PauseSet)]) == 1


# -- logout


async def test_a_logout_ends_the_login(harness: Harness, sim: Simulator) -> None:
    """Callers get an error at once; only a person or IBeam can make a new login."""
    reply = await harness.post("/gateway/logout")
    later = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.json["state"], reply.json["login"]) == (200, "signed_out", False)
    assert later.code == "session_unavailable"
    assert [call.method for call in sim.gateway_calls("/logout")] == ["POST"]


async def test_a_second_logout_has_nothing_to_do(harness: Harness, sim: Simulator) -> None:
    """Nothing is sent."""
    await harness.post("/gateway/logout")

    reply = await harness.post("/gateway/logout")

    assert (reply.status, reply.code) == (503, "session_unavailable")
    assert len(sim.gateway_calls("/logout")) == 1


@pytest.mark.parametrize("fault", ["html-500", "cut-before", "empty-503"])
async def test_a_logout_that_ibkr_did_not_confirm_is_an_error(harness: Harness, sim: Simulator, fault: str) -> None:
    """The login may still exist; the status will show it."""
    sim.faults.add(fault, path="/logout")

    reply = await harness.post("/gateway/logout")

    assert (reply.status, reply.code) == (502, "gateway_protocol_error")
    assert "/gateway/status" in reply.json["hint"]
    assert len(sim.gateway_calls("/logout")) == 1  # a change is never repeated


@pytest.mark.parametrize("route", ["reconnect", "pause", "resume", "logout"])
async def test_these_routes_accept_post_only(harness: Harness, sim: Simulator, route: str) -> None:
    """A page or a preview that follows links must not stop trading."""
    replies = [
        await harness.request(method, f"/gateway/{route}") for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH")
    ]

    assert {(reply.status, reply.headers["Allow"]) for reply in replies} == {(405, "POST")}
    assert not sim.gateway_calls("/logout")
    assert not [event for event in harness.events_seen if isinstance(event, PauseSet | PauseCleared)]


# -- the Gateway's cookies


async def test_the_gateways_cookies_are_sent_to_the_gateway_only(harness: Harness, sim: Simulator) -> None:
    """IBKR's edge uses them for routing. Callers never get them."""
    reply = await harness.get("/portfolio/accounts")

    sent = sim.gateway_calls("/portfolio/accounts")[-1].header("Cookie") or ""
    assert "x-sess-uuid=" in sent
    assert "Set-Cookie" not in reply.headers


async def test_they_survive_a_restart_in_a_file_that_only_the_bridge_can_read(sim: Simulator, tmp_path: Path) -> None:
    """The first call after the restart has them."""
    async with Harness(settings_for(sim.url, tmp_path / "state")) as first:
        await first.wait_until(SessionState.READY)
    (file,) = (tmp_path / "state").glob("*.cookies.json")
    before = len(sim.gateway_calls())
    async with Harness(settings_for(sim.url, tmp_path / "state")) as second:
        await second.wait_until(SessionState.READY)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "x-sess-uuid" in json.dumps(json.loads(file.read_text()))
    assert "x-sess-uuid=" in (sim.gateway_calls()[before].header("Cookie") or "")
