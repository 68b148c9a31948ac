"""`bridge.py open`: the page in a browser."""

from __future__ import annotations

import re
import sys

import pytest
import requests

from ibkr_bridge.cli import open as open_command
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, Demo, Place

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/#token=([\w.-]+)")


def test_a_headless_computer_gets_the_address_and_a_tunnel(place: Place, running: Demo) -> None:
    """The token is in the part of the address that no browser sends."""
    result = place.run("open", "--print", **running.env)
    found = ADDRESS.search(result.stdout)

    assert result.returncode == EXIT_OK
    assert found is not None
    assert re.search(r"ssh -L (\d+):127\.0\.0\.1:\1 \S+@this-host", result.stdout)
    headers = {"Authorization": f"Bearer {found[1]}"}
    answer = requests.post(f"{running.url}/page/session", headers=headers, timeout=10)
    assert answer.status_code == 200


@pytest.mark.parametrize("minutes", ["0", "1441", "x", "-5"])
def test_a_wrong_lifetime_is_refused(place: Place, running: Demo, minutes: str) -> None:
    """A day at most."""
    assert place.run("open", "--print", "--minutes", minutes, **running.env).returncode == EXIT_FAILURE


def test_without_a_bridge_it_says_how_to_start_one(place: Place) -> None:
    """As every command does."""
    env = {"IBKR_BRIDGE_URL": "http://127.0.0.1:9", "IBKR_BRIDGE_KEY": "a-key-for-this-test-alone-0123456789"}

    result = place.run("open", "--print", **env)

    assert result.returncode == EXIT_FAILURE
    assert "127.0.0.1:9" in result.stdout + result.stderr


def test_a_browser_in_the_terminal_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot show the page."""
    monkeypatch.setattr(sys, "platform", "linux")
    assert not open_command.has_display({"TERM": "xterm"})
    assert open_command.has_display({"WAYLAND_DISPLAY": "wayland-0"})
    monkeypatch.setattr(sys, "platform", "darwin")
    assert open_command.has_display({})
