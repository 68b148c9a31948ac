"""What systemd is told, and what it hands over."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ibkr_bridge.observe.systemd import ALIVE, SystemdNotifier, watchdog_interval
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, settings_for
from tests.observe.notified import Manager

ME = str(os.getpid())


async def test_the_status_tells_the_session_in_words(sim: Simulator, tmp_path: Path) -> None:
    """`systemctl status` shows it: ready to serve at once, then how the session is, then that we stop."""
    with Manager(tmp_path) as manager:
        async with Harness(settings_for(sim.url, tmp_path), env={"NOTIFY_SOCKET": manager.address}) as harness:
            first = await manager.until("READY")
            await harness.wait_until(SessionState.READY)
            ready = await manager.until("STATUS", "ready")
            sim.log_out()
            lost = await manager.until("STATUS", "signed_out")
        await manager.until("STOPPING")

    assert first["READY"] == "1"
    assert first["STATUS"].startswith(("starting: ", "ready: "))
    assert ready["STATUS"] == "ready: the brokerage session is open"
    assert "sign in at" in lost["STATUS"]


async def test_the_watchdog_is_fed_while_the_loops_go_round(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that has died is told by silence; systemd starts us anew."""
    env = {"WATCHDOG_USEC": "30000", "WATCHDOG_PID": ME}
    with Manager(tmp_path) as manager:
        async with Harness(settings_for(sim.url, tmp_path), env={"NOTIFY_SOCKET": manager.address, **env}) as harness:
            await harness.wait_until(SessionState.READY)
            await manager.until("WATCHDOG", "1")
            await manager.until("WATCHDOG", "1")
            harness.bridge.loop_monitor.mark_dead("a loop")
            await manager.until("STATUS", "stuck: a loop has ended")
            looks: list[str | None] = []
            trouble = harness.bridge.loop_monitor.problem

            def counted() -> str | None:
                looks.append(trouble())
                return looks[-1]

            monkeypatch.setattr(harness.bridge.loop_monitor, "problem", counted)
            while len(looks) < 3:  # so often a sign would have been due
                await harness.get("/health")

            assert manager.nothing_came()


async def test_a_stuck_keeper_is_not_vouched_for(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop goes round, the session is not looked at any more: that is worth a restart."""
    with Manager(tmp_path) as manager:
        env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000", "WATCHDOG_PID": ME}
        async with Harness(settings_for(sim.url, tmp_path), env=env) as harness:
            await harness.wait_until(SessionState.READY)
            monkeypatch.setattr(harness.bridge.profile.keeper, "problem", lambda: "the keeper is 99 s late")
            told = await manager.until("STATUS", "stuck")
            livez = await harness.get("/livez", key=None)
            silent = manager.nothing_came()
            monkeypatch.undo()
            again = await manager.until("STATUS", "ready")

    assert told["STATUS"] == "stuck: the keeper is 99 s late"
    assert (livez.status, b"the keeper is" in livez.body, silent) == (503, True, True)
    assert again["WATCHDOG"] == "1"


@pytest.mark.parametrize(
    ("env", "pause"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ME}, 10.0),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_come_three_times_as_often_as_they_must(env: dict[str, str], pause: float | None) -> None:
    """And only where this very process is watched."""
    assert watchdog_interval(env) == pause


def test_a_manager_that_does_not_listen_stops_nothing(tmp_path: Path) -> None:
    """Nor does an abstract name nobody holds."""
    for address in (str(tmp_path / "nobody"), "@nobody-listens-here", ""):
        SystemdNotifier({"NOTIFY_SOCKET": address}).notify(ALIVE)


async def test_a_reload_begins_with_the_time_and_ends_with_ready(tmp_path: Path) -> None:
    """As `systemctl reload` waits for it."""
    with Manager(tmp_path) as manager:
        before = time.monotonic_ns() // 1000
        SystemdNotifier({"NOTIFY_SOCKET": manager.address}).notify_reloading()

        said = await manager.until("RELOADING", "1")

    assert before <= int(said["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
