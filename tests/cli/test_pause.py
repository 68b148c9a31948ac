"""`bridge.py pause`: new orders are stopped."""

from __future__ import annotations

import json

from ibkr_bridge.cli.pause import describe
from tests.cli.command_runner import EXIT_OK, Demo, Place


def test_new_orders_are_stopped(place: Place, running: Demo) -> None:
    """It says who stopped them, and that a restart changes nothing."""
    words, data = place.both("pause", **running.env)
    paused = running.get("/gateway/status").json()["paused"]
    place.run("resume", **running.env)

    assert (words.returncode, data.returncode) == (EXIT_OK, EXIT_OK)
    assert words.stdout.startswith("New orders are stopped, also after a restart. Set by full key at ")
    assert json.loads(data.stdout)["paused"] is True
    assert paused["by"] == "full key"


def test_a_pause_that_cannot_be_saved_is_told() -> None:
    """After a restart orders would be sent again."""
    text = describe({"paused": True, "by": "full key", "since": "now", "kept": False})

    assert "but not after a restart" in text
