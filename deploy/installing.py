"""Checks for `install.sh` that are hard to write in a shell. The exit status is the result.

| command | check |
|---|---|
| `settings` | whether bridge and systemd can use the settings; prints where to listen, and whether there is a key |
| `is-held 127.0.0.1:8000` | whether systemd, process 1, listens there |
| `is-free 127.0.0.1:8000` | whether nobody listens there |
| `is-healthy 127.0.0.1:8000` | whether the bridge answers there soon |
"""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # isolated Python does not find the program
SETTINGS = Path(".env")
HEALTH_TIMEOUT_S = 40.0  # for a new version to answer
SYSTEMD_FILES = Path("/proc/1/fd")
MISCONFIGURED = "78"  # the exit status, as systemd prints it
LISTEN_STATE = "0A"  # in /proc/net/tcp


def check_settings() -> str:
    """The numeric address on which the bridge will listen, as systemd needs it, and `yes` or `no` for a key.

    The sources are those of the service: `.env` in the working directory and the credentials.

    Raises:
        SystemExit: the settings cannot be used; the message has all problems.
    """
    from ibkr_bridge.cli import settings_message
    from ibkr_bridge.config.settings import SettingsError, load_server_settings
    from ibkr_bridge.config.sources import lines_systemd_reads_differently, read_dotenv, read_secret_files

    env = {name: value for name, value in os.environ.items() if not name.startswith("IBKR_")}
    values = {**read_dotenv(SETTINGS, []), **read_secret_files(env, ("IBKR_BRIDGE_KEY",), [])}
    has_key = any(values.get(name) for name in ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_FILE"))
    if not has_key:
        env["IBKR_BRIDGE_KEY"] = os.urandom(32).hex()  # stands for a key that will be made, or that is elsewhere
    try:
        if problems := lines_systemd_reads_differently(SETTINGS):
            raise SettingsError(problems)
        url = load_server_settings(env, SETTINGS).url
    except SettingsError as exc:
        sys.exit(settings_message(exc))
    return f"{_numeric_address(url.host, url.port)} {'yes' if has_key or env.get('KEY_ELSEWHERE') else 'no'}"


def _numeric_address(name: str, port: int) -> str:
    from ibkr_bridge.server.listener import resolve_address

    try:
        host = str(resolve_address(name, port)[1][0])
    except OSError:
        sys.exit(f"IBKR_BRIDGE_URL: {name} is not an address of this machine; write a numeric one, such as 127.0.0.1")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def kernel_form(address: str) -> str:
    """An address as in /proc/net/tcp and tcp6: 32-bit words in the byte order of the machine, in hexadecimal."""
    host, port = _split_address(address)
    packed = ipaddress.ip_address(host).packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    ordered = words if sys.byteorder == "big" else [word[::-1] for word in words]
    return f"{b''.join(ordered).hex().upper()}:{port:04X}"


def is_held(address: str) -> bool:
    """Whether systemd really listens there. `systemctl show` would only repeat what the unit file says."""
    wanted = kernel_form(address)
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1] == wanted and line[3] == LISTEN_STATE}
    return bool(sockets & {str(each.readlink()) for each in SYSTEMD_FILES.iterdir() if each.is_symlink()})


def is_free(address: str) -> bool:
    """Whether the bridge could listen there; if not, the reason is printed."""
    host, port = _split_address(address)
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as exc:
        print(f"{address}: {exc.strerror}; see who listens there: ss -ltnp 'sport = :{port}'", file=sys.stderr)
        return False
    return True


def is_healthy(address: str) -> bool:
    """Whether the bridge answers there before the timeout; if not, the reason is printed. No proxy is used."""
    deadline, reason = time.monotonic() + HEALTH_TIMEOUT_S, "it did not answer"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and not has_failed():
        try:
            with direct.open(f"http://{address}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError as exc:
            reason = str(exc)
            time.sleep(0.2)
    print(f"{address}: {reason}. {failure_of(show_service())}", file=sys.stderr)
    return False


def has_failed() -> bool:
    """Whether systemd has given the service up, so that waiting does not help."""
    return show_service().get("ActiveState") == "failed"


def show_service() -> dict[str, str]:
    """What systemd says of the service; nothing without systemd."""
    unit = os.environ.get("SERVICE", "ibkr-bridge.service")
    command = ["systemctl", "show", unit, "-p", "ActiveState,Result,ExecMainStatus"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return {name: value for name, equals, value in (line.partition("=") for line in output.splitlines()) if equals}


def failure_of(service: Mapping[str, str]) -> str:
    """Why the service does not run, as one sentence."""
    status = service.get("ExecMainStatus", "")
    if status == MISCONFIGURED:
        return "It ended with 78: the settings cannot be used; the lines below name every problem."
    if service.get("ActiveState") == "active":
        return "The service runs, and does not answer."
    return (
        f"The service is {service.get('ActiveState', 'unknown')}: {service.get('Result', '?')}, status {status or '?'}."
    )


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "settings":
        print(check_settings())
    else:
        sys.exit(not {"is-held": is_held, "is-free": is_free, "is-healthy": is_healthy}[command](*arguments))
