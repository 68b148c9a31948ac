"""The three questions `install.sh` asks that a shell answers badly; each prints little, and its exit status tells.

installing.py address                 the settings as the bridge judges them; prints the address to listen at
installing.py holds 127.0.0.1:8000    does systemd, the first process, listen there?
installing.py health 127.0.0.1:8000   does the bridge answer there soon?
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path

WITHIN = 40.0  # seconds for a new version to answer
SYSTEMD = Path("/proc/1/fd")
LISTENS = "0A"  # as /proc/net/tcp has it


def address() -> str:
    """Where the settings want the bridge to listen, in numbers, since systemd opens the port before names are known.

    Read from `.env` in the working directory and the credentials, as the service will, and from nothing else.

    Raises:
        SystemExit: the settings cannot be used; every problem is named.
    """
    from ibkr_bridge.cli import complaint
    from ibkr_bridge.settings import SettingsError, load

    env = {name: value for name, value in os.environ.items() if not name.startswith("IBKR_")}
    if "KEY_IS_ENCRYPTED" in env:
        env["IBKR_BRIDGE_KEY"] = os.urandom(32).hex()  # in the place of the one that only systemd can read
    try:
        url = load(env, Path(".env")).url
    except SettingsError as exc:
        sys.exit(complaint(exc))
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError:
        sys.exit(f"IBKR_BRIDGE_URL: {url.host} is no address of this machine; write it in numbers, as 127.0.0.1")
    host = min(found, key=lambda each: each[0] != socket.AF_INET)[4][0]
    return f"[{host}]:{url.port}" if ":" in str(host) else f"{host}:{url.port}"


def kernel_form(place: str) -> str:
    """An address as /proc/net/tcp and tcp6 have it: words of the machine's own byte order, in hexadecimal."""
    host, _, port = place.rpartition(":")
    packed = ipaddress.ip_address(host.strip("[]")).packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    turned = words if sys.byteorder == "big" else [word[::-1] for word in words]
    return f"{b''.join(turned).hex().upper()}:{int(port):04X}"


def holds(place: str) -> bool:
    """Whether systemd really listens there: what `systemctl show` says of a socket is what its file says."""
    wanted = kernel_form(place)
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1] == wanted and line[3] == LISTENS}
    return bool(sockets & {str(each.readlink()) for each in SYSTEMD.iterdir() if each.is_symlink()})


def health(place: str) -> bool:
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
    if asked == "address":
        print(address())
    else:
        sys.exit(not {"holds": holds, "health": health}[asked](*place))
