"""The notifications of a running bridge, and the variables that systemd sets."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ibkr_bridge.observe.systemd import ALIVE, SystemdNotifier, watchdog_interval
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, settings_for
from tests.observe.notify_socket import FakeSystemd

OWN_PID = str(os.getpid())


async def test_the_status_shows_the_state_of_the_session(sim: Simulator, tmp_path: Path) -> None:
    """`systemctl status` shows that the bridge serves, then the session, then that the bridge stops."""
    with FakeSystemd(tmp_path) as systemd:
        async with Harness(settings_for(sim.url, tmp_path), env={"NOTIFY_SOCKET": systemd.address}) as harness:
            first = await systemd.wait_for("READY")
            await harness.wait_until(SessionState.READY)
            ready = await systemd.wait_for("STATUS", "ready")
            sim.log_out()
            lost = await systemd.wait_for("STATUS", "signed_out")
        await systemd.wait_for("STOPPING")

    assert first["READY"] == "1"
    assert first["STATUS"].startswith(("starting: ", "ready: "))
    assert ready["STATUS"] == "ready: the brokerage session is open"
    assert "sign in at" in lost["STATUS"]


async def test_signs_of_life_are_sent_while_the_loops_run(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loop has died none is sent, and systemd restarts the bridge."""
    env = {"WATCHDOG_USEC": "30000", "WATCHDOG_PID": OWN_PID}
    with FakeSystemd(tmp_path) as systemd:
        async with Harness(settings_for(sim.url, tmp_path), env={"NOTIFY_SOCKET": systemd.address, **env}) as harness:
            await harness.wait_until(SessionState.READY)
            await systemd.wait_for("WATCHDOG", "1")
            await systemd.wait_for("WATCHDOG", "1")
            harness.bridge.loop_monitor.mark_dead("a loop")
            await systemd.wait_for("STATUS", "stuck: a loop has ended")
            checks: list[str | None] = []
            real_problem = harness.bridge.loop_monitor.problem

            def count_checks() -> str | None:
                checks.append(real_problem())
                return checks[-1]

            monkeypatch.setattr(harness.bridge.loop_monitor, "problem", count_checks)
            while len(checks) < 3:  # a sign of life would have been due so often
                await harness.get("/health")

            assert systemd.has_no_message()


async def test_a_stuck_keeper_stops_the_signs_of_life(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop runs, but the session is no longer checked: that needs a restart."""
    with FakeSystemd(tmp_path) as systemd:
        env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "30000", "WATCHDOG_PID": OWN_PID}
        async with Harness(settings_for(sim.url, tmp_path), env=env) as harness:
            await harness.wait_until(SessionState.READY)
            monkeypatch.setattr(harness.bridge.profile.keeper, "problem", lambda: "the keeper is 99 s late")
            stuck = await systemd.wait_for("STATUS", "stuck")
            livez = await harness.get("/livez", key=None)
            is_silent = systemd.has_no_message()
            monkeypatch.undo()
            recovered = await systemd.wait_for("STATUS", "ready")

    assert stuck["STATUS"] == "stuck: the keeper is 99 s late"
    assert (livez.status, b"the keeper is" in livez.body, is_silent) == (503, True, True)
    assert recovered["WATCHDOG"] == "1"


@pytest.mark.parametrize(
    ("env", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": OWN_PID}, 10.0),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_are_sent_three_times_for_each_timeout(env: dict[str, str], interval_s: float | None) -> None:
    """And only if systemd watches this process."""
    assert watchdog_interval(env) == interval_s


def test_a_missing_listener_is_no_error(tmp_path: Path) -> None:
    """Neither for a path nor for an abstract name."""
    for address in (str(tmp_path / "nobody"), "@nobody-listens-here", ""):
        SystemdNotifier({"NOTIFY_SOCKET": address}).notify(ALIVE)


async def test_a_reload_begins_with_the_time_and_ends_with_ready(tmp_path: Path) -> None:
    """systemd compares that time with the time of its own request."""
    with FakeSystemd(tmp_path) as systemd:
        before = time.monotonic_ns() // 1000
        SystemdNotifier({"NOTIFY_SOCKET": systemd.address}).notify_reloading()

        message = await systemd.wait_for("RELOADING", "1")

    assert before <= int(message["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
