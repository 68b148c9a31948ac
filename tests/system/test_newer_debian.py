"""The same on the Debian after: another systemd, another Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import TRIXIE, Machine


@pytest.fixture(scope="module")
def machine(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian 13."""
    with Machine(tmp_path_factory.mktemp("trixie"), checkout, TRIXIE) as booted:
        yield booted


def test_it_is_installed_and_as_tight(machine: Machine) -> None:
    """No line of the unit is unknown there."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.until_ready()

    score = machine.score()
    print(f"\nsystemd-analyze security on Debian 13: {score}")
    assert score <= 0.9
    assert "Unknown key" not in machine.run("journalctl", "-b", "--no-pager").stdout


def test_its_keys_are_changed_by_a_reload(machine: Machine) -> None:
    """In the same process."""
    before, old = machine.shown("MainPID"), machine.key
    settings = machine.read("/opt/ibkr-bridge/.env")
    machine.write("/opt/ibkr-bridge/.env", settings.replace(old, old[::-1]), 0o600)

    machine.run("systemctl", "reload", "ibkr-bridge")

    assert machine.keyed("/portfolio/accounts", old).endswith("\n401")
    assert machine.keyed("/portfolio/accounts").endswith("\n200")
    assert machine.shown("MainPID") == before


def test_it_is_sealed_there_too(machine: Machine) -> None:
    """The drop-in of the docs."""
    machine.seal()

    assert machine.score() <= 0.2
