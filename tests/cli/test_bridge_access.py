"""How commands reach a bridge, and the short text for a person if that fails."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ibkr_bridge.cli import bridge_access
from ibkr_bridge.cli.bridge_access import WRONG_KEY, client_settings, open_client, summarise
from ibkr_bridge.client import BridgeRefused, BridgeTimeout, ClientError
from ibkr_bridge.config.settings import SettingsError
from tests.harness import KEY, settings_for


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an empty `.env`, and nothing of this machine's settings or of a demo that runs on it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").touch(mode=0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_has_the_settings_that_the_daemon_would_have(here: Path) -> None:
    """Started in the same directory, both read the same file."""
    (here / ".env").write_text(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_BRIDGE_URL=http://127.0.0.1:8123\n")

    settings = client_settings()

    assert (settings.key, str(settings.url)) == (KEY, "http://127.0.0.1:8123")


def test_the_environment_comes_before_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the daemon; otherwise a command would use another key than intended."""
    (here / ".env").write_text(f"IBKR_BRIDGE_KEY={'x' * 40}\n")
    monkeypatch.setenv("IBKR_BRIDGE_KEY", KEY)

    assert client_settings().key == KEY


def test_settings_that_cannot_be_used_are_an_error(here: Path) -> None:
    """The caller prints all problems at once."""
    with pytest.raises(SettingsError):
        client_settings()


def test_a_missing_bridge_is_reported_with_what_to_do(unused_tcp_port: int, tmp_path: Path) -> None:
    """At once: a person does not want to wait for repeats."""
    settings = settings_for("https://127.0.0.1:1", tmp_path, IBKR_BRIDGE_URL=f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(ClientError) as caught:
        open_client(settings).get("/health")

    detail, hint = summarise(caught.value)
    assert detail
    assert hint
    assert KEY not in detail + hint


def test_a_silent_bridge_gets_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person decides about a repeat, and does not want to wait for several timeouts."""
    monkeypatch.setattr(bridge_access, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = open_client(settings_for("https://127.0.0.1:1", tmp_path, IBKR_BRIDGE_URL=url))
        with pytest.raises(BridgeTimeout):
            client.get("/health")
        silent.setblocking(False)
        silent.accept()[0].close()

        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.fixture
def refusals(here: Path) -> dict[str, tuple[str, str]]:
    """The summaries of two errors of a bridge, by code."""
    errors = {code: BridgeRefused("the detail", code=code, hint="the hint") for code in ("invalid_key", "busy")}
    return {code: summarise(error) for code, error in errors.items()}


def test_a_wrong_key_is_explained_for_people(refusals: dict[str, tuple[str, str]]) -> None:
    """The bridge's own hint names a header, for programs."""
    assert refusals["invalid_key"] == WRONG_KEY


def test_a_refusal_is_summarised_by_its_code_and_hint(refusals: dict[str, tuple[str, str]]) -> None:
    """The documentation explains the code."""
    assert refusals["busy"] == ("the bridge refused (busy)", "the hint")


def test_an_error_of_the_client_keeps_its_text() -> None:
    """Without a response there was no refusal."""
    assert summarise(ClientError("it is not there", hint="start it")) == ("it is not there", "start it")
