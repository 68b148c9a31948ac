"""`bridge.py keys`, with a running bridge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Demo, Place


def status_of(demo: Demo, key: str, method: str = "GET", path: str = "/gateway/status") -> int:
    """The status of a call with this key."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, f"{demo.url}{path}", headers={"X-Bridge-Key": key}, timeout=20).status_code


@pytest.fixture
def lonely(tmp_path: Path) -> Place:
    """A place where no bridge runs."""
    place = Place(tmp_path)
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\n")
    return place


def test_a_key_works_until_it_is_revoked(running: Demo, place: Place) -> None:
    """Both at once: the commands reload the bridge and wait for it."""
    made = place.run("keys", "add", "dashboard", "--read")
    key = made.stdout.strip()
    while_live = status_of(running, key), status_of(running, key, "POST", "/gateway/pause")
    revoked = place.run("keys", "revoke", "dashboard")

    assert (made.returncode, revoked.returncode) == (EXIT_OK, EXIT_OK), made.stderr + revoked.stderr
    assert while_live == (200, 403)
    assert status_of(running, key) == 401


def test_a_reload_of_a_demo_needs_no_restart(running: Demo, place: Place) -> None:
    """The address of its Gateway is its own, not that of the environment; a restart would end the demo."""
    place.run("keys", "add", "reloads", "--read")
    status = json.loads(place.run("status", "--json").stdout)
    place.run("keys", "revoke", "reloads")

    assert status["restart_needed"] == []
    assert "restart_needed" not in [each["id"] for each in status["conditions"]]


def test_a_key_that_trades_may_do_everything(running: Demo, place: Place) -> None:
    """As the full key does."""
    key = json.loads(place.run("keys", "add", "bot", "--trade", "--json").stdout)["key"]

    assert status_of(running, key, "POST", "/gateway/resume") == 200
    assert place.run("keys", "revoke", "bot").returncode == EXIT_OK


def test_two_keys_of_a_name_live_together(running: Demo, place: Place) -> None:
    """The caller changes without a failed call."""
    older, newer = (place.run("keys", "add", "pair", "--read").stdout.strip() for _ in range(2))
    both = status_of(running, older), status_of(running, newer)
    place.run("keys", "revoke", "pair", "--older")

    assert both == (200, 200)
    assert (status_of(running, older), status_of(running, newer)) == (401, 200)
    assert place.run("keys", "revoke", "pair").returncode == EXIT_OK


def test_tokens_end_with_their_key(running: Demo, place: Place) -> None:
    """A page that has one would go on reading otherwise."""
    key = place.run("keys", "add", "pages", "--read").stdout.strip()
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{running.url}/auth/token", headers={"X-Bridge-Key": key}, timeout=20).json()
        bearer = {"Authorization": f"Bearer {answer['token']}"}
        before = session.get(f"{running.url}/gateway/status", headers=bearer, timeout=20).status_code
        place.run("keys", "revoke", "pages")
        after = session.get(f"{running.url}/gateway/status", headers=bearer, timeout=20).status_code

    assert (before, after) == (200, 401)


def test_the_list_shows_no_key(lonely: Place) -> None:
    """A key is shown once, and a list is looked at often."""
    key = lonely.run("keys", "add", "bot", "--trade").stdout.strip()

    words, data = lonely.both("keys", "list")

    assert words.stdout.startswith("bot ")
    assert json.loads(data.stdout)["keys"][0]["scope"] == "trade"
    assert key not in words.stdout + data.stdout
    assert key[6:14] not in words.stdout + data.stdout


def test_without_a_bridge_the_next_start_reads_the_key(lonely: Place) -> None:
    """That is no failure, and the command says so."""
    result = lonely.run("keys", "add", "bot", "--read")

    assert result.returncode == EXIT_OK
    assert "the next one that starts reads the change" in result.stderr
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("add", "Full!", "--read"), "the name cannot be used"),
        (("add", "bot"), "one of the arguments --read --trade --manage is required"),
        (("revoke", "nobody"), "there is no key of this name"),
        ((), "required"),
    ],
)
def test_a_mistake_changes_nothing(lonely: Place, words: tuple[str, ...], text: str) -> None:
    """And the text says what to write."""
    result = lonely.run("keys", *words)

    assert result.returncode == EXIT_FAILURE
    assert text in result.stderr
    assert not (lonely.home / "state" / "keys.json").exists()


def test_a_damaged_file_is_not_replaced(lonely: Place) -> None:
    """It may have keys that somebody uses."""
    state = lonely.home / "state"
    state.mkdir(mode=0o700)
    (state / "keys.json").write_text('{"keys": [')

    result = lonely.run("keys", "add", "bot", "--read")

    assert result.returncode == EXIT_FAILURE
    assert "keys.json has an error" in result.stderr
    assert (state / "keys.json").read_text() == '{"keys": ['


def test_unusable_settings_end_with_78(tmp_path: Path) -> None:
    """As every command that needs them."""
    assert Place(tmp_path).run("keys", "list").returncode == EXIT_MISCONFIGURED
