"""`ibkr-bridge doctor` on an installed bridge: it runs as root, and sees what the user of the service sees."""

from __future__ import annotations

import json

import pytest

from tests.system.machine import Machine

STATE = "/var/lib/ibkr-bridge"
DROP_IN = "/etc/systemd/system/ibkr-bridge.service.d/weaker.conf"
PORT_USER = "import socket, time; server = socket.create_server(('127.0.0.1', 8000)); time.sleep(3600)"


def doctor(machine: Machine, *words: str) -> tuple[int, dict[str, dict[str, str]], list[dict[str, str]]]:
    """Run it. Returns the exit status, all findings by their check, and what is broken in the order of the layers."""
    done = machine.run("ibkr-bridge", "doctor", "--json", *words, check=False)
    findings = json.loads(done.stdout)
    return done.returncode, {each["check"]: each for each in findings}, [each for each in findings if each["fix"]]


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """A machine with an installed bridge and a simulated Gateway that has a login."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()
    return machine


def test_all_is_well_after_the_installation(installed: Machine) -> None:
    """The unit, its sandbox and the state directory are looked at too."""
    status, findings, broken = doctor(installed)

    assert (status, broken) == (0, [])
    assert findings["unit"]["found"].startswith("active, running")
    assert findings["sandbox"]["found"] == "as installed"
    assert findings["state"]["found"] == STATE


def test_an_app_with_a_key_in_a_public_variable(installed: Machine) -> None:
    """Root reads the file of the app."""
    text = f"IBKR_BRIDGE_URL=http://127.0.0.1:8000\nIBKR_BRIDGE_KEY={installed.key}\nNEXT_PUBLIC_KEY={installed.key}\n"
    installed.write("/srv/app/.env.production", text, 0o640)

    _, findings, broken = doctor(installed, "--env-file", "/srv/app/.env.production")

    assert [each["check"] for each in broken] == ["public key"]
    assert findings["app key"]["found"] == "the bridge accepts it; it may trade"


def test_a_weaker_sandbox(installed: Machine) -> None:
    """A drop-in of somebody who had another problem."""
    installed.write(DROP_IN, "[Service]\nProtectHome=no\n")
    installed.run("systemctl", "daemon-reload")
    _, _, broken = doctor(installed)
    installed.sh(f"rm {DROP_IN}; systemctl daemon-reload")

    assert [(each["check"], each["found"]) for each in broken] == [("sandbox", "ProtectHome=no")]


@pytest.mark.parametrize(("path", "check"), [(f"{STATE}/main.cookies.json", "files"), (STATE, "state")])
def test_files_that_root_has_restored(installed: Machine, path: str, check: str) -> None:
    """Root could read and write them, the service cannot."""
    installed.sh(f"touch {path}; chown root:root {path}; chmod go= {path}")
    _, _, broken = doctor(installed)
    installed.sh(f"chown -R ibkr-bridge:ibkr-bridge {STATE}")

    assert (broken[0]["layer"], broken[0]["check"]) == ("state", check)
    assert "chown" in broken[0]["fix"]
    assert "ibkr-bridge" in broken[0]["fix"]


def test_a_full_disk(installed: Machine) -> None:
    """The bridge refuses every order then."""
    installed.sh(f"systemctl stop ibkr-bridge.socket ibkr-bridge; mount -t tmpfs -o size=1M,mode=700 tmpfs {STATE}")
    installed.sh(f"chown ibkr-bridge:ibkr-bridge {STATE}")
    _, _, broken = doctor(installed)
    installed.sh(f"umount {STATE}; systemctl start ibkr-bridge")
    installed.wait_until_ready()

    assert (broken[0]["layer"], broken[0]["check"]) == ("state", "disk")


def test_settings_that_stop_the_service(installed: Machine) -> None:
    """Doctor ends with 78, as the service does; after the correction the unit is red until it is started."""
    good = installed.read("/opt/ibkr-bridge/.env")
    installed.write("/opt/ibkr-bridge/.env", good + "IBKR_MAX_ORDER_VALEU=500\n", 0o600)
    installed.sh("systemctl restart ibkr-bridge", check=False)
    installed.wait_until(lambda: installed.unit_property("ActiveState") == "failed", "the service does not fail")
    with_fault, without_fault = doctor(installed), None
    installed.write("/opt/ibkr-bridge/.env", good, 0o600)
    without_fault = doctor(installed)
    errors = installed.run("journalctl", "-t", "ibkr-bridge", "-p", "err", "-o", "cat", "--no-pager").stdout
    installed.sh("systemctl restart ibkr-bridge")
    installed.wait_until_ready()

    assert (with_fault[0], with_fault[2][0]["check"]) == (78, "IBKR_MAX_ORDER_VALEU")
    assert (without_fault[2][0]["layer"], without_fault[2][0]["check"]) == ("service", "unit")
    assert "78" in without_fault[2][0]["found"]
    assert "did you mean IBKR_MAX_ORDER_VALUE?" in errors


def test_a_port_that_another_program_has(installed: Machine) -> None:
    """It accepts connections and does not answer."""
    installed.sh("systemctl stop ibkr-bridge.socket ibkr-bridge")
    installed.run("systemd-run", "--unit=taker", "python3", "-c", PORT_USER)
    installed.wait_until(lambda: ":8000" in installed.run("ss", "-ltn").stdout, "nobody takes the port")
    status, _, broken = doctor(installed)
    installed.sh("systemctl stop taker; systemctl start ibkr-bridge")
    installed.wait_until_ready()

    assert status == 1
    assert (broken[0]["layer"], broken[0]["check"]) == ("service", "port")
