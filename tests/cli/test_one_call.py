"""Commands that send one request: what they say if it fails."""

from __future__ import annotations

import json

import pytest

from ibkr_bridge.cli.one_call import escape_lines
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, KEY, Place, free_port


@pytest.mark.parametrize("command", ["pause", "resume", "reconnect"])
def test_a_missing_bridge_is_told(place: Place, command: str) -> None:
    """With how to start it; scripts read the exit status."""
    env = {"IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}", "IBKR_BRIDGE_KEY": KEY}

    words, data = place.both(command, **env)

    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert "start the bridge" in words.stdout
    assert "start the bridge" in json.loads(data.stdout)["error"]


def test_settings_that_cannot_be_used_are_reported(place: Place) -> None:
    """As the daemon would report them."""
    result = place.run("pause", IBKR_BRIDGE_KEY="short", IBKR_BRIDGE_URL="http://127.0.0.1:1")

    assert result.returncode == EXIT_MISCONFIGURED
    assert "IBKR_BRIDGE_KEY" in result.stderr


def test_no_control_character_of_an_answer_reaches_the_terminal() -> None:
    """The lines of the command's own text stay."""
    assert escape_lines("a\x1b[2J\nb") == "a\\x1b[2J\nb"
