"""Every command in the documentation for operators, run on an installed bridge."""

from __future__ import annotations

import re

import pytest

from tests.system.machine import ROOT, Machine

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
TABLE_COMMAND = re.compile(r"^\|[^|]*\| `([^`]+)` \|", re.MULTILINE)


def commands(page: str) -> list[str]:
    """The commands of a page: the lines of its code blocks, and the middle column of its tables."""
    text = (ROOT / "docs" / page).read_text()
    blocks = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    from_blocks = [line for line in blocks if line.strip() and "git clone" not in line and "install.sh" not in line]
    from_tables = TABLE_COMMAND.findall(text) if page == "troubleshooting.md" else []
    return [*from_blocks, *from_tables]


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """A machine with an installed bridge and a simulated Gateway that has a login."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()
    return machine


@pytest.mark.parametrize("command", commands("troubleshooting.md"))
def test_a_command_of_the_troubleshooting_page_succeeds(installed: Machine, command: str) -> None:
    """An operator types these commands while the bridge has a problem, so they must be correct."""
    done = installed.run("/bin/sh", "-c", command, check=False)

    assert (done.returncode, "invalid" in done.stderr.lower()) == (0, False), done.stderr


def test_the_commands_of_the_systemd_page_succeed_in_their_order(installed: Machine) -> None:
    """After the last one the bridge has no network of its own and still serves calls."""
    typed = re.sub(r"restore FILE(?= +#)", "restore FILE --yes", "\n".join(commands("systemd.md")))  # nobody answers
    script = f"set -e\ncd /root\nibkr-bridge backup FILE\n{typed}"

    installed.sh(script)
    installed.wait_until_ready()

    assert installed.exposure_level() <= 0.2


def test_an_event_is_found_by_the_field_that_the_page_names(installed: Machine) -> None:
    """The example of the page finds a refused call by its error code."""
    installed.curl("/portfolio/accounts", "-H", "X-Bridge-Key: not-the-key")

    found = installed.sh("journalctl -u ibkr-bridge CODE=invalid_key -n 5 --no-pager -o cat")

    assert "code=invalid_key" in found
