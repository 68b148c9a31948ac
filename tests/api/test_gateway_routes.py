"""The keyed routes about the Gateway: the whole truth, and what the owner may do to the session and to trading."""

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
from tests.conftest import Open
from tests.harness import KEY, READING, Harness, Placed, settings_for

INIT = "/iserver/auth/ssodh/init"
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CANCEL = "/iserver/account/DU1234567/order/{}"


async def noticed(harness: Harness, state: SessionState) -> None:
    """Wait until the keeper has seen what was done to the session, sooner than by itself."""
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(state)


# -- status


async def test_the_status_is_the_whole_truth(harness: Harness, sim: Simulator) -> None:
    """One object for people and dashboards; every member is always there."""
    reply = await harness.get("/gateway/status")
    told = reply.json

    assert reply.status == 200
    assert list(told) == [
        *("state", "authenticated", "login", "competing", "reason", "hint", "since", "checked", "last_good"),
        *("next", "login_expires", "next_reset"),
        *("mode", "read_only", "paused", "maintenance_until", "draining", "gateway"),
        *("accounts", "slots", "waiting", "budget", "penalty", "cache", "journal", "stream"),
    ]
    assert (told["state"], told["authenticated"], told["login"], told["competing"]) == ("ready", True, True, False)
    assert (told["reason"], told["hint"]) == ("ready", "nothing to do")
    assert (told["mode"], told["read_only"], told["paused"], told["draining"]) == ("paper", False, None, False)
    assert told["gateway"] == sim.url
    assert told["slots"] == {"total": 4, "taken": 0, "waiting": 0, "ghost_calls": 0}
    assert told["waiting"] == {"session": 0, "orders": 0, "reads": 0}
    assert told["penalty"] == {"box_s": 0, "endpoints": {}}
    assert told["next"].startswith("next check in ")


async def test_its_times_are_written_for_programs(harness: Harness) -> None:
    """UTC, to the second, with a Z."""
    told = (await harness.get("/gateway/status")).json

    for name in ("since", "checked", "last_good", "next_reset"):
        assert UTC.fullmatch(told[name])


async def test_account_numbers_are_masked(harness: Harness) -> None:
    """A person recognises them; whoever reads over the shoulder learns nothing."""
    reply = await harness.get("/gateway/status")

    assert reply.json["accounts"] == [
        {"account": "DU*****67", "kind": "paper"},
        {"account": "DU*****21", "kind": "paper"},
    ]
    assert not re.search(rb"DU\d", reply.body)


async def test_no_secret_stands_in_it(harness: Harness) -> None:
    """No key, no cookie, no session id."""
    session = (await harness.get("/tickle")).json["session"]

    reply = await harness.get("/gateway/status")

    assert KEY.encode() not in reply.body
    assert session.encode() not in reply.body
    assert b"x-sess-uuid" not in reply.body


async def test_live_accounts_are_called_live(tmp_path: Path) -> None:
    """The one word a person must not overlook."""
    async with Simulator(live=True) as live, Harness(settings_for(live.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        told = (await harness.get("/gateway/status")).json

    assert {each["kind"] for each in told["accounts"]} == {"live"}
    assert {each["account"] for each in told["accounts"]} == {"U*****67", "U*****21"}


async def test_a_lost_login_is_told_with_its_time(harness: Harness, sim: Simulator) -> None:
    """Nothing that belonged to it is told any more."""
    await harness.get("/tickle")
    sim.log_out()
    await noticed(harness, SessionState.SIGNED_OUT)

    told = (await harness.get("/gateway/status")).json

    assert (told["state"], told["authenticated"], told["login"]) == ("signed_out", False, False)
    assert (told["accounts"], told["competing"]) == ([], False)
    assert told["login_expires"] is None
    assert told["last_good"] <= told["since"]


async def test_a_rival_is_told(open_harness: Open, sim: Simulator) -> None:
    """And is forgotten with the login it disturbed."""
    harness = await open_harness(IBKR_COMPETE="yield")
    sim.compete()
    await noticed(harness, SessionState.COMPETING)
    competing = (await harness.get("/gateway/status")).json

    sim.log_out()
    await noticed(harness, SessionState.SIGNED_OUT)
    gone = (await harness.get("/gateway/status")).json

    assert (competing["state"], competing["competing"], competing["login"]) == ("competing", True, True)
    assert "IBeam" in competing["hint"]
    assert gone["competing"] is False


async def test_an_old_view_is_not_told_as_the_present(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both routes say the same: nobody knows whether the session still stands."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.15)
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await clock.asleep(2)  # the keeper, and the jar that has saved its cookies
        sim.faults.add("silence", path="/auth/status")
        clock.advance(2 * MAX_AGE_S)

        opened = (await harness.get("/gateway/auth-status", key=None)).json
        told = (await harness.get("/gateway/status")).json

    assert (opened["authenticated"], opened["reason"]) == (False, "gateway_timeout")
    assert (told["authenticated"], told["state"], told["reason"]) == (False, "silent", "gateway_timeout")


async def test_calls_given_up_are_counted(harness: Harness, sim: Simulator) -> None:
    """They hold places until the Gateway lets go of them."""
    sim.faults.add("silence", path="/portfolio/accounts", times=2)
    await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(2)))

    told = (await harness.get("/gateway/status")).json

    assert told["slots"] == {"total": 4, "taken": 2, "waiting": 0, "ghost_calls": 2}


async def test_a_known_window_is_told(sim: Simulator, open_harness: Open) -> None:
    """With its end; the session may be fine all the same."""
    harness = await open_harness(IBKR_BRIDGE_MAINTENANCE="daily 00:00-24:00")

    told = (await harness.get("/gateway/status")).json

    assert UTC.fullmatch(told["maintenance_until"])
    assert told["authenticated"] is True


async def test_the_reading_key_may_read_it(open_harness: Open) -> None:
    """It is what dashboards show."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)

    assert (await harness.get("/gateway/status", key=READING)).status == 200
    assert (await harness.get("/gateway/status", key=None)).status == 401


# -- reconnect


async def test_reconnect_brings_a_lost_session_back(harness: Harness, sim: Simulator) -> None:
    """And answers when it is there."""
    sim.lose_brokerage()

    reply = await harness.post("/gateway/reconnect")

    assert (reply.status, reply.json["state"], reply.json["authenticated"]) == (200, "ready", True)
    assert len(sim.gateway_calls(INIT)) == 1


async def test_reconnect_does_not_disturb_a_session_that_stands(harness: Harness, sim: Simulator) -> None:
    """It looks, and leaves it at that."""
    reply = await harness.post("/gateway/reconnect")

    assert reply.json["state"] == "ready"
    assert not sim.gateway_calls(INIT)


async def test_reconnect_keeps_to_the_ration(harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An impatient person is told when the next try is due, instead of making IBKR angry."""
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
    """No logins by password: a person or IBeam is needed."""
    sim.log_out()

    reply = await harness.post("/gateway/reconnect")

    assert (reply.status, reply.json["state"]) == (200, "signed_out")
    assert "sign in" in reply.json["hint"]


# -- pause


async def test_a_pause_stops_orders_and_lets_cancels_and_reads_through(harness: Harness, sim: Simulator) -> None:
    """Getting out is always possible."""
    placed = await harness.post(Placed().target, Placed().body)
    paused = await harness.post("/gateway/pause")

    order = await harness.post(Placed().target, Placed().body)
    cancel = await harness.request("DELETE", CANCEL.format(placed.json[0]["order_id"]))
    read = await harness.get("/portfolio/accounts")

    assert (paused.status, paused.json["paused"], paused.json["by"]) == (200, True, "full key")
    assert paused.json["kept"] is True
    assert (order.status, order.code) == (403, "trading_paused")
    assert "/gateway/resume" in order.json["hint"]
    assert (cancel.code, read.status) == (None, 200)  # IBKR's own answer, whatever it is
    assert [seen.method for seen in sim.gateway_calls("/order/")] == ["DELETE"]
    assert len([seen for seen in sim.gateway_calls(Placed().target) if seen.method == "POST"]) == 1
    assert [event.by for event in harness.events_seen if isinstance(event, PauseSet)] == ["full key"]


async def test_resuming_lets_orders_through_again(harness: Harness) -> None:
    """And the status shows both."""
    await harness.post("/gateway/pause")
    during = (await harness.get("/gateway/status")).json["paused"]

    resumed = await harness.post("/gateway/resume")
    order = await harness.post(Placed().target, Placed().body)

    assert (during["by"], bool(during["since"])) == ("full key", True)
    assert resumed.json == {"paused": False, "kept": True}
    assert order.status == 200
    assert (await harness.get("/gateway/status")).json["paused"] is None
    assert [event.by for event in harness.events_seen if isinstance(event, PauseCleared)] == ["full key"]


async def test_a_pause_survives_a_restart(sim: Simulator, tmp_path: Path) -> None:
    """Whoever pulled the brake finds it pulled, with the same name and time; so does a resume."""
    async with Harness(settings_for(sim.url, tmp_path)) as first:
        await first.wait_until(SessionState.READY)
        paused = (await first.post("/gateway/pause")).json
    async with Harness(settings_for(sim.url, tmp_path)) as second:
        await second.wait_until(SessionState.READY)
        order = await second.post(Placed().target, Placed().body)
        told = (await second.get("/gateway/status")).json["paused"]
        ready = (await second.get("/readyz", key=None)).status
        await second.post("/gateway/resume")
    async with Harness(settings_for(sim.url, tmp_path)) as third:
        await third.wait_until(SessionState.READY)
        after = await third.post(Placed().target, Placed().body)

    assert (order.code, ready, after.status) == ("trading_paused", 503, 200)
    assert told == {"by": paused["by"], "since": paused["since"]}


async def test_a_pause_without_a_place_on_disk_says_so(sim: Simulator, tmp_path: Path) -> None:
    """It holds, but not beyond a restart: whoever relies on it must know."""
    (tmp_path / "state").write_text("a file where the directory should be")
    async with Harness(settings_for(sim.url, tmp_path / "state")) as harness:
        await harness.wait_until(SessionState.READY)

        paused = (await harness.post("/gateway/pause")).json
        order = await harness.post(Placed().target, Placed().body)

    assert (paused["paused"], paused["kept"], order.code) == (True, False, "journal_unavailable")


async def test_pausing_twice_keeps_the_first_time(harness: Harness) -> None:
    """Since when nobody trades is the question; who asked again is not."""
    first = (await harness.post("/gateway/pause")).json

    second = (await harness.post("/gateway/pause")).json

    assert first == second
    assert len([event for event in harness.events_seen if isinstance(event, PauseSet)]) == 1


# -- log-out


async def test_a_log_out_ends_the_login_and_shows_it(harness: Harness, sim: Simulator) -> None:
    """Callers learn it at once; only a person or IBeam can make a new one."""
    reply = await harness.post("/gateway/logout")
    then = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.json["state"], reply.json["login"]) == (200, "signed_out", False)
    assert then.code == "session_unavailable"
    assert [seen.method for seen in sim.gateway_calls("/logout")] == ["POST"]


async def test_a_second_log_out_has_nothing_to_do(harness: Harness, sim: Simulator) -> None:
    """And sends nothing."""
    await harness.post("/gateway/logout")

    reply = await harness.post("/gateway/logout")

    assert (reply.status, reply.code) == (503, "session_unavailable")
    assert len(sim.gateway_calls("/logout")) == 1


@pytest.mark.parametrize("fault", ["html-500", "cut-before", "empty-503"])
async def test_a_log_out_ibkr_did_not_confirm_is_said(harness: Harness, sim: Simulator, fault: str) -> None:
    """The login may still stand; a look tells."""
    sim.faults.add(fault, path="/logout")

    reply = await harness.post("/gateway/logout")

    assert (reply.status, reply.code) == (502, "gateway_protocol_error")
    assert "/gateway/status" in reply.json["hint"]
    assert len(sim.gateway_calls("/logout")) == 1  # what changes something is never repeated


@pytest.mark.parametrize("route", ["reconnect", "pause", "resume", "logout"])
async def test_a_link_cannot_do_any_of_this(harness: Harness, sim: Simulator, route: str) -> None:
    """A page or a preview that follows links must not stop trading."""
    replies = [
        await harness.request(method, f"/gateway/{route}") for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH")
    ]

    assert {(reply.status, reply.headers["Allow"]) for reply in replies} == {(405, "POST")}
    assert not sim.gateway_calls("/logout")
    assert not [event for event in harness.events_seen if isinstance(event, PauseSet | PauseCleared)]


# -- the Gateway's cookies


async def test_the_gateways_cookies_go_back_to_it_and_to_nobody_else(harness: Harness, sim: Simulator) -> None:
    """IBKR's edge routes by them; callers have no business with them."""
    reply = await harness.get("/portfolio/accounts")

    sent = sim.gateway_calls("/portfolio/accounts")[-1].header("Cookie") or ""
    assert "x-sess-uuid=" in sent
    assert "Set-Cookie" not in reply.headers


async def test_they_survive_a_restart_in_a_file_only_we_can_read(sim: Simulator, tmp_path: Path) -> None:
    """The first call of the next run carries them."""
    async with Harness(settings_for(sim.url, tmp_path / "state")) as first:
        await first.wait_until(SessionState.READY)
    (kept,) = (tmp_path / "state").glob("*.cookies.json")
    before = len(sim.gateway_calls())
    async with Harness(settings_for(sim.url, tmp_path / "state")) as second:
        await second.wait_until(SessionState.READY)

    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert "x-sess-uuid" in json.dumps(json.loads(kept.read_text()))
    assert "x-sess-uuid=" in (sim.gateway_calls()[before].header("Cookie") or "")
