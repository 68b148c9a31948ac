"""`bridge.py rotate-key`, with a bridge whose key is in a `.env`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Place, free_port
from tests.cli.test_terminal import Pty


@pytest.fixture
def url() -> str:
    """Where the bridge listens."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def place(tmp_path: Path, url: str) -> Place:
    """A directory with a `.env`."""
    place = Place(tmp_path)
    place.write_dotenv(f"IBKR_BRIDGE_URL={url}\nIBKR_BRIDGE_KEY={KEY}\n")
    return place


@pytest.fixture
def serving(place: Place) -> Iterator[Place]:
    """A bridge runs there."""
    with place.running("serve") as bridge:
        bridge.wait_for("bridge.started")
        yield place


def status_of(url: str, key: str) -> int:
    """The status of a call with this key."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{url}/gateway/status", headers={"X-Bridge-Key": key}, timeout=20).status_code


def key_in(place: Place) -> str:
    """The key in the `.env`."""
    return place.dotenv.read_text().partition("IBKR_BRIDGE_KEY=")[2].partition("\n")[0]


def test_the_key_is_replaced_in_one_command(serving: Place, url: str) -> None:
    """No key is printed."""
    result = serving.run("rotate-key", "--wait", "0")
    new = key_in(serving)

    assert result.returncode == EXIT_OK, result.stderr
    assert (status_of(url, KEY), status_of(url, new)) == (401, 200)
    assert "PREVIOUS" not in serving.dotenv.read_text()
    assert new not in result.stdout + result.stderr
    assert KEY not in result.stdout + result.stderr


def test_an_interrupted_rotation_goes_on(serving: Place, url: str) -> None:
    """While it waits both keys are accepted, and a kill leaves it so."""
    with serving.running("rotate-key", "--wait", "60") as command:
        command.wait_for("Give the callers the key")
        both = status_of(url, KEY), status_of(url, key_in(serving))
        command.process.kill()
        command.wait()
    new = key_in(serving)
    result = serving.run("rotate-key", "--wait", "0")

    assert both == (200, 200)
    assert "has begun already" in result.stderr
    assert key_in(serving) == new != KEY
    assert (status_of(url, KEY), status_of(url, new)) == (401, 200)


def test_a_last_reload_that_failed_is_repeated(serving: Place, url: str) -> None:
    """The former key is gone from the file, and the bridge still accepts it: no new rotation may begin."""
    good = serving.dotenv.read_text()
    with serving.running("rotate-key", "--wait", "60") as command:
        command.wait_for("Give the callers the key")
        command.process.kill()
        command.wait()
    new = key_in(serving)
    (serving.home / "state" / "key_rotation").touch()
    serving.write_dotenv(good.replace(KEY, new))  # as the last step writes both

    result = serving.run("rotate-key", "--wait", "0")

    assert result.returncode == EXIT_OK, result.stderr
    assert "the end of an earlier rotation" in result.stderr
    assert key_in(serving) == new
    assert (status_of(url, KEY), status_of(url, new)) == (401, 200)


def test_the_new_key_is_shown_if_asked_for(place: Place) -> None:
    """For a script that passes it on. No bridge runs here."""
    result = place.run("rotate-key", "--wait", "0", "--show")

    assert result.returncode == EXIT_OK
    assert result.stdout.strip() == key_in(place) != KEY
    assert "the next one that starts" in result.stderr


def test_nothing_begins_with_unusable_settings(place: Place) -> None:
    """The bridge would refuse the reload."""
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_TRADING_MODE=real\n")

    assert place.run("rotate-key", "--wait", "0").returncode == EXIT_MISCONFIGURED
    assert key_in(place) == KEY


@pytest.mark.parametrize("words", [("--wait", "-1"), ("--wait", "nan"), ("--wait", "x"), ("--wait", "1e9")])
def test_a_wait_that_makes_no_sense_is_refused(place: Place, words: tuple[str, ...]) -> None:
    """Before anything is written."""
    assert place.run("rotate-key", *words).returncode == EXIT_FAILURE
    assert key_in(place) == KEY


def test_enter_ends_the_wait(serving: Place, url: str) -> None:
    """On a terminal, when the person has changed the callers."""
    terminal = Pty(serving, ("rotate-key",), {})
    terminal.wait_for("press Enter")
    os.write(terminal.descriptor, b"\n")

    assert terminal.end() == EXIT_OK
    assert (status_of(url, KEY), status_of(url, key_in(serving))) == (401, 200)
    os.close(terminal.descriptor)


def test_ctrl_c_leaves_both_keys(serving: Place, url: str) -> None:
    """And says how to go on."""
    terminal = Pty(serving, ("rotate-key",), {})
    terminal.wait_for("press Enter")
    os.write(terminal.descriptor, b"\x03")

    assert terminal.end() == EXIT_FAILURE
    assert "To go on: bridge.py rotate-key" in terminal.output
    assert (status_of(url, KEY), status_of(url, key_in(serving))) == (200, 200)
    os.close(terminal.descriptor)
