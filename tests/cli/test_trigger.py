"""`bridge.py trigger`: everything that can go wrong, made to go wrong in a running demo."""

from __future__ import annotations

import json
from pathlib import Path

from ibkr_bridge.sim.faults import KINDS
from tests.cli.typed import BAD, GOOD, Demo, Place, demo, free_port

# each asked by one test, and not by the bridge itself: answers are remembered
LEDGER, META = "/portfolio/DU1234567/ledger", "/portfolio/DU1234567/meta"


def test_a_fault_is_at_work_until_it_is_cleared(place: Place, running: Demo) -> None:
    """And the command tells what is."""
    added = place.run("trigger", "status", "--status", "418", "--path", LEDGER, "--port", running.port)
    spoilt = running.get(LEDGER).status_code
    listed = place.run("trigger", "list", "--port", running.port)
    cleared = place.run("trigger", "clear", "--port", running.port)

    assert (added.returncode, added.stdout) == (GOOD, "At work: status for /portfolio/DU1234567/ledger\n")
    assert spoilt == 418
    assert listed.stdout == added.stdout
    assert cleared.stdout == "Nothing is at work; all is well.\n"
    assert running.get(LEDGER).status_code == 200


def test_a_fault_may_be_for_so_many_calls(place: Place, running: Demo) -> None:
    """One bad answer, and all is well again."""
    figures = ["--status", "500", "--path", META, "--times", "1"]
    place.run("trigger", "status", *figures, "--port", running.port)

    statuses = [running.get(META).status_code for _ in range(2)]

    assert statuses == [500, 200]


def test_a_login_that_ends_and_comes_back(place: Place, running: Demo) -> None:
    """An app sees what it will see on a Sunday."""
    place.run("trigger", "sso-lost", "--port", running.port)
    gone = running.post("/gateway/reconnect").json()
    place.run("trigger", "login", "--port", running.port)
    back = running.post("/gateway/reconnect").json()

    assert (gone["state"], back["state"]) == ("signed_out", "ready")


def test_a_lost_brokerage_session_is_repaired_by_the_bridge(place: Place, running: Demo) -> None:
    """Which is what it is for."""
    place.run("trigger", "brokerage-lost", "--port", running.port)

    assert running.post("/gateway/reconnect").json()["state"] == "ready"
    running.running.until("session.opening")


def test_the_demo_is_found_by_the_address_in_the_environment(place: Place, running: Demo) -> None:
    """The same line the app uses."""
    told = place.run("trigger", "list", IBKR_BRIDGE_URL=running.url)

    assert told.returncode == GOOD


def test_programs_get_json(place: Place, running: Demo) -> None:
    """What is at work, each with its figures."""
    told = place.run("trigger", "delay", "--seconds", "0.5", "--path", "/x", "--json", "--port", running.port)

    (fault,) = json.loads(told.stdout)
    assert (fault["kind"], fault["seconds"], fault["path"]) == ("delay", 0.5, "/x")


def test_an_unknown_fault_is_explained(place: Place, running: Demo) -> None:
    """The known ones are listed."""
    told = place.run("trigger", "earthquake", "--port", running.port)

    assert told.returncode not in (GOOD, None)
    assert "earthquake" in told.stderr
    assert "Traceback" not in told.stderr
    assert all(kind in told.stderr for kind in KINDS)


def test_the_help_says_what_each_does(place: Place) -> None:
    """A person chooses from it."""
    told = place.run("trigger", "--help")

    assert told.returncode == GOOD
    assert all(kind.says in told.stdout for kind in KINDS.values())
    assert "somebody signs in" in told.stdout


def test_no_demo_is_said(place: Place) -> None:
    """With what to start."""
    told = place.run("trigger", "silence", "--port", str(free_port()))

    assert (told.returncode, told.stdout) == (BAD, "")
    assert "bridge.py demo" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_socket_left_by_a_dead_demo_is_no_demo(place: Place, tmp_path: Path) -> None:
    """A demo that was killed leaves it behind."""
    with demo(Place(tmp_path)) as dying:
        port = dying.port
        dying.running.process.kill()
        dying.running.ended()

    told = Place(tmp_path).run("trigger", "list", "--port", port)

    assert [path for path in tmp_path.rglob(f"{port}.sock") if path.is_socket()]
    assert told.returncode == BAD
    assert "bridge.py demo" in told.stderr
