"""`bridge.py demo --users`: a second user, who connects with what the demo prints and writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.cli.command_runner import TIMEOUT_S, Demo, Place, demo

CALLBACK = "http://127.0.0.1:3999/callback"


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Demo, dict[str, str]]]:
    """A demo with two users, and the settings that it has written for an app."""
    place = Place(tmp_path_factory.mktemp("users"))
    file = place.home / "app.env"
    words = ("--users", "--activation-seconds", "0", "--callback", CALLBACK, "--write-env", str(file))
    with demo(place, *words) as running:
        yield running, dict(line.split("=", 1) for line in file.read_text().splitlines())


def send(method: str, url: str, **options: Any) -> requests.Response:
    """A request past any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **options)


def test_an_app_gets_a_key_for_both_users_and_one_that_manages(users: tuple[Demo, dict[str, str]]) -> None:
    """Ben is not connected, or no more: these tests run in any order."""
    running, env = users
    reached = send("GET", f"{running.url}/profiles", headers={"X-Bridge-Key": env["IBKR_BRIDGE_KEY"]}).json()[
        "profiles"
    ]
    admin = {"X-Bridge-Key": env["IBKR_BRIDGE_ADMIN_KEY"]}
    connection = send("DELETE", f"{running.url}/profiles/ben/connection", headers=admin).json()

    assert env["IBKR_BRIDGE_URL"] == running.url
    assert [(each["name"], each["ready"]) for each in reached] == [("main", True), ("ben", False)]
    assert (connection["step"], connection["kinds"]) == ("not_begun", ["oauth1a", "oauth1a-third-party"])
    assert "A simulated api.ibkr.com listens at" in running.running.output
    assert env["IBKR_BRIDGE_ADMIN_KEY"] not in running.running.read_output()


def test_ben_connects_through_the_company_of_the_demo(users: tuple[Demo, dict[str, str]]) -> None:
    """The page of the simulated IBKR sends him to the callback of the app."""
    running, env = users
    admin = {"X-Bridge-Key": env["IBKR_BRIDGE_ADMIN_KEY"]}
    path = f"{running.url}/profiles/ben/connection"
    begun = send("POST", path, headers=admin, json={"kind": "oauth1a-third-party"}).json()
    address, _, query = begun["page"].partition("?")
    form = {"oauth_token": query.partition("=")[2], "username": "ben", "answer": "yes"}
    back = send("POST", address, data=form).headers["Location"]
    returned = dict(pair.split("=") for pair in back.partition("?")[2].split("&"))
    done = send("POST", f"{path}/verifier", headers=admin, json=returned)

    assert back.startswith(f"{CALLBACK}?")
    assert (done.status_code, done.json()["step"]) == (200, "signing_in")
