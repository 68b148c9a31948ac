"""The alerts as an installed service: switched on by a setting, in a sandbox of its own, removed with the bridge."""

from __future__ import annotations

import json

import pytest

from tests.system.machine import Machine

UNIT, SETTINGS = "ibkr-bridge-alerts.service", "/opt/ibkr-bridge/.env"
RECEIVED = "/srv/received"
MAX_EXPOSURE = 1.1
RECEIVER = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        with open({RECEIVED!r}, "ab") as received:
            received.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.end_headers()

server = HTTPServer(("127.0.0.1", 9000), Handler)
open({RECEIVED!r}, "w").close()
server.serve_forever()
"""


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """A machine with an installed bridge, a simulated Gateway that has a login, and a service that takes messages."""
    machine.write("/srv/receiver.py", RECEIVER)
    machine.run("systemd-run", "--unit=receiver", "python3", "-I", "/srv/receiver.py")
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()
    return machine


def titles(machine: Machine) -> list[str]:
    """The titles of all messages that the service has."""
    return [json.loads(line)["title"] for line in machine.read(RECEIVED).splitlines()]


def is_active(machine: Machine) -> bool:
    """Whether the alerts run."""
    return machine.unit_property("ActiveState", UNIT) == "active"


def trigger(machine: Machine, fault: str) -> None:
    """Make something happen at the simulated Gateway."""
    machine.run("ibkr-bridge", "trigger", "--port", "5000", fault, HOME="/run/gateway")


def test_without_addresses_the_alerts_do_not_run(installed: Machine) -> None:
    """The unit is there, for the person who sets an address later."""
    assert installed.run("systemctl", "is-enabled", UNIT, check=False).stdout.strip() == "disabled"
    assert not is_active(installed)


def test_the_installer_starts_the_alerts_if_an_address_is_set(installed: Machine) -> None:
    """Also if the version of the bridge runs already; its process goes on."""
    before = installed.unit_property("MainPID")
    settings = installed.read(SETTINGS) + "IBKR_BRIDGE_ALERTS=json://127.0.0.1:9000/secret-token\n"
    installed.write(SETTINGS, settings, 0o600)

    installed.install()

    assert installed.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
    installed.wait_until(lambda: "alerts go to JSON" in log_of(installed), "the alerts do not run")
    assert installed.unit_property("MainPID") == before


def log_of(machine: Machine) -> str:
    """What the alerts have logged."""
    return machine.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager").stdout


def test_a_loss_and_its_end_reach_the_service(installed: Machine) -> None:
    """From the sandbox of the unit, and without the token of the address in the log."""
    trigger(installed, "sso-lost")
    installed.wait_until(lambda: any("nobody is signed in" in each for each in titles(installed)), "no alert came")
    trigger(installed, "login")
    installed.wait_until(lambda: any("over after" in each for each in titles(installed)), "its end is not told")

    assert "secret-token" not in log_of(installed)
    owner = installed.run("stat", "-c", "%U %a", "/var/lib/ibkr-bridge/bridge.alerts.json").stdout.strip()
    assert owner == "ibkr-bridge 600"


def test_a_bridge_that_does_not_run_is_told(installed: Machine) -> None:
    """The bridge cannot tell that itself."""
    installed.run("systemctl", "stop", "ibkr-bridge.socket", "ibkr-bridge.service")
    installed.wait_until(lambda: any("does not answer" in each for each in titles(installed)), "no alert came")
    installed.run("systemctl", "start", "ibkr-bridge.service")
    installed.wait_until_ready()


def test_the_sandbox_has_a_low_exposure_level(installed: Machine) -> None:
    """It is higher than the bridge's, since the alerts may reach other machines."""
    level = installed.exposure_level(UNIT)

    print(f"\nsystemd-analyze security {UNIT}: {level}")
    assert level <= MAX_EXPOSURE


def test_without_the_address_the_installer_stops_the_alerts(installed: Machine) -> None:
    """And does not start them at the next boot."""
    lines = [line for line in installed.read(SETTINGS).splitlines() if not line.startswith("IBKR_BRIDGE_ALERTS=")]
    installed.write(SETTINGS, "\n".join(lines) + "\n", 0o600)

    installed.install()

    assert installed.run("systemctl", "is-enabled", UNIT, check=False).stdout.strip() == "disabled"
    assert not is_active(installed)


def test_uninstalling_removes_the_alerts(installed: Machine) -> None:
    """While they run: no process and no unit is left."""
    installed.write(SETTINGS, installed.read(SETTINGS) + "IBKR_BRIDGE_ALERTS=json://127.0.0.1:9000/\n", 0o600)
    installed.install()
    pid = installed.unit_property("MainPID", UNIT)

    installed.install("--uninstall")

    assert pid != "0"
    assert not (installed.root / f"etc/systemd/system/{UNIT}").exists()
    assert installed.unit_property("LoadState", UNIT) == "not-found"
    assert installed.run("test", "-e", f"/proc/{pid}", check=False).returncode == 1
