"""`bridge.py demo`: its settings, and what it says when it cannot start."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from ibkr_bridge.cli.demo import IGNORED_SETTINGS, demo_settings
from ibkr_bridge.config.settings import SettingsError
from tests.cli.typed import BAD, GOOD, KEY, Place, demo


def test_without_a_key_it_makes_one_each_time(tmp_path: Path) -> None:
    """Nobody has to prepare anything, and no two demos share a key."""
    one, other = demo_settings({}, tmp_path), demo_settings({}, tmp_path)

    assert one.key != other.key
    assert len(one.key) >= 32


def test_a_key_that_was_given_is_taken(tmp_path: Path) -> None:
    """An app under test has its own."""
    assert demo_settings({"IBKR_BRIDGE_KEY": KEY}, tmp_path).key == KEY


def test_a_key_that_is_wrong_is_refused_and_not_replaced(tmp_path: Path) -> None:
    """The app would be locked out, and nobody would say why."""
    with pytest.raises(SettingsError):
        demo_settings({"IBKR_BRIDGE_KEY": "short"}, tmp_path)


def test_nothing_of_a_real_gateway_and_of_real_state_is_taken(tmp_path: Path) -> None:
    """A demo must not reach an account, nor write into the journal of real orders."""
    real = dict.fromkeys(IGNORED_SETTINGS, "/nothing that could be used")

    found = demo_settings({"IBKR_BRIDGE_KEY": KEY, **real}, tmp_path)

    assert found.state_dir == tmp_path
    assert found.gateway_fingerprint is None
    assert found.gateway_ca_file is None


def test_other_settings_are_taken_and_other_programs_variables_are_not(tmp_path: Path) -> None:
    """A demo shows what a setting does."""
    found = demo_settings({"IBKR_READ_ONLY": "yes", "PATH": "/bin", "BRIDGE_KEY": "x"}, tmp_path)

    assert found.read_only


def test_it_knows_no_maintenance_unless_it_is_told_of_one(tmp_path: Path) -> None:
    """IBKR's nightly breaks concern no simulated Gateway; somebody may want to see one."""
    assert not demo_settings({}, tmp_path).maintenance
    with pytest.raises(SettingsError):
        demo_settings({"IBKR_BRIDGE_MAINTENANCE": "nonsense"}, tmp_path)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_and_leaves_nothing_behind(tmp_path: Path, signum: signal.Signals) -> None:
    """Neither its state nor its socket for `trigger`."""
    place = Place(tmp_path)

    with demo(place) as running:
        status = running.running.told(signum)

    assert status == GOOD
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_socket()]
    assert not list(tmp_path.glob("ibkr-bridge-demo-*"))
    assert "Traceback" not in running.running.said


@pytest.mark.parametrize("which", ["bridge", "gateway"])
def test_a_taken_port_is_said_in_a_line(tmp_path: Path, which: str) -> None:
    """With the port, and without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--gateway-port", str(port)) if which == "gateway" else ()
        own = port if which == "bridge" else 0

        told = Place(tmp_path).run("demo", *words, IBKR_BRIDGE_URL=f"http://127.0.0.1:{own}")

    assert told.returncode == BAD
    assert str(port) in told.stderr
    assert "Traceback" not in told.stderr
