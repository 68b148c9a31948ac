"""Ending: nobody inside is lost, nobody new is let in, and the status says how it went."""

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
from tests.harness import KEY, Harness, Placed, settings_for
from tests.process import Daemon, daemon

AT_ONCE = 50


async def waiting(running: Daemon, count: int) -> None:
    """Until so many calls wait for their turn."""
    async with asyncio.timeout(10):
        while json.loads((await running.get("/gateway/status"))[1])["slots"]["waiting"] < count:
            pass


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_nobody_in_flight_is_lost(sim: MarketStage, tmp_path: Path, signum: signal.Signals) -> None:
    """Fifty callers inside when the signal comes: all get their answers, later ones a clear no."""
    async with daemon(sim.url, tmp_path) as running:
        sim.faults.add("delay", path="/portfolio/accounts", seconds=0.1)
        inside = [
            asyncio.create_task(running.get("/portfolio/accounts", **{"X-Bridge-Wait": "30"})) for _ in range(AT_ONCE)
        ]
        await waiting(running, AT_ONCE - 3)

        running.signal(signum)
        await running.until("bridge.stopping")
        health, late = await running.get("/health"), await running.get("/portfolio/accounts")
        ready = await running.get("/readyz")
        answers = await asyncio.gather(*inside)
        status = await running.ended()

    assert [answer[0] for answer in answers] == [200] * AT_ONCE
    assert health == (503, b'{"status":"stopping","bridge":"draining"}')
    assert (ready[0], late[0], json.loads(late[1])["code"]) == (503, 503, "shutting_down")
    assert status == 0
    assert running.lines[-1]["event"] == "bridge.stopped"
    assert running.lines[-1]["unfinished"] == 0


@pytest.mark.slow
async def test_an_order_in_flight_is_waited_for_longer(sim: MarketStage, tmp_path: Path) -> None:
    """Its outcome is worth more than a quick end: twelve seconds are more than reads are given."""
    async with daemon(sim.url, tmp_path) as running:
        sim.faults.add("delay", path=Placed().target, seconds=12)
        headers = {"X-Bridge-Key": KEY}
        order = asyncio.create_task(
            running.client.post(running.url + Placed().target, json=Placed().body, headers=headers)
        )
        await sim.wait_for_calls(Placed().target, 1)

        running.signal(signal.SIGTERM)
        reply = await order
        placed = await reply.json()
        status = await running.ended()

    assert (reply.status, placed[0]["order_status"]) == (200, "Submitted")
    assert status == 0


async def test_cookies_survive_a_restart_in_a_private_file(sim: MarketStage, tmp_path: Path) -> None:
    """What the Gateway set before is sent back to it afterwards, and to nobody else."""
    cookies = {"Set-Cookie": "api.nn=kept-over-restarts; Path=/"}
    sim.faults.add("status", path="/portfolio/subaccounts", times=1, status=200, body="[]", headers=cookies)
    async with daemon(sim.url, tmp_path) as running:
        await running.get("/portfolio/subaccounts")
        running.signal(signal.SIGTERM)
        await running.ended()

    files = [path for path in tmp_path.iterdir() if path.is_file()]
    async with daemon(sim.url, tmp_path) as running:
        await running.get("/portfolio/accounts")

    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    if not isinstance(sim, Simulator):
        return  # a real Gateway throws clients' cookies away, and shows nobody which they were
    assert "kept-over-restarts" in (sim.gateway_calls("/portfolio/accounts")[-1].header("Cookie") or "")


async def test_a_cookie_file_of_garbage_is_set_aside(sim: MarketStage, tmp_path: Path) -> None:
    """Not fatal, and not lost."""
    (tmp_path / "main.cookies.json").write_bytes(b"\x80\x04garbage")

    async with daemon(sim.url, tmp_path) as running:
        running.signal(signal.SIGTERM)
        status = await running.ended()

    assert status == 0
    assert "cookies.set_aside" in {line["event"] for line in running.lines}
    assert (tmp_path / "main.cookies.unreadable").read_bytes() == b"\x80\x04garbage"


async def test_a_full_disk_is_said_once_and_survived(sim: MarketStage, tmp_path: Path) -> None:
    """No byte can be written any more: the bridge goes on, and says what is not kept."""
    async with daemon(sim.url, tmp_path, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))) as running:
        answers = [await running.get("/portfolio/accounts") for _ in range(3)]
        running.signal(signal.SIGTERM)
        status = await running.ended()

    told = [line["what"] for line in running.lines if line["event"] == "state.unavailable"]
    assert [answer[0] for answer in answers] == [200] * 3
    assert sorted(told) == ["the cookie file", "the file of paces", "the journal of orders", "the state directory"]
    assert status == 0


async def test_a_loop_that_ends_takes_the_daemon_down(
    sim: MarketStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper that has died in silence would be the worst state of all: systemd starts us afresh instead."""

    async def dies(_: CookieStore) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(CookieStore, "run_loop", dies)

    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        (died,) = await harness.wait_for_events(LoopDied)
        alive = await harness.get("/livez", key=None)

    assert (alive.status, alive.body) == (503, b"a loop has ended: ZeroDivisionError")
    assert harness.bridge.failed
    assert harness.bridge.stop.is_set()
    assert isinstance(died, LoopDied)
    assert (died.error, "test_ending.py" in died.places) == ("ZeroDivisionError", True)
