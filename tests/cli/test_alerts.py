"""`bridge.py alerts`: a real program, a real bridge and a real service."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.alert_receiver import receiving
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, Place, demo


def test_a_loss_and_its_end_reach_the_service(tmp_path: Path) -> None:
    """With the way to sign in. The dead man's switch is pressed, and the log has no address."""
    place = Place(tmp_path, IBKR_BRIDGE_REMIND_BEFORE="0")  # midnight in New York may be near
    with demo(place) as running, receiving() as service:
        env = {**running.env, "IBKR_BRIDGE_ALERTS": service.address, "IBKR_BRIDGE_ALERT_PING": service.ping_address}
        with place.running("alerts", **env) as alerts:
            alerts.wait_for("alerts go to JSON")
            service.next("/ping")
            running.control("POST", "/faults", kind="sso-lost")
            begun = service.next("nobody is signed in at the Gateway")
            running.control("POST", "/login")
            ended = service.next("over after")
            status = alerts.send_signal(signal.SIGTERM)

    assert (status, begun["type"], ended["type"]) == (EXIT_OK, "failure", "success")
    assert "ssh -N -L" in begun["message"]
    assert "secret-token" not in alerts.output
    state = json.loads((tmp_path / "state" / "bridge.alerts.json").read_text())
    # In the last half hour before IBKR's real time of the reset a reminder lasts.
    lasting = [each for each in state["open"] if each["id"] != "login_ends"]
    assert (lasting, state["outbox"]) == ([], [])


def test_a_restart_repeats_nothing(tmp_path: Path) -> None:
    """The state is in the state directory."""
    place = Place(tmp_path, IBKR_BRIDGE_REMIND_BEFORE="0")  # midnight in New York may be near
    with demo(place) as running, receiving() as service:
        env = {**running.env, "IBKR_BRIDGE_ALERTS": service.address}
        with place.running("alerts", **env) as first:
            first.wait_for("alerts go to JSON")
            running.control("POST", "/faults", kind="sso-lost")
            service.next("nobody is signed in at the Gateway")
            first.send_signal(signal.SIGTERM)
        with place.running("alerts", **env) as second:
            second.wait_for("alerts go to JSON")
            running.control("POST", "/login")
            titles = [service.next("nobody is signed in at the Gateway")["title"]]
            second.send_signal(signal.SIGTERM)

    assert "over after" in titles[0]


def test_a_second_program_does_not_tell_everything_twice(tmp_path: Path) -> None:
    """Somebody tries the command while systemd runs it. A program that was killed leaves nothing in the way."""
    place = Place(tmp_path)
    env = {"IBKR_BRIDGE_KEY": "a-key-for-this-test-alone-0123456789", "IBKR_BRIDGE_ALERTS": "json://127.0.0.1:9"}
    with place.running("alerts", **env) as first:
        first.wait_for("alerts go to JSON")
        second = place.run("alerts", **env)
        first.send_signal(signal.SIGKILL)
    with place.running("alerts", **env) as third:
        third.wait_for("alerts go to JSON")

    assert (second.returncode, second.stdout) == (EXIT_FAILURE, "")
    assert second.stderr.startswith("the alerts run already")


def test_without_addresses_it_says_so_and_ends(place: Place) -> None:
    """systemd does not start it again."""
    result = place.run("alerts", IBKR_BRIDGE_KEY="a-key-for-this-test-alone-0123456789")

    assert (result.returncode, result.stdout) == (
        EXIT_OK,
        "IBKR_BRIDGE_ALERTS is not set: no alert is sent. docs/alerts.md says how to set it.\n",
    )


def test_wrong_settings_are_all_named(place: Place) -> None:
    """Without their values, which contain tokens."""
    env = {
        "IBKR_BRIDGE_KEY": "a-key-for-this-test-alone-0123456789",
        "IBKR_BRIDGE_ALERTS": "secret-token",
        "IBKR_BRIDGE_ALERT_QUIET": "at night",
        "IBKR_BRIDGE_ALERT_LEAST": "loud",
    }
    result = place.run("alerts", **env)

    assert result.returncode == EXIT_MISCONFIGURED
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        *("IBKR_BRIDGE_ALERTS", "IBKR_BRIDGE_ALERT_QUIET", "IBKR_BRIDGE_ALERT_LEAST"),
    ]
    assert "secret-token" not in result.stdout + result.stderr
