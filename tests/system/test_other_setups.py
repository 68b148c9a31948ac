"""Other set-ups: an earlier bridge without the installer, a key in a credential, another port, a Gateway elsewhere."""

from __future__ import annotations

import time

from tests.system.machine import TIMEOUT_S, Machine

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
ELSEWHERE, LISTENER_LOG = "10.9.9.1", "/srv/listener.log"
LISTENER = f"""
import socket
server = socket.create_server((\"{ELSEWHERE}\", 5000))
open(\"{LISTENER_LOG}\", \"w\").close()
while True:
    connection, _ = server.accept()
    open(\"{LISTENER_LOG}\", \"w\").write(\"connected\")
"""
OLD_SETTINGS = f"IBKR_BRIDGE_URL=http://127.0.0.1:8000\nIBKR_BRIDGE_KEY={KEY}\n"


def test_an_earlier_setup_with_invalid_settings_keeps_running(machine: Machine) -> None:
    """A key that is too short, or a line that systemd reads differently, is reported before anything is stopped."""
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
    assert machine.unit_property("ActiveState", "my-bridge.service") == "active"
    assert KEY not in machine.run("journalctl", "--no-pager", "-o", "export").stdout


def test_if_the_new_version_does_not_start_the_earlier_setup_runs_again(machine: Machine) -> None:
    """A failed installation must not leave the machine without a bridge."""
    machine.write("/opt/ibkr-bridge/.env", OLD_SETTINGS, 0o644)
    broken = machine.source / "ibkr_bridge/cli/serve.py"
    text = broken.read_text()
    broken.write_text(text + "\nraise SystemExit(3)\n")

    failed = machine.install(check=False)
    broken.write_text(text)

    assert "what ran before runs as before" in failed.stderr
    assert machine.unit_property("ActiveState", "my-bridge.service") == "active"
    assert machine.read("/opt/ibkr-bridge/bridge.py") == OLD_BRIDGE


def test_an_earlier_setup_is_replaced(machine: Machine) -> None:
    """It is a service that runs a bridge.py as root, with two settings. Services of other programs are not changed."""
    machine.write("/opt/ibkr-bridge/.env", OLD_SETTINGS, 0o644)
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")

    output = machine.install().stdout
    machine.wait_until_ready()

    assert "Removing /etc/systemd/system/my-bridge.service" in output
    assert f"chmod 600 {'/opt/ibkr-bridge/.env'}" in output
    assert machine.read("/opt/ibkr-bridge/.env") == OLD_SETTINGS
    assert machine.curl_with_key("/portfolio/accounts", KEY).endswith("\n200")
    assert machine.sh("cat /opt/ibkr-bridge/before/*/my-bridge.service") == OLD_UNIT
    assert machine.unit_property("LoadState", "my-bridge.service") == "not-found"
    assert machine.unit_property("ActiveState", "gateway.service") == "active"


def test_the_key_may_be_in_a_credential(machine: Machine) -> None:
    """It is then in a file of root instead of the settings, and a reload reads that file again."""
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_URL=http://127.0.0.1:8000\n", 0o600)

    output = machine.install().stdout
    machine.run("systemctl", "restart", "ibkr-bridge")
    new_key = machine.read("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY").strip()
    first = machine.curl_with_key("/portfolio/accounts", new_key), machine.curl_with_key("/portfolio/accounts", KEY)
    machine.write("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY", KEY, 0o600)
    machine.run("systemctl", "reload", "ibkr-bridge")
    second = machine.curl_with_key("/portfolio/accounts", new_key), machine.curl_with_key("/portfolio/accounts", KEY)

    assert "has no key: making one" in output
    assert new_key not in output
    assert [reply.rpartition("\n")[2] for reply in (*first, *second)] == ["200", "401", "401", "200"]


def test_an_encrypted_credential_works(machine: Machine) -> None:
    """It is encrypted with a key of this machine, and is read at the start and at a reload."""
    keys = "/etc/ibkr-bridge/credentials"
    machine.sh(
        f"install -d -m 700 {keys}.encrypted && systemd-creds encrypt --with-key=host --name=IBKR_BRIDGE_KEY"
        f" {keys}/IBKR_BRIDGE_KEY {keys}.encrypted/IBKR_BRIDGE_KEY && rm {keys}/IBKR_BRIDGE_KEY"
        f" && sed -i 's/^LoadCredential=/#&/; s/^#LoadCredentialEncrypted=/LoadCredentialEncrypted=/'"
        f" {UNITS}/ibkr-bridge.service.d/credential.conf && systemctl daemon-reload && systemctl restart ibkr-bridge"
    )
    started = machine.curl_with_key("/portfolio/accounts", KEY)
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert (started.rpartition("\n")[2], machine.curl_with_key("/portfolio/accounts", KEY).rpartition("\n")[2]) == (
        "200",
        "200",
    )


def test_another_port_is_held_by_systemd_too(machine: Machine) -> None:
    """The installer writes the address of the settings into the socket unit."""
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_URL=http://localhost:8123\n", 0o600)

    output = machine.install().stdout
    machine.run("systemctl", "restart", "ibkr-bridge")

    assert machine.unit_property("Listen", "ibkr-bridge.socket") == "127.0.0.1:8123 (Stream)"
    assert machine.curl("/health", port=8123).endswith("\n200")
    assert "http://127.0.0.1:8123/health" in output


def test_a_socket_that_differs_from_the_settings_is_refused(machine: Machine) -> None:
    """Otherwise the bridge would listen on a port to which no client connects."""
    machine.write("/opt/ibkr-bridge/.env", "IBKR_BRIDGE_URL=http://127.0.0.1:8124\n", 0o600)

    machine.run("systemctl", "restart", "ibkr-bridge", check=False)
    began = time.monotonic()

    assert (
        "let ListenStream= and IBKR_BRIDGE_URL say the same"
        in machine.run("journalctl", "-u", "ibkr-bridge", "--no-pager", "-n", "20").stdout
    )
    assert time.monotonic() - began < TIMEOUT_S


def test_only_loopback_can_be_reached(machine: Machine) -> None:
    """A Gateway on another address cannot be reached before a drop-in allows the address."""
    machine.run_from_host("ip", "addr", "add", f"{ELSEWHERE}/32", "dev", "lo")
    machine.run("systemd-run", "--unit=elsewhere", "/usr/bin/python3", "-c", LISTENER)
    machine.write(
        "/opt/ibkr-bridge/.env",
        f"IBKR_BRIDGE_URL=http://127.0.0.1:8123\nIBKR_GATEWAY_URL=https://{ELSEWHERE}:5000\n"
        f"IBKR_GATEWAY_FINGERPRINT={'ab' * 32}\n",
        0o600,
    )

    machine.run("systemctl", "restart", "ibkr-bridge")
    machine.wait_until(lambda: "gateway_timeout" in machine.curl("/readyz", port=8123), "the Gateway does not time out")
    log_before = machine.read(LISTENER_LOG)
    machine.sh(
        f"sed 's/192.0.2.7/{ELSEWHERE}/' /opt/ibkr-bridge/current/deploy/systemd/examples/remote-gateway.conf"
        f" >{UNITS}/ibkr-bridge.service.d/remote-gateway.conf; systemctl daemon-reload; systemctl restart ibkr-bridge"
    )
    machine.wait_until(lambda: machine.read(LISTENER_LOG).strip() != "", "the Gateway is not reached")

    assert log_before == ""
