"""`GET /gateway/history`: what has happened to the bridge and its session."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ibkr_bridge.history.store import HistoryStore
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness, settings_for, with_timeout

PATH = "/gateway/history"
CHANGES = "/gateway/history/changes"


async def lose_and_repair(harness: Harness, sim: Simulator) -> None:
    """Log out, and sign in again, so that there is something to tell."""
    await harness.wait_until_checked(SessionState.READY)
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    await harness.get("/readyz")
    sim.log_in()
    await harness.wait_until_checked(SessionState.READY)
    await harness.get("/readyz")


async def test_a_loss_and_its_repair_are_told(open_harness: OpenHarness, sim: Simulator) -> None:
    """With their condition, the states of the session, and the figures of each day."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    await lose_and_repair(harness, sim)

    body = (await harness.get(PATH, key=READONLY_KEY)).json

    (out,) = [each for each in body["conditions"] if each["id"] == "signed_out"]
    states = [each["state"] for each in body["states"]]
    assert out["ended"] is not None
    assert states.index("ready") < states.index("signed_out")
    assert states[-1] == "ready"
    assert body["availability"]["losses"] == 1
    assert body["days"][-1]["availability"]["losses"] == 1
    assert body["problem"] is None


async def test_a_reader_of_the_changes_misses_nothing_and_gets_nothing_twice(
    open_harness: OpenHarness, sim: Simulator
) -> None:
    """It sends the revision of the last answer."""
    harness = await open_harness()
    await lose_and_repair(harness, sim)

    seen, after = [], 0
    while (answer := (await harness.get(f"{CHANGES}?after={after}&limit=1")).json)["changes"]:
        seen += [each["revision"] for each in answer["changes"]]
        after = answer["revision"]

    assert seen == sorted(set(seen))
    assert (await harness.get(f"{CHANGES}?after={after}")).json["revision"] == after


@pytest.mark.parametrize("query", ["days=0", "days=91", "days=x", "days=1.5"])
async def test_a_period_that_is_not_there_is_refused(open_harness: OpenHarness, query: str) -> None:
    """The error says which are."""
    harness = await open_harness()

    reply = await harness.get(f"{PATH}?{query}")

    assert (reply.status, reply.json["field"]) == (400, "days")


async def test_it_goes_on_after_a_restart(sim: Simulator, tmp_path: Path) -> None:
    """Both runs are in one history."""
    settings = settings_for(sim.url, tmp_path)
    async with Harness(settings) as first:
        await first.wait_until_checked(SessionState.READY)
    async with Harness(settings) as second:
        await second.wait_until_checked(SessionState.READY)
        states = [each["state"] for each in (await second.get(PATH)).json["states"]]

    assert states.count("starting") == 2
    assert states.count("ready") == 2


async def test_a_disk_that_fails_costs_the_history_only(
    open_harness: OpenHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says so, and the other calls work."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    harness = await open_harness()
    monkeypatch.setattr(HistoryStore, "conditions", fail)

    body = (await harness.get(PATH)).json

    assert (body["conditions"], body["problem"]) == ([], "disk I/O error")
    assert (await harness.get("/portfolio/accounts")).status == 200


async def test_days_are_those_of_new_york(sim: Simulator, tmp_path: Path) -> None:
    """The days of the exchange, whatever the zone of the machine."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await with_timeout(clock.wait_for_sleepers(1))
        clock.advance(86_400.0)
        body = (await harness.get(f"{PATH}?days=2")).json

    assert [each["day"] for each in body["days"]] == ["2026-06-17", "2026-06-18"]
    assert body["availability"]["trading_s"] == 4 * 3600 + 2.5 * 3600


async def test_a_history_that_cannot_be_written_is_a_condition(sim: Simulator, tmp_path: Path) -> None:
    """Every surface shows it, and orders are not refused."""
    (tmp_path / "bridge.history.db").mkdir()
    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        await harness.wait_until_checked(SessionState.READY)
        await harness.get(PATH)
        conditions = (await harness.get("/gateway/status")).json["conditions"]
        ready = await harness.get("/readyz", key=None)

    assert [each["id"] for each in conditions if each["id"] != "login_ends"] == ["history_unavailable"]
    assert ready.status == 200
