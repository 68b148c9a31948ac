"""`bridge.py resume`: new orders are allowed again."""

from __future__ import annotations

from ibkr_bridge.cli.resume import describe
from tests.cli.command_runner import EXIT_OK, Demo, Place


def test_a_pause_ends(place: Place, running: Demo) -> None:
    """Also if there was none."""
    place.run("pause", **running.env)

    first, second = place.run("resume", **running.env), place.run("resume", **running.env)

    assert (first.returncode, second.returncode) == (EXIT_OK, EXIT_OK)
    assert first.stdout == "New orders are allowed again.\n"
    assert running.get("/gateway/status").json()["paused"] is None


def test_an_end_that_cannot_be_saved_is_told() -> None:
    """After a restart orders would be refused again."""
    assert "until a restart" in describe({"paused": False, "kept": False})
