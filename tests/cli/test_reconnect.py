"""`bridge.py reconnect`: the session is checked now."""

from __future__ import annotations

from tests.cli.command_runner import EXIT_OK, Demo, Place


def test_a_ready_session_is_checked_and_not_requested(place: Place, running: Demo) -> None:
    """A second request would end the first one."""
    result = place.run("reconnect", **running.env)

    lines = result.stdout.splitlines()
    assert result.returncode == EXIT_OK
    assert lines[0] == "READY: signed in, brokerage calls work"
    assert lines[1].startswith("  nothing was requested: ")
    assert lines[2].startswith("  next: ")
