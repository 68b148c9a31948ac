"""`bridge.py demo`: its settings, and its messages when it cannot start."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from ibkr_bridge.cli.demo import IGNORED_SETTINGS, demo_settings
from ibkr_bridge.config.env_reader import DEMO_KEY
from ibkr_bridge.config.settings import SettingsError
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, KEY, Place, demo


def test_without_a_key_it_has_one_that_can_be_recognised(tmp_path: Path) -> None:
    """Nobody has to prepare anything, and an app keeps its settings from one demo to the next."""
    settings = demo_settings({}, tmp_path)

    assert settings.key == DEMO_KEY
    assert "not-secret" in settings.key


def test_a_port_is_stronger_than_the_environment(tmp_path: Path) -> None:
    """`--port` is the shortest way to a second demo."""
    settings = demo_settings({"IBKR_BRIDGE_URL": "http://127.0.0.1:8000"}, tmp_path, 8010)

    assert str(settings.url) == "http://127.0.0.1:8010"


def test_a_key_in_the_environment_is_used(tmp_path: Path) -> None:
    """An app under test has its own key."""
    assert demo_settings({"IBKR_BRIDGE_KEY": KEY}, tmp_path).key == KEY


def test_a_key_that_is_wrong_is_refused_and_not_replaced(tmp_path: Path) -> None:
    """With another key the app would be refused, and nobody would know why."""
    with pytest.raises(SettingsError):
        demo_settings({"IBKR_BRIDGE_KEY": "short"}, tmp_path)


def test_settings_of_a_real_gateway_and_of_real_state_are_ignored(tmp_path: Path) -> None:
    """A demo must not reach an account, nor write into the journal of real orders."""
    real = dict.fromkeys(IGNORED_SETTINGS, "/nothing that could be used")

    settings = demo_settings({"IBKR_BRIDGE_KEY": KEY, **real}, tmp_path)

    assert settings.state_dir == tmp_path
    assert settings.gateway_fingerprint is None
    assert settings.gateway_ca_file is None


def test_other_settings_are_used_and_variables_of_other_programs_are_not(tmp_path: Path) -> None:
    """A demo shows what a setting does."""
    settings = demo_settings({"IBKR_READ_ONLY": "yes", "PATH": "/bin", "BRIDGE_KEY": "x"}, tmp_path)

    assert settings.read_only


def test_it_has_no_maintenance_window_unless_one_is_set(tmp_path: Path) -> None:
    """A simulated Gateway has no nightly breaks; a person may still set one to see what happens."""
    assert not demo_settings({}, tmp_path).maintenance
    with pytest.raises(SettingsError):
        demo_settings({"IBKR_BRIDGE_MAINTENANCE": "nonsense"}, tmp_path)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_and_leaves_nothing_behind(tmp_path: Path, signum: signal.Signals) -> None:
    """Neither its state directory nor its socket for `trigger`."""
    place = Place(tmp_path)

    with demo(place) as running:
        status = running.running.send_signal(signum)

    assert status == EXIT_OK
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_socket()]
    assert not list(tmp_path.glob("ibkr-bridge-demo-*"))
    assert "Traceback" not in running.running.output


def test_it_says_what_it_does_and_how_far_it_is(tmp_path: Path) -> None:
    """A start on a slow machine takes seconds."""
    with demo(Place(tmp_path)) as running:
        output = running.running.output

    texts = ["This is a demo", "1/3", "2/3", "3/3", "listens at"]
    assert [output.index(text) for text in texts] == sorted(output.index(text) for text in texts)


def test_positions_fill_pages(tmp_path: Path) -> None:
    """An app can be tried with more than a hundred positions."""
    with demo(Place(tmp_path), "--positions", "233", "--port", "0") as running:
        everything, page = (running.get(f"/portfolio/DU1234567/positions{part}").json() for part in ("", "/2"))

    assert (len(everything), len(page)) == (233, 33)


@pytest.mark.parametrize("number", ["-1", "1e3", "5000"])
def test_a_wrong_number_of_positions_is_refused(tmp_path: Path, number: str) -> None:
    """The message names the largest one."""
    result = Place(tmp_path).run("demo", f"--positions={number}")

    assert (result.returncode, "from 0 to 1000" in result.stderr) == (EXIT_FAILURE, True)


def test_address_and_key_are_written_into_an_apps_file(tmp_path: Path) -> None:
    """The app is then ready, and its own settings stay."""
    file = tmp_path / "app.env"
    file.write_text("MINE=1\n")
    with demo(Place(tmp_path), "--write-env", str(file)) as running:
        text = file.read_text()

    assert text == f"MINE=1\nIBKR_BRIDGE_URL={running.url}\nIBKR_BRIDGE_KEY={DEMO_KEY}\n"
    assert str(file) in running.running.output


def test_a_file_that_is_a_link_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """Nothing is written through it."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    result = Place(tmp_path).run("demo", "--port", "0", "--write-env", str(tmp_path / "link"))

    assert result.returncode == EXIT_FAILURE
    assert "symbolic link" in result.stderr
    assert "starting" not in result.stdout
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("which", ["bridge", "gateway"])
def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path, which: str) -> None:
    """With the port, and without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--gateway-port", str(port)) if which == "gateway" else ()
        own = port if which == "bridge" else 0

        result = Place(tmp_path).run("demo", *words, IBKR_BRIDGE_URL=f"http://127.0.0.1:{own}")

    assert result.returncode == EXIT_FAILURE
    assert str(port) in result.stderr
    assert "Traceback" not in result.stderr
