"""Every command of the operator's pages, run on an installed bridge."""

from __future__ import annotations

import re

import pytest

from tests.system.machine import ROOT, Machine

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LOOK = re.compile(r"^\|[^|]*\| `([^`]+)` \|", re.MULTILINE)


def commands(page: str) -> list[str]:
    """What a person would type: the lines of the blocks, and the middle column of the tables."""
    text = (ROOT / "docs" / page).read_text()
    blocks = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    typed = [line for line in blocks if line.strip() and "git clone" not in line and "install.sh" not in line]
    looked = LOOK.findall(text) if page == "troubleshooting.md" else []
    return [*typed, *looked]


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """A bridge with a Gateway in front of which somebody is signed in."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.until_ready()
    return machine


@pytest.mark.parametrize("command", commands("troubleshooting.md"))
def test_a_command_of_the_page_for_trouble_works(installed: Machine, command: str) -> None:
    """Whatever there is to be found, it finds out."""
    done = installed.run("/bin/sh", "-c", command, check=False)

    assert (done.returncode, "invalid" in done.stderr.lower()) == (0, False), done.stderr


def test_the_page_for_the_service_works_line_by_line(installed: Machine) -> None:
    """In its order; in the end the bridge is sealed, and serves."""
    script = "set -e\n" + "\n".join(commands("systemd.md"))

    installed.sh(script)
    installed.until_ready()

    assert installed.score() <= 0.2


def test_an_event_is_found_by_the_field_the_page_names(installed: Machine) -> None:
    """A refusal by its code."""
    installed.curl("/portfolio/accounts", "-H", "X-Bridge-Key: not-the-key")

    found = installed.sh("journalctl -u ibkr-bridge CODE=invalid_key -n 5 --no-pager -o cat")

    assert "code=invalid_key" in found
