"""`bridge.py profile`, with a running bridge."""

from __future__ import annotations

import json

from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, Demo, Place
from tests.cli.test_keys import status_of


def test_a_profile_is_made_listed_and_forgotten(running: Demo, place: Place) -> None:
    """Its Gateway does not run, so it is listed as unreachable with the words that help."""
    made = place.run("profile", "new", "anna", "--set", "gateway_url=http://127.0.0.1:9", "--user", "user-17")
    key = made.stdout.strip()
    listed = json.loads(place.run("profile", "list", "--json").stdout)["profiles"]
    as_text = place.run("profile", "list").stdout
    while_live = status_of(running, key, path="/profiles")
    forgotten = place.run("profile", "forget", "anna")

    assert (made.returncode, forgotten.returncode) == (EXIT_OK, EXIT_OK), made.stderr + forgotten.stderr
    assert [(each["name"], each["user"]) for each in listed] == [("main", ""), ("anna", "user-17")]
    assert "anna             gateway  paper" in as_text
    assert (while_live, status_of(running, key, path="/profiles")) == (200, 401)
    assert "shown once" in made.stderr
    assert key not in place.run("profile", "list", "--json").stdout


def test_a_profile_is_paused_and_resumed(running: Demo, place: Place) -> None:
    """`main` can be paused here too."""
    paused = place.run("profile", "pause", "main")
    resumed = place.run("profile", "resume", "main", "--json")

    assert (paused.returncode, resumed.returncode) == (EXIT_OK, EXIT_OK)
    assert "orders paused" in paused.stdout
    assert json.loads(resumed.stdout)["paused"] is False


def test_the_state_and_the_history_of_a_profile_need_no_key_of_it(running: Demo, place: Place) -> None:
    """Nobody has the key of a user at three in the morning."""
    place.run("profile", "new", "dora", "--set", "gateway_url=http://127.0.0.1:11")
    status = place.run("profile", "status", "dora")
    ready = place.run("profile", "status", "main", "--json")
    history = place.run("profile", "history", "dora", "--days", "1")
    verified = place.run("orders", "verify", "--profile", "dora")
    wrong = place.run("orders", "verify", "--profile", "../dora")
    place.run("profile", "forget", "dora")

    assert (status.returncode, ready.returncode) == (EXIT_FAILURE, EXIT_OK)
    assert "UNREACHABLE" in status.stdout
    assert (json.loads(ready.stdout)["state"], json.loads(ready.stdout)["authenticated"]) == ("ready", True)
    assert "In the last day: " in history.stdout
    assert (verified.returncode, verified.stdout) == (EXIT_OK, "0 entries, all unchanged\n")
    assert "invalid profile_name value" in wrong.stderr


def test_a_second_key_is_made(running: Demo, place: Place) -> None:
    """It only reads."""
    place.run("profile", "new", "ben", "--set", "gateway_url=http://127.0.0.1:10")
    key = place.run("profile", "keys", "ben", "--read").stdout.strip()

    assert (status_of(running, key, path="/profiles"), status_of(running, key, "POST", "/gateway/pause")) == (200, 403)
    assert place.run("profile", "forget", "ben").returncode == EXIT_OK


def test_what_cannot_be_done_is_said(running: Demo, place: Place) -> None:
    """In one line, with the exit status of a failure."""
    nobody = place.run("profile", "pause", "nobody")
    wrong = place.run("profile", "new", "carl", "--set", "region=moon", "--json")
    unknown = place.run("profile", "new", "carl", "--set", "colour=red")

    assert (nobody.returncode, wrong.returncode, unknown.returncode) == (EXIT_FAILURE,) * 3
    assert "there is no such profile" in nobody.stderr
    assert "region: found 'moon'" in json.loads(wrong.stdout)["error"]
    assert "max_order_value" in unknown.stderr
