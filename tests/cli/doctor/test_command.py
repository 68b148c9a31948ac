"""`bridge.py doctor`: everything a bridge needs, one line for each, and how to fix what is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Demo, Place, demo, free_port


def findings(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """The findings by the name of their check."""
    return {each["check"]: each for each in json.loads(result.stdout)}


def test_all_is_well(tmp_path: Path) -> None:
    """Every line begins with ok. The demo is a new one: what other tests did to theirs may still be a condition."""
    place = Place(tmp_path)
    with demo(place) as fresh:
        result, data = place.both("doctor", **fresh.env)

    rows = [row for row in findings(data).values() if row["check"] != "login_ends"]
    assert (result.returncode, result.stderr, data.returncode) == (EXIT_OK, "", EXIT_OK)
    assert {each["fix"] for each in rows} == {""}
    assert [each["check"] for each in rows] == [
        *("settings", "key", "guards", "python", "parser", "state", "orders", "gateway", "certificate"),
        *("bridge", "clock", "session", "accounts", "quotes", "stream", "addresses", "cors"),
    ]
    assert all(line.startswith("ok ") for line in result.stdout.splitlines())
    assert "TLSv1.2" in result.stdout
    assert fresh.key not in result.stdout


@pytest.mark.parametrize("command", ["doctor", "status", "orders"])
def test_a_pipe_in_place_of_the_settings_is_reported(tmp_path: Path, command: str) -> None:
    """In a directory such as /tmp anybody can make one, and no command may wait for its writer."""
    place = Place(tmp_path)
    place.dotenv.unlink()
    os.mkfifo(place.dotenv)

    result = place.run(command, IBKR_BRIDGE_KEY=KEY)

    assert result.returncode == EXIT_MISCONFIGURED
    assert "it is no regular file" in result.stdout + result.stderr


def test_a_missing_gateway_and_a_missing_bridge_are_both_reported(place: Place) -> None:
    """Each with how to start it."""
    gateway = f"https://127.0.0.1:{free_port()}"
    env = {"IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}", "IBKR_BRIDGE_KEY": KEY, "IBKR_GATEWAY_URL": gateway}

    words, data = place.both("doctor", **env)

    by_check = findings(data)
    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert "IBeam" in by_check["gateway"]["fix"]
    assert "bridge.py" in by_check["bridge"]["fix"]
    assert words.stdout.count("!!") == words.stdout.count("fix:") == 2


def test_the_first_broken_layer_is_named(place: Place) -> None:
    """What stands below it may be its consequence."""
    env = {
        "IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}",
        "IBKR_BRIDGE_KEY": KEY,
        "IBKR_GATEWAY_URL": f"https://127.0.0.1:{free_port()}",
    }

    result = place.run("doctor", **env)

    assert result.stdout.splitlines()[-1].startswith("The first broken layer is `gateway`. Begin with `gateway`:")


def test_a_lost_session_is_reported(place: Place, running: Demo) -> None:
    """Nothing is wrong with the bridge itself."""
    running.control("POST", "/faults", kind="sso-lost")
    result = place.run("doctor", "--json", **running.env)
    running.reset()

    by_check = findings(result)
    assert result.returncode == EXIT_FAILURE
    assert by_check["bridge"]["fix"] == ""
    assert by_check["session"]["found"].startswith("SIGNED OUT")
    assert "sign in" in by_check["signed_out"]["fix"]


def test_a_wrong_key_is_not_reported_as_a_bridge_that_is_down(place: Place, running: Demo) -> None:
    """Starting the bridge again would not help."""
    result = place.run("doctor", "--json", **{**running.env, "IBKR_BRIDGE_KEY": KEY})

    by_check = findings(result)["bridge"]
    assert result.returncode == EXIT_FAILURE
    assert "IBKR_BRIDGE_KEY" in by_check["found"] + by_check["fix"]
    assert "start" not in by_check["fix"]


def test_a_gateway_without_tls_is_reported(place: Place, running: Demo) -> None:
    """The address is that of another program."""
    result = place.run(
        "doctor", "--json", **{**running.env, "IBKR_GATEWAY_URL": running.url.replace("http:", "https:")}
    )

    by_check = findings(result)["gateway"]
    assert result.returncode == EXIT_FAILURE
    assert "not with TLS" in by_check["found"]
    assert "IBKR_GATEWAY_URL" in by_check["fix"]


def test_a_gateway_that_closes_the_connection_at_once_is_reported(place: Place) -> None:
    """A port that is open proves nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(10)
        port = listening.getsockname()[1]
        with place.running(
            "doctor",
            "--json",
            IBKR_BRIDGE_KEY=KEY,
            IBKR_BRIDGE_URL=f"http://127.0.0.1:{free_port()}",
            IBKR_GATEWAY_URL=f"https://127.0.0.1:{port}",
        ) as doctor:
            listening.accept()[0].close()
            status = doctor.wait()

    assert status == EXIT_FAILURE
    assert "Traceback" not in doctor.output
    (gateway,) = [each for each in json.loads(doctor.output) if each["check"] == "gateway"]
    assert gateway["fix"]
    assert "no such host" not in gateway["found"]


def test_a_settings_file_that_others_can_read_is_reported(place: Place, running: Demo) -> None:
    """The file holds the key."""
    place.dotenv.chmod(0o644)
    result = place.run("doctor", "--json", **running.env)
    place.dotenv.chmod(0o600)

    assert result.returncode == EXIT_FAILURE
    assert findings(result)["settings"]["fix"] == f"chmod 600 {place.dotenv}"


def test_a_state_directory_that_is_a_file_is_reported(place: Place, running: Demo, tmp_path: Path) -> None:
    """Cookies and the trading pause could not be saved."""
    (tmp_path / "state").write_text("")

    result = place.run("doctor", "--json", **running.env, IBKR_BRIDGE_STATE_DIR=str(tmp_path / "state"))

    assert result.returncode == EXIT_FAILURE
    assert findings(result)["state"]["fix"]


def test_settings_that_cannot_be_used_end_with_78(place: Place) -> None:
    """Each problem is a finding that says what is allowed; no key is printed."""
    env = {"IBKR_BRIDGE_KEY": "secret-but-short", "IBKR_TRADING_MODE": "real", "IBKR_BRIDGE_KYE": "x"}

    words, data = place.both("doctor", **env)

    assert (words.returncode, data.returncode) == (EXIT_MISCONFIGURED, EXIT_MISCONFIGURED)
    assert set(findings(data)) == {"IBKR_BRIDGE_KEY", "IBKR_TRADING_MODE", "IBKR_BRIDGE_KYE"}
    assert all(each["fix"] for each in findings(data).values())
    assert words.stdout.count("!!") == 3
    assert "secret-but-short" not in words.stdout + data.stdout + words.stderr + data.stderr


def test_a_journal_that_cannot_be_read_is_reported(place: Place, tmp_path: Path) -> None:
    """The bridge refuses orders then; the doctor says what to do."""
    (tmp_path / "main.orders.db").write_bytes(b"garbage" * 1000)

    result = place.run("doctor", "--json", IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_STATE_DIR=str(tmp_path))

    assert "cannot be read as a journal" in findings(result)["orders"]["found"]
    assert "orders verify" in findings(result)["orders"]["fix"]
