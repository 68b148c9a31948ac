"""The end of the bridge: calls in flight are finished, new ones are refused, and the exit status is right."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from pathlib import Path

import pytest

from ibkr_bridge.events import LoopDied
from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.harness import KEY, Harness, Placement, settings_for
from tests.process import Daemon, daemon

CALLERS = 50


async def wait_for_queue(running: Daemon, count: int) -> None:
    """Wait until so many calls are in the admission queue."""
    async with asyncio.timeout(10):
        while json.loads((await running.get("/gateway/status"))[1])["slots"]["waiting"] < count:
            pass


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_no_call_in_flight_is_lost(sim: MarketStage, tmp_path: Path, signum: signal.Signals) -> None:
    """Fifty calls are in flight when the signal comes: all get their responses, and later calls are refused."""
    async with daemon(sim.url, tmp_path) as running:
        sim.faults.add("delay", path="/portfolio/accounts", seconds=0.1)
        in_flight = [
            asyncio.create_task(running.get("/portfolio/accounts", **{"X-Bridge-Wait": "30"})) for _ in range(CALLERS)
        ]
        await wait_for_queue(running, CALLERS - 3)

        running.signal(signum)
        await running.wait_for_event("bridge.stopping")
        health, late_call = await running.get("/health"), await running.get("/portfolio/accounts")
        ready = await running.get("/readyz")
        responses = await asyncio.gather(*in_flight)
        status = await running.wait_until_ended()

    assert [response[0] for response in responses] == [200] * CALLERS
    assert health == (503, b'{"status":"stopping","bridge":"draining"}')
    assert (ready[0], late_call[0], json.loads(late_call[1])["code"]) == (503, 503, "shutting_down")
    assert status == 0
    assert running.lines[-1]["event"] == "bridge.stopped"
    assert running.lines[-1]["unfinished"] == 0


@pytest.mark.slow
async def test_an_order_in_flight_is_waited_for_longer(sim: MarketStage, tmp_path: Path) -> None:
    """Its outcome matters more than a quick end: twelve seconds are more than the drain gives to reads."""
    async with daemon(sim.url, tmp_path) as running:
        sim.faults.add("delay", path=Placement().target, seconds=12)
        headers = {"X-Bridge-Key": KEY}
        order = asyncio.create_task(
            running.client.post(running.url + Placement().target, json=Placement().body, headers=headers)
        )
        await sim.wait_for_calls(Placement().target, 1)

        running.signal(signal.SIGTERM)
        response = await order
        body = await response.json()
        status = await running.wait_until_ended()

    assert (response.status, body[0]["order_status"]) == (200, "Submitted")
    assert status == 0


@pytest.mark.parametrize("leave_during_the_end", [False, True])
async def test_the_end_does_not_wait_for_queued_reads_whose_callers_have_left(
    sim: MarketStage, tmp_path: Path, leave_during_the_end: bool
) -> None:
    """Four at a time are inside for a second: the last of them would be sent five seconds later, for nobody."""
    sim.faults.add("delay", path="/portfolio/DU1234567/position/", seconds=1.0)
    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        targets = [f"/portfolio/DU1234567/position/{conid}" for conid in range(1, 25)]
        reads = [asyncio.create_task(harness.get(each, headers={"X-Bridge-Wait": "60"})) for each in targets]
        admission = harness.bridge.profile.admission
        async with asyncio.timeout(10):
            while len(admission._waiting) < len(reads) - admission.slots_taken:
                await asyncio.sleep(0.01)
            ending = asyncio.create_task(harness.bridge.finish()) if leave_during_the_end else None
            await asyncio.sleep(0)
            for read in reads:
                read.cancel()
            while any(waiting.is_connected() for waiting in admission._waiting):
                await asyncio.sleep(0.01)

        async with asyncio.timeout(3.5):
            unfinished = await (ending or harness.bridge.finish())

    assert (unfinished, admission.waiting().total()) == (0, 0)


async def test_cookies_survive_a_restart_in_a_private_file(sim: MarketStage, tmp_path: Path) -> None:
    """The next process sends the cookies of the Gateway back to it; only the owner can read the file."""
    cookies = {"Set-Cookie": "api.nn=kept-over-restarts; Path=/"}
    sim.faults.add("status", path="/portfolio/subaccounts", times=1, status=200, body="[]", headers=cookies)
    async with daemon(sim.url, tmp_path) as running:
        await running.get("/portfolio/subaccounts")
        running.signal(signal.SIGTERM)
        await running.wait_until_ended()

    files = [path for path in tmp_path.iterdir() if path.is_file()]
    async with daemon(sim.url, tmp_path) as running:
        await running.get("/portfolio/accounts")

    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    if not isinstance(sim, Simulator):
        return  # a real Gateway discards the cookies of its clients and does not show them
    assert "kept-over-restarts" in (sim.gateway_calls("/portfolio/accounts")[-1].header("Cookie") or "")


async def test_a_cookie_file_of_garbage_is_set_aside(sim: MarketStage, tmp_path: Path) -> None:
    """The bridge starts without it, and the file is kept under another name."""
    (tmp_path / "main.cookies.json").write_bytes(b"\x80\x04garbage")

    async with daemon(sim.url, tmp_path) as running:
        running.signal(signal.SIGTERM)
        status = await running.wait_until_ended()

    assert status == 0
    assert "cookies.set_aside" in {line["event"] for line in running.lines}
    assert (tmp_path / "main.cookies.unreadable").read_bytes() == b"\x80\x04garbage"


async def test_a_full_disk_is_reported_once_and_the_bridge_continues(sim: MarketStage, tmp_path: Path) -> None:
    """No byte can be written: the bridge continues and logs which files are not saved."""
    async with daemon(sim.url, tmp_path, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))) as running:
        responses = [await running.get("/portfolio/accounts") for _ in range(3)]
        running.signal(signal.SIGTERM)
        status = await running.wait_until_ended()

    unsaved = [line["what"] for line in running.lines if line["event"] == "state.unavailable"]
    assert [response[0] for response in responses] == [200] * 3
    assert sorted(unsaved) == [
        *("the cookie file", "the file of paces", "the history", "the journal of orders"),
        "the state directory",
    ]
    assert status == 0


async def test_a_loop_that_ends_takes_the_daemon_down(
    sim: MarketStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper that stopped silently would be the worst state, so the bridge ends and systemd starts it again."""

    async def raise_error(_: CookieStore) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(CookieStore, "run_loop", raise_error)

    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        (event,) = await harness.wait_for_events(LoopDied)
        response = await harness.get("/livez", key=None)

    assert (response.status, response.body) == (503, b"a loop has ended: ZeroDivisionError")
    assert harness.bridge.failed
    assert harness.bridge.stop.is_set()
    assert isinstance(event, LoopDied)
    assert (event.error, "test_shutdown.py" in event.places) == ("ZeroDivisionError", True)
