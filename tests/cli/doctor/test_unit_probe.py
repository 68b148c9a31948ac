"""What systemd says of the installed service."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.cli.doctor.unit_probe import SANDBOX, UnitState, parse_properties, probe_unit
from tests.cli.doctor.healthy import RUNNING

UNIT = Path(__file__).resolve().parents[3] / "deploy" / "systemd" / "ibkr-bridge.service"


def test_properties_are_read_line_by_line() -> None:
    """A value may have an equals sign; a line without one is none."""
    assert parse_properties("User=ibkr-bridge\nEnvironment=A=b\n\nnothing\n") == {
        "User": "ibkr-bridge",
        "Environment": "A=b",
    }


def test_the_sandbox_is_that_of_the_shipped_unit() -> None:
    """What the unit file sets is what the check expects."""
    lines = UNIT.read_text().splitlines()

    assert [f"{name}={value}" for name, value in SANDBOX.items() if f"{name}={value}" not in lines] == []


def test_a_protection_that_a_drop_in_removed_is_named() -> None:
    """With what it is now."""
    state = UnitState({**RUNNING, "ProtectHome": "no"})

    assert state.lost_protections == {"ProtectHome": "no"}
    assert UnitState({"LoadState": "not-found"}).lost_protections == {}


def test_systemd_is_asked_for_both_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service, and the socket that holds its port."""

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, f"LoadState=loaded\nId={command[2]}\n", "")

    monkeypatch.setattr(subprocess, "run", run)

    state = probe_unit()

    assert (state.service["Id"], state.socket["Id"]) == ("ibkr-bridge.service", "ibkr-bridge.socket")
    assert state.is_installed


@pytest.mark.parametrize("error", [FileNotFoundError("systemctl"), subprocess.TimeoutExpired("systemctl", 3)])
def test_without_systemd_nothing_is_known(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """In a container there is none, and in an emergency it may hang."""

    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)

    assert not probe_unit().is_installed
