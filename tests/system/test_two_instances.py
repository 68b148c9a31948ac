"""Two bridges on one machine: each has a service, a user, a key, a state and a port of its own."""

from __future__ import annotations

import pytest

from tests.system.machine import Machine

FIRST, SECOND = "ibkr-bridge", "ibkr-bridge-live"
NAME = ("--name", "live")
SECOND_PORT = 8001
SECOND_GATEWAY = """[Service]
Environment=HOME=/run/gateway2 PYTHONDONTWRITEBYTECODE=1
RuntimeDirectory=gateway2
ExecStart=/usr/local/bin/ibkr-bridge-live sim --gateway-port 5001
Restart=always
RestartSec=0.2
"""
PATHS_OF_THE_SECOND = (
    f"ls -d /opt/{SECOND}* /etc/{SECOND}* /etc/systemd/system/{SECOND}* /etc/systemd/system/*/{SECOND}*"
    f" /run/{SECOND}* /usr/local/bin/{SECOND} /usr/local/share/bash-completion/completions/{SECOND} 2>/dev/null"
)


@pytest.fixture(scope="module")
def first(machine: Machine) -> Machine:
    """A machine with the first instance, and its Gateway."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()
    return machine


def key_of(machine: Machine, name: str) -> str:
    """The key of an instance."""
    lines = machine.read(f"/opt/{name}/.env").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("IBKR_BRIDGE_KEY="))


def status_with(machine: Machine, key: str, port: int) -> str:
    """The HTTP status of a call of an app."""
    return machine.curl("/portfolio/accounts", "-H", f"X-Bridge-Key: {key}", port=port).rpartition("\n")[2]


@pytest.mark.parametrize("name", ["", "Live", "a b", "-x", "../x", "alerts", "my-alerts", "a" * 21])
def test_a_name_that_cannot_be_used_is_refused(first: Machine, name: str) -> None:
    """It becomes part of paths, of a user and of units."""
    refused = first.install("--name", name, check=False)

    assert (refused.returncode, "--name" in refused.stderr) == (1, True)


def test_a_second_instance_is_installed_beside_the_first(first: Machine) -> None:
    """With a port that is free; the process of the first one goes on. Its last lines have the right names."""
    before = first.unit_property("MainPID")

    output = first.install(*NAME).stdout

    assert f"systemctl status {SECOND}" in output
    assert f"http://127.0.0.1:{SECOND_PORT}/health" in output
    assert f"IBKR_GATEWAY_URL in /opt/{SECOND}/.env" in output
    assert first.unit_property("MainPID") == before
    assert first.curl("/health", port=SECOND_PORT).endswith("\n200")


def test_each_has_a_key_a_user_and_a_state_of_its_own(first: Machine) -> None:
    """The second one gets its own Gateway, and the key of one is refused by the other."""
    first.write("/etc/systemd/system/gateway2.service", SECOND_GATEWAY)
    settings = first.read(f"/opt/{SECOND}/.env")
    first.write(f"/opt/{SECOND}/.env", f"{settings}IBKR_GATEWAY_URL=https://127.0.0.1:5001\n", 0o600)
    first.sh(f"systemctl daemon-reload; systemctl start gateway2; systemctl restart {SECOND}")
    first.wait_until(
        lambda: '"authenticated": true' in first.curl("/gateway/auth-status", port=SECOND_PORT), "it is not ready"
    )

    keys = {8000: key_of(first, FIRST), SECOND_PORT: key_of(first, SECOND)}
    statuses = [status_with(first, keys[mine], port) for mine in keys for port in keys]
    owners = first.sh(f"stat -c '%U %a' /var/lib/{FIRST} /var/lib/{SECOND}").splitlines()
    assert statuses == ["200", "401", "401", "200"]
    assert owners == [f"{FIRST} 700", f"{SECOND} 700"]


@pytest.mark.parametrize("command", [FIRST, SECOND])
def test_the_commands_of_an_instance_are_about_itself(first: Machine, command: str) -> None:
    """Doctor finds its own unit, user and state, and all is well. A reload is of its own service."""
    done = first.run(command, "doctor")

    assert f"/var/lib/{command}\n" in done.stdout
    assert "active, running" in done.stdout
    assert first.run(command, "reload").returncode == 0
    assert f"usage: {command} status" in first.run(command, "status", "--help").stdout
    assert first.exposure_level(f"{command}.service") <= 0.9


def test_an_upgrade_is_of_one_instance(first: Machine) -> None:
    """The other process goes on."""
    before = first.unit_property("MainPID")
    changed = first.source / "LICENSE"
    text = changed.read_text()
    changed.write_text(text + "\n")

    first.install(*NAME, "--upgrade")
    changed.write_text(text)

    assert first.unit_property("MainPID") == before
    assert len(first.sh(f"ls /opt/{SECOND}/releases").split()) == 2
    assert len(first.sh(f"ls /opt/{FIRST}/releases").split()) == 1


def test_one_instance_is_removed_and_the_other_runs_on(first: Machine) -> None:
    """The state of the second one stays, and its user and its port are gone."""
    before = first.unit_property("MainPID")

    output = first.install(*NAME, "--uninstall", "--purge").stdout

    assert f"/var/lib/{SECOND}" in output
    assert first.sh(PATHS_OF_THE_SECOND, check=False) == ""
    assert first.run("getent", "passwd", SECOND, check=False).stdout == ""
    assert first.curl("/health", port=SECOND_PORT).endswith("\n000")
    assert first.unit_property("MainPID") == before
    assert status_with(first, key_of(first, FIRST), 8000) == "200"
