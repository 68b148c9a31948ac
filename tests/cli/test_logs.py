"""`bridge.py logs`: the command that it runs in its place."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command_runner import EXIT_FAILURE, Place

FAKE = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


def printed(place: Place, *words: str) -> list[str]:
    """The arguments with which journalctl is called."""
    folder = place.home / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "journalctl").write_text(FAKE)
    (folder / "journalctl").chmod(0o755)
    return place.run("logs", *words, PATH=f"{folder}:/usr/bin:/bin").stdout.splitlines()


def test_the_last_lines_of_the_unit_are_shown(place: Place) -> None:
    """Without a pager, since its output may go elsewhere."""
    assert printed(place) == ["--unit=ibkr-bridge", "--lines=50", "--no-pager"]


def test_lines_are_chosen_by_field(place: Place) -> None:
    """The names of the fields are those of the journal."""
    arguments = printed(
        place, "-f", "-n", "5", "--problems", "--event", "session.lost", "--order", "o-1", "--since", "today"
    )

    assert arguments == [
        *("--unit=ibkr-bridge", "--lines=5", "--follow", "--since=today", "--priority=warning"),
        *("BRIDGE_EVENT=session.lost", "ORDER=o-1"),
    ]


def test_a_machine_without_journalctl_is_told(place: Place, tmp_path: Path) -> None:
    """There the log is in the terminal, or with Docker."""
    result = place.run("logs", PATH=str(tmp_path))

    assert result.returncode == EXIT_FAILURE
    assert "journalctl is not installed" in result.stderr
