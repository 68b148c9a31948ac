"""`bridge.py serve`: its messages when it cannot start, and how it ends and reloads."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ibkr_bridge.cli.serve import run, start_failure
from ibkr_bridge.config.env_reader import DEMO_KEY
from ibkr_bridge.config.sources import SECRET_NAMES
from ibkr_bridge.sim.simulator import Simulator
from tests.cli.command_runner import BRIDGE, EXIT_MISCONFIGURED, Place, free_port
from tests.harness import KEY, settings_for
from tests.process import daemon


def test_a_port_in_use_is_reported_with_the_command_that_finds_who_has_it(tmp_path: Path) -> None:
    """In most cases another bridge uses it."""
    settings = settings_for("https://127.0.0.1:1", tmp_path, IBKR_BRIDGE_URL="http://127.0.0.1:8123")

    message = start_failure(OSError(errno.EADDRINUSE, "Address already in use"), settings)

    assert "http://127.0.0.1:8123 is in use" in message
    assert "ss -ltnp 'sport = :8123'" in message


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(OSError(errno.EACCES, "Permission denied"), "Permission denied"), (ConnectionError(), "ConnectionError")],
)
def test_another_failure_is_reported_with_the_systems_reason(tmp_path: Path, failure: OSError, reason: str) -> None:
    """With the class of the error, if the system gives no reason."""
    message = start_failure(failure, settings_for("https://127.0.0.1:1", tmp_path))

    assert message == f"The bridge could not start at http://127.0.0.1:0: {reason}"


def test_unknown_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon that ignored an option would not do what its user wants."""
    with pytest.raises(SystemExit):
        run(["--port", "8000"])

    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_key_of_the_demo_is_refused(tmp_path: Path, name: str) -> None:
    """Everybody knows it. With it nobody must reach a real account."""
    keys = {"IBKR_BRIDGE_KEY": KEY, name: DEMO_KEY}

    result = Place(tmp_path).run("serve", IBKR_BRIDGE_URL="http://127.0.0.1:0", **keys)

    assert result.returncode == EXIT_MISCONFIGURED
    assert f"{name}: found the key of `bridge.py demo`, which everybody knows; make one with" in result.stderr
    assert DEMO_KEY not in result.stderr


def test_a_ca_file_without_certificates_is_named(tmp_path: Path) -> None:
    """The setting is wrong, so systemd must not restart the bridge again and again."""
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificate\n")

    result = Place(tmp_path).run(
        "serve",
        IBKR_BRIDGE_KEY=KEY,
        IBKR_BRIDGE_URL="http://127.0.0.1:0",
        IBKR_GATEWAY_CA_FILE=str(empty),
    )

    assert result.returncode == EXIT_MISCONFIGURED
    assert "IBKR_GATEWAY_CA_FILE" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_it(sim: Simulator, tmp_path: Path, signum: signal.Signals) -> None:
    """Its exit status is 0."""
    async with daemon(sim.url, tmp_path) as bridge:
        bridge.signal(signum)

        assert await bridge.wait_until_ended() == 0

    assert {"bridge.stopping", "bridge.stopped"} <= {line["event"] for line in bridge.lines}


async def test_a_reload_keeps_the_key_that_has_not_changed(sim: Simulator, tmp_path: Path) -> None:
    """Callers before and after the reload notice nothing."""
    (tmp_path / ".env").touch(mode=0o600)
    async with daemon(sim.url, tmp_path) as bridge:
        bridge.signal(signal.SIGHUP)
        line = await bridge.wait_for_event("bridge.reloaded")
        status, _ = await bridge.get("/portfolio/accounts")

    assert "full" in str(line)
    assert status == 200


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_misspelt_limit_stops_the_start(place: Place, source: str) -> None:
    """Nobody trades without a limit that they believe in; the right name is in the message."""
    env = {"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_URL": f"http://127.0.0.1:{free_port()}"}
    if source == "file":
        place.write_dotenv("IBKR_MAX_ORDERS_QTY=5\n")
    else:
        env["IBKR_MAX_ORDERS_QTY"] = "5"

    result = place.run("serve", **env)

    assert result.returncode == EXIT_MISCONFIGURED
    assert "IBKR_MAX_ORDERS_QTY: unknown setting; did you mean IBKR_MAX_ORDER_QUANTITY?" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_in_the_working_directory_stops_the_start(tmp_path: Path) -> None:
    """In /tmp anybody could have put it there."""
    place = Place(tmp_path)
    place.write_dotenv("IBKR_TRADING_MODE=live\n")
    os.chown(place.dotenv, 54321, 54321)

    result = place.run("serve", IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_URL=f"http://127.0.0.1:{free_port()}")

    assert result.returncode == EXIT_MISCONFIGURED
    assert f"{place.dotenv} belongs to another user" in result.stderr


@pytest.mark.parametrize("env", [{"IBKR_BRIDGE_KEY": "short"}, {}], ids=["settings", "port"])
def test_in_the_journal_a_failed_start_has_the_level_of_an_error(tmp_path: Path, env: dict[str, str]) -> None:
    """So that `journalctl -p err` shows it. On a terminal nothing stands in front of the lines."""
    place = Place(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, (tmp_path / "stderr").open("w+") as stderr:
        status = os.fstat(stderr.fileno())
        settings = {
            "IBKR_BRIDGE_KEY": KEY,
            "IBKR_BRIDGE_URL": f"http://127.0.0.1:{taken.getsockname()[1]}",
            "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
            **env,
        }
        command, full_env = [sys.executable, str(BRIDGE), "serve"], {**place.env, **settings}
        subprocess.run(command, env=full_env, cwd=tmp_path, stderr=stderr, check=False)
        stderr.seek(0)
        lines = stderr.read().splitlines()

    assert lines
    assert [line for line in lines if not line.startswith("<3>")] == []
