"""`bridge.py serve`: what is said when it cannot start, and how it ends and reloads."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from ibkr_bridge.cli.serve import run, start_failure
from ibkr_bridge.sim.simulator import Simulator
from tests.cli.typed import MISCONFIGURED, Place
from tests.harness import KEY, settings_for
from tests.process import daemon


def test_a_taken_port_is_said_with_the_command_that_finds_who_has_it(tmp_path: Path) -> None:
    """Most often it is another bridge."""
    settings = settings_for("https://127.0.0.1:1", tmp_path, IBKR_BRIDGE_URL="http://127.0.0.1:8123")

    told = start_failure(OSError(errno.EADDRINUSE, "Address already in use"), settings)

    assert "http://127.0.0.1:8123 is taken" in told
    assert "ss -ltnp 'sport = :8123'" in told


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(OSError(errno.EACCES, "Permission denied"), "Permission denied"), (ConnectionError(), "ConnectionError")],
)
def test_another_trouble_is_said_with_the_systems_reason(tmp_path: Path, failure: OSError, reason: str) -> None:
    """Or with its kind, where the system gives none."""
    told = start_failure(failure, settings_for("https://127.0.0.1:1", tmp_path))

    assert told == f"The bridge could not start at http://127.0.0.1:0: {reason}"


def test_words_that_it_does_not_know_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon that ignores an option does something else than was meant."""
    with pytest.raises(SystemExit):
        run(["--port", "8000"])

    assert "--port" in capsys.readouterr().err


def test_a_file_of_certificates_that_holds_none_is_named(tmp_path: Path) -> None:
    """It is a matter of settings, and systemd must not try again and again."""
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificate\n")

    told = Place(tmp_path).run(
        "serve",
        IBKR_BRIDGE_KEY=KEY,
        IBKR_BRIDGE_URL="http://127.0.0.1:0",
        IBKR_GATEWAY_CA_FILE=str(empty),
    )

    assert told.returncode == MISCONFIGURED
    assert "IBKR_GATEWAY_CA_FILE" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_it(sim: Simulator, tmp_path: Path, signum: signal.Signals) -> None:
    """And its status is a good one."""
    async with daemon(sim.url, tmp_path) as bridge:
        bridge.signal(signum)

        assert await bridge.ended() == 0

    assert {"bridge.stopping", "bridge.stopped"} <= {line["event"] for line in bridge.lines}


async def test_a_reload_keeps_the_key_that_has_not_changed(sim: Simulator, tmp_path: Path) -> None:
    """Whoever is inside and whoever comes next notices nothing."""
    (tmp_path / ".env").touch(mode=0o600)
    async with daemon(sim.url, tmp_path) as bridge:
        bridge.signal(signal.SIGHUP)
        line = await bridge.until("bridge.reloaded")
        status, _ = await bridge.get("/portfolio/accounts")

    assert "full" in str(line)
    assert status == 200
