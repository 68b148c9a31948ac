"""How commands find a running demo: its private file, and what must not pass for one."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ibkr_bridge.cli import control_path, runtime_folder
from ibkr_bridge.cli.bridge_access import client_settings, demo_without_settings
from ibkr_bridge.cli.demo_file import DemoFile, find_demo
from ibkr_bridge.config.settings import SettingsError
from tests.cli.command_runner import EXIT_MISCONFIGURED, EXIT_OK, KEY, Demo, Place, demo

SETTINGS = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_URL", "IBKR_BRIDGE_READONLY_KEY", "IBKR_BRIDGE_KEY_PREVIOUS")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an empty `.env`, a runtime directory of its own, and no settings of this machine."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / ".env").touch(mode=0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo_file(port: int) -> DemoFile:
    """The file of a demo on a port."""
    return DemoFile(f"http://127.0.0.1:{port}", "https://127.0.0.1:6001", "/nowhere", KEY)


@contextmanager
def listening(port: int) -> Iterator[None]:
    """A control socket, as a demo has it."""
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(control_path(port)))
        control.listen()
        yield


def test_the_file_can_be_read_by_its_owner_alone(here: Path) -> None:
    """It has a key. One that others could read, left by somebody, is replaced."""
    (runtime_folder() / "7101.demo.json").touch(mode=0o666)

    path = demo_file(7101).write()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.parent == runtime_folder()


def test_a_running_demo_is_found(here: Path) -> None:
    """With its address and its key, which is not in its repr."""
    written = demo_file(7102)
    written.write()
    with listening(7102):
        found = find_demo()

    assert found == written
    assert KEY not in repr(found)


def test_the_file_of_a_dead_demo_is_ignored(here: Path) -> None:
    """A demo that is killed leaves its file and its socket behind, and its port may belong to another program."""
    demo_file(7103).write()
    with listening(7103):
        pass

    assert control_path(7103).is_socket()
    assert find_demo() is None


def test_the_demo_that_was_started_last_is_found(here: Path) -> None:
    """Unless it has ended."""
    with ExitStack() as stack:
        for age, port in enumerate((7104, 7105, 7106)):
            os.utime(demo_file(port).write(), (1000 + age, 1000 + age))
            if port != 7106:
                stack.enter_context(listening(port))

        assert find_demo() == demo_file(7105)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", json.dumps({"url": 1, "gateway": "", "state_dir": "", "key": ""})]
)
def test_a_file_that_cannot_be_read_is_ignored(here: Path, text: str) -> None:
    """Another program's file must not stop a command."""
    (runtime_folder() / "7107.demo.json").write_text(text)
    with listening(7107):
        assert find_demo() is None


def test_a_pipe_is_ignored(here: Path) -> None:
    """Opening it would wait for a writer."""
    path = runtime_folder() / "7109.demo.json"
    os.mkfifo(path)

    assert here in path.parents
    assert find_demo() is None


def test_a_link_is_ignored(here: Path) -> None:
    """It may lead to a file of somebody else."""
    elsewhere = here / "elsewhere"
    elsewhere.write_text(demo_file(7108).write().read_text())
    path = runtime_folder() / "7108.demo.json"
    path.unlink()
    path.symlink_to(elsewhere)
    with listening(7108):
        assert find_demo() is None


@pytest.mark.parametrize(
    "env",
    [
        {"IBKR_BRIDGE_KEY": "k" * 40},
        {"IBKR_BRIDGE_READONLY_KEY": "k" * 40},
        {"IBKR_BRIDGE_URL": "http://127.0.0.1:7999"},
    ],
)
@pytest.mark.parametrize("is_in_file", [False, True])
def test_settings_that_name_another_bridge_win(
    here: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], is_in_file: bool
) -> None:
    """A demo must never answer for a bridge with real orders, nor get its key."""
    demo_file(7109).write()
    if is_in_file:
        (here / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    for name, value in {} if is_in_file else env.items():
        monkeypatch.setenv(name, value)
    with listening(7109):
        assert demo_without_settings() is None


def test_the_address_of_the_demo_itself_may_be_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key is then still missing."""
    monkeypatch.setenv("IBKR_BRIDGE_URL", "http://127.0.0.1:7110")
    demo_file(7110).write()
    with listening(7110):
        settings = client_settings()

    assert (settings.key, settings.url.port, str(settings.gateway_url)) == (KEY, 7110, "https://127.0.0.1:6001")


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:7111"])
def test_the_key_of_the_demo_itself_may_be_set(here: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The demo says to export it for curl. A command must then not look at another Gateway and another journal."""
    monkeypatch.setenv("IBKR_BRIDGE_KEY", KEY)
    monkeypatch.setenv("IBKR_BRIDGE_URL", url)
    demo_file(7111).write()
    with listening(7111):
        settings = client_settings()

    assert (settings.url.port, str(settings.gateway_url)) == (7111, "https://127.0.0.1:6001")
    assert settings.state_dir == Path("/nowhere")


def test_the_key_of_the_demo_leads_to_no_other_address(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two demos may run; whoever names one means that one."""
    monkeypatch.setenv("IBKR_BRIDGE_KEY", KEY)
    monkeypatch.setenv("IBKR_BRIDGE_URL", "http://127.0.0.1:7999")
    demo_file(7112).write()
    with listening(7112):
        assert demo_without_settings() is None


def test_without_a_demo_missing_settings_are_an_error(here: Path) -> None:
    """As before."""
    with pytest.raises(SettingsError):
        client_settings()


@pytest.mark.parametrize("command", ["status", "orders", "doctor"])
def test_commands_find_a_running_demo(place: Place, running: Demo, command: str) -> None:
    """Nothing has to be copied from one terminal to another. The key is not printed."""
    result = place.run(command)

    assert result.stderr == ""
    assert running.key not in result.stdout
    if command == "doctor":  # its status is 1 if other tests have left a condition, such as many losses
        assert f"the running demo at {running.url}" in result.stdout
    else:
        assert result.returncode == EXIT_OK


def test_trigger_finds_a_running_demo(place: Place, running: Demo) -> None:
    """On whatever port its bridge listens."""
    assert place.run("trigger", "list").stdout == "No fault is active.\n"


def test_a_killed_demo_does_not_mislead(tmp_path: Path) -> None:
    """Its file stays, and the command says what is missing."""
    with demo(Place(tmp_path)) as dying:
        dying.running.process.kill()
        dying.running.wait()

    result = Place(tmp_path).run("status")

    assert list((tmp_path / "run").rglob("*.demo.json"))
    assert result.returncode == EXIT_MISCONFIGURED
    assert "IBKR_BRIDGE_KEY" in result.stderr


def test_a_key_that_a_person_has_set_is_not_written(tmp_path: Path) -> None:
    """It may be a real one."""
    with Place(tmp_path).running("demo", IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_URL="http://127.0.0.1:0") as started:
        started.wait_for("trigger --help")

        assert not list((tmp_path / "run").rglob("*.demo.json"))
