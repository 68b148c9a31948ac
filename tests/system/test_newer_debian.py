"""The installation, a reload of keys and the sealed service on Debian 13, which has a newer systemd and Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import TRIXIE, Machine


@pytest.fixture(scope="module")
def machine(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with Debian 13."""
    with Machine(tmp_path_factory.mktemp("trixie"), checkout, TRIXIE) as booted:
        yield booted


def test_the_installed_service_has_the_same_sandbox(machine: Machine) -> None:
    """A newer systemd could ignore a line of the unit that it does not know."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()

    level = machine.exposure_level()
    print(f"\nsystemd-analyze security on Debian 13: {level}")
    assert level <= 0.9
    assert "Unknown key" not in machine.run("journalctl", "-b", "--no-pager").stdout


def test_a_reload_replaces_the_key(machine: Machine) -> None:
    """The process stays the same, so no stream is interrupted."""
    before, old = machine.unit_property("MainPID"), machine.key
    settings = machine.read("/opt/ibkr-bridge/.env")
    machine.write("/opt/ibkr-bridge/.env", settings.replace(old, old[::-1]), 0o600)

    machine.run("systemctl", "reload", "ibkr-bridge")

    assert machine.curl_with_key("/portfolio/accounts", old).endswith("\n401")
    assert machine.curl_with_key("/portfolio/accounts").endswith("\n200")
    assert machine.unit_property("MainPID") == before


def test_the_service_can_be_sealed(machine: Machine) -> None:
    """The drop-in of the documentation works with the newer systemd too."""
    machine.seal()

    assert machine.exposure_level() <= 0.2
