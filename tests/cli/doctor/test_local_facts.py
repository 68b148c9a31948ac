"""Facts of this machine that need no network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ibkr_bridge.cli.doctor import local_facts
from ibkr_bridge.cli.doctor.bounded import UserIds
from ibkr_bridge.cli.doctor.local_facts import find_near_misses, read_program, read_sources, service_user, user_ids
from ibkr_bridge.config.settings import setting_names
from tests.cli.doctor.healthy import settings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a `.env` file, and no running demo."""
    (tmp_path / ".env").write_text("IBKR_BRIDGE_KEY=a-key-for-the-command-line-tests-0123456789\n")
    (tmp_path / ".env").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_a_file_that_others_can_read_is_seen(place: Path) -> None:
    """It holds the key."""
    assert not read_sources(settings()).is_readable_by_others
    (place / ".env").chmod(0o640)

    assert read_sources(settings()).is_readable_by_others


def test_a_credential_that_others_can_read_is_seen(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the key too."""
    (place / "IBKR_BRIDGE_KEY").write_text("secret")
    (place / "IBKR_BRIDGE_KEY").chmod(0o644)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(place))

    assert read_sources(settings()).open_secrets == (str(place / "IBKR_BRIDGE_KEY"),)


def test_lines_that_systemd_reads_differently_are_found_for_the_installed_service(place: Path) -> None:
    """A comment after a value becomes a part of it."""
    with (place / ".env").open("a") as file:
        file.write("IBKR_READ_ONLY=yes # for now\n")

    assert read_sources(settings()).misread_lines == ("line 2 is read differently by systemd",)
    assert read_sources(settings(IBKR_BRIDGE_STATE_DIR=str(place))).misread_lines == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("IBKR_TRADINGMODE", "IBKR_TRADING_MODE"),
        ("IBKR_COMPETES", "IBKR_COMPETE"),
        ("IBKR_TRADING_MOD", "IBKR_TRADING_MODE"),
    ],
)
def test_a_misspelt_name_is_found(name: str, meant: str) -> None:
    """It sets nothing, and nobody is told."""
    assert find_near_misses({name: "live"}, setting_names()) == ((name, meant),)


@pytest.mark.parametrize(
    "name", ["IBKR_ACCOUNT_ID", "IBKR_TRADING_MODE", "IBKR_BRIDGE_KEY_FILE", "IBEAM_ACCOUNT", "PATH"]
)
def test_other_names_are_left_alone(name: str) -> None:
    """An app may share the file."""
    assert find_near_misses({name: "x"}, setting_names()) == ()


def test_the_program_of_the_tests_has_the_parser_in_c() -> None:
    """As the service has."""
    assert read_program().has_c_parser


def test_root_looks_at_the_files_of_the_installed_service_as_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can read and write everything, and would find nothing wrong."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(local_facts, "user_ids", lambda name: UserIds(990, 991) if name == "ibkr-bridge" else None)

    assert service_user(settings()) == UserIds(990, 991)
    assert service_user(settings(IBKR_BRIDGE_STATE_DIR="/root/state")) is None


def test_others_look_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """They can become nobody else."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert service_user(settings()) is None


def test_a_missing_user_is_none() -> None:
    """Not every machine has the service."""
    assert user_ids("no-such-user-anywhere") is None
    assert user_ids("root") == UserIds(0, 0)
