"""`bridge.py doctor`: everything a bridge needs, one line each, and how to mend what is wrong."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

from tests.cli.typed import BAD, GOOD, KEY, MISCONFIGURED, Demo, Place, free_port


def findings(told: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """What was checked, by its name."""
    return {each["check"]: each for each in json.loads(told.stdout)}


def test_all_is_well(place: Place, running: Demo) -> None:
    """Every line begins with ok."""
    told, data = place.both("doctor", **running.env)

    lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr, data.returncode) == (GOOD, "", GOOD)
    assert {each["fix"] for each in findings(data).values()} == {""}
    assert [line.split()[:2] for line in lines] == [
        ["ok", check] for check in ("python", "settings", "state", "orders", "gateway", "bridge", "session")
    ]
    assert "TLSv1.2" in told.stdout
    assert running.key not in told.stdout


def test_nothing_running_is_said_for_each(place: Place) -> None:
    """And how to start each."""
    gateway = f"https://127.0.0.1:{free_port()}"
    env = {"IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}", "IBKR_BRIDGE_KEY": KEY, "IBKR_GATEWAY_URL": gateway}

    words, data = place.both("doctor", **env)

    found = findings(data)
    assert (words.returncode, data.returncode) == (BAD, BAD)
    assert "IBeam" in found["gateway"]["fix"]
    assert "bridge.py" in found["bridge"]["fix"]
    assert words.stdout.count("!!") == words.stdout.count("mend:") == 2


def test_a_session_that_is_lost_is_said(place: Place, running: Demo) -> None:
    """The bridge is well, the session is not."""
    running.pull("POST", "/faults", kind="sso-lost")
    told = place.run("doctor", "--json", **running.env)
    running.mend()

    found = findings(told)
    assert told.returncode == BAD
    assert found["bridge"]["fix"] == ""
    assert found["session"]["found"].startswith("SIGNED OUT")
    assert "sign in" in found["session"]["fix"]


def test_a_wrong_key_is_not_told_as_a_bridge_that_is_down(place: Place, running: Demo) -> None:
    """Starting it again would not mend that."""
    told = place.run("doctor", "--json", **{**running.env, "IBKR_BRIDGE_KEY": KEY})

    found = findings(told)["bridge"]
    assert told.returncode == BAD
    assert "IBKR_BRIDGE_KEY" in found["found"] + found["fix"]
    assert "start" not in found["fix"]


def test_a_gateway_that_speaks_no_tls_is_said(place: Place, running: Demo) -> None:
    """The address names a port of something else."""
    told = place.run("doctor", "--json", **{**running.env, "IBKR_GATEWAY_URL": running.url.replace("http:", "https:")})

    found = findings(told)["gateway"]
    assert told.returncode == BAD
    assert "not with TLS" in found["found"]
    assert "IBKR_GATEWAY_URL" in found["fix"]


def test_a_gateway_that_ends_at_once_is_said(place: Place) -> None:
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
            status = doctor.ended()

    assert status == BAD
    assert "Traceback" not in doctor.said
    (gateway,) = [each for each in json.loads(doctor.said) if each["check"] == "gateway"]
    assert gateway["fix"]
    assert "no such host" not in gateway["found"]


def test_a_settings_file_others_can_read_is_said(place: Place, running: Demo) -> None:
    """The key stands in it."""
    place.dotenv.chmod(0o644)
    told = place.run("doctor", "--json", **running.env)
    place.dotenv.chmod(0o600)

    assert told.returncode == BAD
    assert findings(told)["settings"]["fix"] == f"chmod 600 {place.dotenv}"


def test_a_state_directory_that_is_a_file_is_said(place: Place, running: Demo, tmp_path: Path) -> None:
    """Cookies and a pause would not be kept."""
    (tmp_path / "state").write_text("")

    told = place.run("doctor", "--json", **running.env, IBKR_BRIDGE_STATE_DIR=str(tmp_path / "state"))

    assert told.returncode == BAD
    assert findings(told)["state"]["fix"]


def test_settings_that_cannot_be_used_end_with_78(place: Place) -> None:
    """Each is a finding with what is allowed; a key is not repeated."""
    env = {"IBKR_BRIDGE_KEY": "secret-but-short", "IBKR_TRADING_MODE": "real", "IBKR_BRIDGE_KYE": "x"}

    words, data = place.both("doctor", **env)

    assert (words.returncode, data.returncode) == (MISCONFIGURED, MISCONFIGURED)
    assert set(findings(data)) == {"IBKR_BRIDGE_KEY", "IBKR_TRADING_MODE", "IBKR_BRIDGE_KYE"}
    assert all(each["fix"] for each in findings(data).values())
    assert words.stdout.count("!!") == 3
    assert "secret-but-short" not in words.stdout + data.stdout + words.stderr + data.stderr


def test_a_journal_that_cannot_be_read_is_said(place: Place, tmp_path: Path) -> None:
    """Orders are refused then; the doctor says what to do."""
    (tmp_path / "main.orders.db").write_bytes(b"garbage" * 1000)

    told = place.run("doctor", "--json", IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_STATE_DIR=str(tmp_path))

    assert "cannot be read as a journal" in findings(told)["orders"]["found"]
    assert "orders verify" in findings(told)["orders"]["fix"]
