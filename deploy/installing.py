"""The questions `install.sh` asks that a shell answers badly; each prints little, and its exit status tells.

| word | what it asks |
|---|---|
| `settings` | are they good, as the bridge and systemd read them; prints where to listen, and whether a key is found |
| `held 127.0.0.1:8000` | does systemd, the first process, listen there? |
| `free 127.0.0.1:8000` | does nobody? |
| `healthy 127.0.0.1:8000` | does the bridge answer there soon? |
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path

SETTINGS = Path(".env")
WITHIN = 40.0  # seconds for a new version to answer
SYSTEMD = Path("/proc/1/fd")
LISTENS = "0A"  # as /proc/net/tcp has it


def settings() -> str:
    """Where the settings want the bridge to listen, in numbers as systemd needs it, and whether they have a key.

    Read from `.env` in the working directory and the credentials, as the service will, and from nothing else.

    Raises:
        SystemExit: the settings cannot be used; every problem is named.
    """
    from ibkr_bridge.cli import settings_message
    from ibkr_bridge.config.settings import SettingsError, load_settings
    from ibkr_bridge.config.sources import lines_systemd_reads_differently, read_dotenv, read_secret_files

    env = {name: value for name, value in os.environ.items() if not name.startswith("IBKR_")}
    known = {**read_dotenv(SETTINGS, []), **read_secret_files(env, ("IBKR_BRIDGE_KEY",), [])}
    has_key = any(known.get(name) for name in ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_FILE"))
    if not has_key:
        env["IBKR_BRIDGE_KEY"] = os.urandom(32).hex()  # in the place of one that will be made, or is elsewhere
    try:
        if problems := lines_systemd_reads_differently(SETTINGS):
            raise SettingsError(problems)
        url = load_settings(env, SETTINGS).url
    except SettingsError as exc:
        sys.exit(settings_message(exc))
    return f"{_in_numbers(url.host, url.port)} {'yes' if has_key or env.get('KEY_ELSEWHERE') else 'no'}"


def _in_numbers(name: str, port: int) -> str:
    from ibkr_bridge.server.listener import resolve_address

    try:
        host = str(resolve_address(name, port)[1][0])
    except OSError:
        sys.exit(f"IBKR_BRIDGE_URL: {name} is no address of this machine; write it in numbers, as 127.0.0.1")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parted(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def kernel_form(place: str) -> str:
    """An address as /proc/net/tcp and tcp6 have it: words of the machine's own byte order, in hexadecimal."""
    host, port = _parted(place)
    packed = ipaddress.ip_address(host).packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    turned = words if sys.byteorder == "big" else [word[::-1] for word in words]
    return f"{b''.join(turned).hex().upper()}:{port:04X}"


def held(place: str) -> bool:
    """Whether systemd really listens there: what `systemctl show` says of a socket is what its file says."""
    wanted = kernel_form(place)
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1] == wanted and line[3] == LISTENS}
    return bool(sockets & {str(each.readlink()) for each in SYSTEMD.iterdir() if each.is_symlink()})


def free(place: str) -> bool:
    """Whether we could listen there; says why not."""
    host, port = _parted(place)
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as exc:
        print(f"{place}: {exc.strerror}; see who listens there: ss -ltnp 'sport = :{port}'", file=sys.stderr)
        return False
    return True


def healthy(place: str) -> bool:
    """Whether the bridge answers there, asked until it does; no proxy of the environment is in between."""
    end = time.monotonic() + WITHIN
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        try:
            return bool(direct.open(f"http://{place}/health", timeout=5).status == 200)
        except OSError:
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    asked, *place = sys.argv[1:]
    if asked == "settings":
        print(settings())
    else:
        sys.exit(not {"held": held, "free": free, "healthy": healthy}[asked](*place))
