"""Other ways in: the set-up of earlier days, a key as a credential, another port, an older user's habits."""

from __future__ import annotations

import time

from tests.system.machine import WITHIN, Machine

UNITS = "/etc/systemd/system"
KEY = "an-old-key-that-must-not-be-lost-0123456789"
OLD_UNIT = """[Unit]
Description=IBKR Bridge
[Service]
WorkingDirectory=/opt/ibkr-bridge
EnvironmentFile=/opt/ibkr-bridge/.env
ExecStart=/usr/bin/python3 bridge.py
Restart=always
[Install]
WantedBy=multi-user.target
"""
OLD_BRIDGE = """from http.server import BaseHTTPRequestHandler, HTTPServer
HTTPServer(("127.0.0.1", 8000), BaseHTTPRequestHandler).serve_forever()
"""
ELSEWHERE, HEARD = "10.9.9.1", "/srv/heard"
LISTENS = f"""
import socket
door = socket.create_server((\"{ELSEWHERE}\", 5000))
open(\"{HEARD}\", \"w\").close()
while True:
    caller, _ = door.accept()
    open(\"{HEARD}\", \"w\").write(\"somebody came\")
"""
OLD_SETTINGS = f"IBKR_BRIDGE_URL=http://127.0.0.1:8000\nIBKR_BRIDGE_KEY={KEY}\n"


def test_a_setup_that_cannot_be_taken_over_goes_on(machine: Machine) -> None:
    """Its key is too short for us: told before anything is stopped. A line systemd cannot read: not even tried."""
    machine.write(f"{UNITS}/my-bridge.service", OLD_UNIT)
    machine.write("/opt/ibkr-bridge/bridge.py", OLD_BRIDGE)
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_KEY=a-short-key\n", 0o600)
    machine.run("systemctl", "enable", "--now", "my-bridge.service")

    short = machine.install(check=False)
    machine.write("/opt/ibkr-bridge/.env", f"export IBKR_BRIDGE_KEY={KEY}\n", 0o600)
    exported = machine.install(check=False)

    assert (short.returncode, exported.returncode) == (1, 1)
    assert "IBKR_BRIDGE_KEY" in short.stderr
    assert "line 1 is read differently by systemd" in exported.stderr
    assert "a-short-key" not in short.stderr + short.stdout
    assert machine.shown("ActiveState", "my-bridge.service") == "active"
    assert KEY not in machine.run("journalctl", "--no-pager", "-o", "export").stdout


def test_a_first_version_that_does_not_start_gives_way_to_the_old_one(machine: Machine) -> None:
    """What ran before runs again."""
    machine.write("/opt/ibkr-bridge/.env", OLD_SETTINGS, 0o644)
    broken = machine.source / "ibkr_bridge/cli/serve.py"
    text = broken.read_text()
    broken.write_text(text + "\nraise SystemExit(3)\n")

    failed = machine.install(check=False)
    broken.write_text(text)

    assert "what ran before runs as before" in failed.stderr
    assert machine.shown("ActiveState", "my-bridge.service") == "active"
    assert machine.read("/opt/ibkr-bridge/bridge.py") == OLD_BRIDGE


def test_the_setup_of_earlier_days_is_taken_over(machine: Machine) -> None:
    """A service that runs a bridge.py as root, with two lines of settings; others that have one are left alone."""
    machine.write("/opt/ibkr-bridge/.env", OLD_SETTINGS, 0o644)
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")

    said = machine.install().stdout
    machine.until_ready()

    assert "Removing /etc/systemd/system/my-bridge.service" in said
    assert f"chmod 600 {'/opt/ibkr-bridge/.env'}" in said
    assert machine.read("/opt/ibkr-bridge/.env") == OLD_SETTINGS
    assert machine.keyed("/portfolio/accounts", KEY).endswith("\n200")
    assert machine.sh("cat /opt/ibkr-bridge/before/*/my-bridge.service") == OLD_UNIT
    assert machine.shown("LoadState", "my-bridge.service") == "not-found"
    assert machine.shown("ActiveState", "gateway.service") == "active"


def test_a_key_may_be_a_credential(machine: Machine) -> None:
    """Out of the settings, into a file of root's; a reload reads that again too."""
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_URL=http://127.0.0.1:8000\n", 0o600)

    said = machine.install().stdout
    machine.run("systemctl", "restart", "ibkr-bridge")
    made = machine.read("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY").strip()
    first = machine.keyed("/portfolio/accounts", made), machine.keyed("/portfolio/accounts", KEY)
    machine.write("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY", KEY, 0o600)
    machine.run("systemctl", "reload", "ibkr-bridge")
    then = machine.keyed("/portfolio/accounts", made), machine.keyed("/portfolio/accounts", KEY)

    assert "has no key: making one" in said
    assert made not in said
    assert [reply.rpartition("\n")[2] for reply in (*first, *then)] == ["200", "401", "401", "200"]


def test_an_encrypted_credential_works(machine: Machine) -> None:
    """With a key of this machine, and after a reload."""
    keys = "/etc/ibkr-bridge/credentials"
    machine.sh(
        f"install -d -m 700 {keys}.encrypted && systemd-creds encrypt --with-key=host --name=IBKR_BRIDGE_KEY"
        f" {keys}/IBKR_BRIDGE_KEY {keys}.encrypted/IBKR_BRIDGE_KEY && rm {keys}/IBKR_BRIDGE_KEY"
        f" && sed -i 's/^LoadCredential=/#&/; s/^#LoadCredentialEncrypted=/LoadCredentialEncrypted=/'"
        f" {UNITS}/ibkr-bridge.service.d/credential.conf && systemctl daemon-reload && systemctl restart ibkr-bridge"
    )
    started = machine.keyed("/portfolio/accounts", KEY)
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert (started.rpartition("\n")[2], machine.keyed("/portfolio/accounts", KEY).rpartition("\n")[2]) == (
        "200",
        "200",
    )


def test_another_port_is_held_by_systemd_too(machine: Machine) -> None:
    """The socket follows the settings."""
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_URL=http://localhost:8123\n", 0o600)

    said = machine.install().stdout
    machine.run("systemctl", "restart", "ibkr-bridge")

    assert machine.shown("Listen", "ibkr-bridge.socket") == "127.0.0.1:8123 (Stream)"
    assert machine.curl("/health", port=8123).endswith("\n200")
    assert "http://127.0.0.1:8123/health" in said


def test_a_socket_that_differs_from_the_settings_is_refused(machine: Machine) -> None:
    """Rather than a bridge that listens where nobody asks."""
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_URL=http://127.0.0.1:8124\n", 0o600)

    machine.run("systemctl", "restart", "ibkr-bridge", check=False)
    began = time.monotonic()

    assert (
        "let ListenStream= and IBKR_BRIDGE_URL say the same"
        in machine.run("journalctl", "-u", "ibkr-bridge", "--no-pager", "-n", "20").stdout
    )
    assert time.monotonic() - began < WITHIN


def test_only_loopback_can_be_reached(machine: Machine) -> None:
    """A Gateway elsewhere is not, until its address is allowed; then it is, and its certificate judged."""
    machine.outside("ip", "addr", "add", f"{ELSEWHERE}/32", "dev", "lo")
    machine.run("systemd-run", "--unit=elsewhere", "/usr/bin/python3", "-c", LISTENS)
    machine.write(
        "/opt/ibkr-bridge/.env",
        f"IBKR_BRIDGE_URL=http://127.0.0.1:8123\nIBKR_GATEWAY_URL=https://{ELSEWHERE}:5000\n"
        f"IBKR_GATEWAY_FINGERPRINT={'ab' * 32}\n",
        0o600,
    )

    machine.run("systemctl", "restart", "ibkr-bridge")
    machine.until(lambda: "gateway_timeout" in machine.curl("/readyz", port=8123), "it is reached all the same")
    unheard = machine.read(HEARD)
    machine.sh(
        f"sed 's/192.0.2.7/{ELSEWHERE}/' /opt/ibkr-bridge/current/deploy/systemd/examples/remote-gateway.conf"
        f" >{UNITS}/ibkr-bridge.service.d/remote-gateway.conf; systemctl daemon-reload; systemctl restart ibkr-bridge"
    )
    machine.until(lambda: machine.read(HEARD).strip() != "", "it is not reached")

    assert unheard == ""
