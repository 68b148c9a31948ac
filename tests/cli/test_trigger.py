"""`bridge.py trigger`: faults in a running demo."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ibkr_bridge.sim.faults import KINDS
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, TIMEOUT_S, Demo, Place, demo, free_port

# one test alone reads each path, and the bridge reads neither, since responses are cached
LEDGER, META = "/portfolio/DU1234567/ledger", "/portfolio/DU1234567/meta"

TICKET = {"conid": 265598, "orderType": "MKT", "side": "BUY", "quantity": 1, "tif": "DAY"}  # IBKR asks nothing about it
ORDER = {"orders": [TICKET]}


def test_a_fault_is_active_until_it_is_cleared(place: Place, running: Demo) -> None:
    """The command lists the active faults."""
    added = place.run("trigger", "status", "--status", "418", "--path", LEDGER, "--port", running.port)
    faulty_status = running.get(LEDGER).status_code
    listed = place.run("trigger", "list", "--port", running.port)
    cleared = place.run("trigger", "clear", "--port", running.port)

    assert (added.returncode, added.stdout) == (EXIT_OK, "Active faults: status for /portfolio/DU1234567/ledger\n")
    assert faulty_status == 418
    assert listed.stdout == added.stdout
    assert cleared.stdout == "No fault is active.\n"
    assert running.get(LEDGER).status_code == 200


def test_a_fault_may_be_limited_to_a_number_of_calls(place: Place, running: Demo) -> None:
    """One bad response; the next one is good."""
    figures = ["--status", "500", "--path", META, "--times", "1"]
    place.run("trigger", "status", *figures, "--port", running.port)

    statuses = [running.get(META).status_code for _ in range(2)]

    assert statuses == [500, 200]


def wait_for_state(running: Demo, state: str) -> str:
    """Have the session checked until it is in this state, and return its last state: a busy machine takes a while."""
    deadline = time.monotonic() + TIMEOUT_S
    while (latest := str(running.post("/gateway/reconnect").json()["state"])) != state:
        if time.monotonic() > deadline:
            break
    return latest


def test_a_login_that_ends_and_comes_back(place: Place, running: Demo) -> None:
    """The app sees what happens every Sunday."""
    place.run("trigger", "sso-lost", "--port", running.port)
    gone = wait_for_state(running, "signed_out")
    place.run("trigger", "login", "--port", running.port)

    assert (gone, wait_for_state(running, "ready")) == ("signed_out", "ready")


def test_a_lost_brokerage_session_is_repaired_by_the_bridge(place: Place, running: Demo) -> None:
    """The brokerage session is reopened without anybody's help."""
    place.run("trigger", "brokerage-lost", "--port", running.port)

    assert wait_for_state(running, "ready") == "ready"
    running.running.wait_for("session.opening")


def test_the_demo_is_found_by_the_address_in_the_environment(place: Place, running: Demo) -> None:
    """The app uses the same setting."""
    result = place.run("trigger", "list", IBKR_BRIDGE_URL=running.url)

    assert result.returncode == EXIT_OK


def test_programs_get_json(place: Place, running: Demo) -> None:
    """The active faults, each with its options."""
    result = place.run("trigger", "delay", "--seconds", "0.5", "--path", "/x", "--json", "--port", running.port)

    (fault,) = json.loads(result.stdout)
    assert (fault["kind"], fault["seconds"], fault["path"]) == ("delay", 0.5, "/x")


def test_an_unknown_fault_is_explained(place: Place, running: Demo) -> None:
    """The message lists the known faults."""
    result = place.run("trigger", "earthquake", "--port", running.port)

    assert result.returncode not in (EXIT_OK, None)
    assert "earthquake" in result.stderr
    assert "Traceback" not in result.stderr
    assert all(kind in result.stderr for kind in KINDS)


def test_the_help_explains_each_fault(place: Place) -> None:
    """A person chooses a fault there."""
    result = place.run("trigger", "--help")

    assert result.returncode == EXIT_OK
    assert all(kind.description in result.stdout for kind in KINDS.values())
    assert "somebody signs in" in result.stdout


def test_a_missing_demo_is_reported(place: Place) -> None:
    """The message says what to start."""
    result = place.run("trigger", "silence", "--port", str(free_port()))

    assert (result.returncode, result.stdout) == (EXIT_FAILURE, "")
    assert "bridge.py demo" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_socket_left_by_a_dead_demo_is_no_demo(place: Place, tmp_path: Path) -> None:
    """A demo that is killed cannot remove it."""
    with demo(Place(tmp_path)) as dying:
        port = dying.port
        dying.running.process.kill()
        dying.running.wait()

    result = Place(tmp_path).run("trigger", "list", "--port", port)

    assert [path for path in tmp_path.rglob(f"{port}.sock") if path.is_socket()]
    assert result.returncode == EXIT_FAILURE
    assert "bridge.py demo" in result.stderr


@pytest.mark.slow
def test_clear_ends_the_penalty_box_of_the_demo(place: Place, running: Demo) -> None:
    """It would last fifteen minutes. The bridge works at once."""
    wait_for_state(running, "ready")
    place.run("trigger", "429", "--path", "/portfolio/", "--port", running.port)
    refused = [running.get(f"/portfolio/DU1234567/{name}").status_code for name in ("allocation", "performance")]
    boxed = running.get("/gateway/status").json()["penalty"]["box_s"]

    cleared = place.run("trigger", "clear", "--port", running.port)

    assert refused == [429, 429]
    assert boxed > 0
    assert cleared.stdout == "No fault is active.\n"
    assert running.get("/gateway/status").json()["penalty"] == {"box_s": 0, "endpoints": {}}
    assert running.get("/portfolio/DU1234567/allocation").status_code == 200


@pytest.mark.parametrize("fault", ["competing", "competing-stays", "sso-lost", "restart", "brokerage-lost"])
def test_clear_brings_the_session_back(place: Place, running: Demo, fault: str) -> None:
    """Nobody has to guess which other command does."""
    place.run("trigger", fault, "--port", running.port)
    running.post("/gateway/reconnect")

    place.run("trigger", "clear", "--port", running.port)

    assert wait_for_state(running, "ready") == "ready"


def test_clear_releases_calls_that_are_held(place: Place, running: Demo) -> None:
    """Each would hold one of the bridge's four slots for two minutes."""
    held = [f"/iserver/contract/{number}/info" for number in (265598, 8314)]
    place.run("trigger", "silence", "--path", "/contract/", "--port", running.port)
    with ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(running.get, path) for path in held]
        while running.get("/gateway/status").json()["slots"]["taken"] < 2:
            pass
        place.run("trigger", "clear", "--port", running.port)
        [reply.result(TIMEOUT_S) for reply in replies]

    assert running.get("/gateway/status").json()["slots"] | {"total": 0} == {
        "total": 0,
        "taken": 0,
        "waiting": 0,
        "ghost_calls": 0,
    }


@pytest.mark.slow
def test_clear_says_what_it_cannot_undo(place: Place, running: Demo) -> None:
    """An order that IBKR carried out exists, also if the fault is used up."""
    path = ["--path", "/DU1234567/orders$", "--times", "1"]
    place.run("trigger", "done-cut-before", *path, "--port", running.port)
    placed = running.post("/iserver/account/DU1234567/orders", ORDER)

    cleared = place.run("trigger", "clear", "--port", running.port)
    again = place.run("trigger", "clear", "--port", running.port)

    assert placed.json()["code"] == "order_unknown"
    assert "Not restored: an order that IBKR carried out" in cleared.stdout
    assert again.stdout == "No fault is active.\n"
    while running.get("/orders?state=unknown").json()["orders"]:  # other tests of this demo expect none
        pass
