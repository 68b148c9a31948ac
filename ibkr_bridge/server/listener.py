"""The listening socket: systemd's if it passed one, else one that the bridge binds."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from typing import Any

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.value_types import is_loopback

FIRST_SYSTEMD_FD = 3  # the first descriptor systemd passes on


def listening_socket(settings: Settings, env: Mapping[str, str]) -> tuple[socket.socket, bool]:
    """The listening socket, and whether it is systemd's, so that a successor takes over from us.

    Raises:
        OSError: the port is taken or not ours, or systemd opened another one than the settings say.
    """
    inherited, url = systemd_socket(env), settings.url
    if inherited is None:
        return bind(url.host, url.port), False
    host, port = inherited.getsockname()[:2]
    if url.port not in (0, port) or not _matches_settings(host, url.host):
        inherited.close()
        raise OSError(0, f"systemd opened {host} port {port}; let ListenStream= and IBKR_BRIDGE_URL say the same")
    return inherited, True


def _matches_settings(host: str, wanted: str) -> bool:
    """Whether the address systemd listens at is the one of the settings; a name may stand for several."""
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(wanted)
    except ValueError:
        return (
            is_loopback(host) if is_loopback(wanted) else host in {each[4][0] for each in socket.getaddrinfo(wanted, 0)}
        )


def systemd_socket(env: Mapping[str, str]) -> socket.socket | None:
    """The listening socket systemd opened for us, if it did (`ibkr-bridge.socket`).

    Raises:
        OSError: what was handed over is not one listening TCP socket.
    """
    if env.get("LISTEN_PID") != str(os.getpid()):
        return None
    if env.get("LISTEN_FDS") != "1":
        raise OSError(0, "systemd handed over more than one socket; ibkr-bridge.socket must have one ListenStream=")
    taken = socket.socket(fileno=FIRST_SYSTEMD_FD)
    listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type is not socket.SOCK_STREAM or not listens:
        taken.close()
        raise OSError(0, "the socket from systemd must be a listening TCP socket")
    taken.setblocking(False)
    os.set_inheritable(FIRST_SYSTEMD_FD, False)
    return taken


def resolve_address(host: str, port: int) -> tuple[int, Any]:
    """The family and address to listen at where a name stands for several: of version 4, as 127.0.0.1 for localhost.

    Raises:
        OSError: it is no address of this machine.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def bind(host: str, port: int) -> socket.socket:
    """A listening address taken now, so that a taken port is known before anything is built.

    Raises:
        OSError: it is taken, or not ours.
    """
    family, address = resolve_address(host, port)
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(512)
    except OSError:
        taken.close()
        raise
    taken.setblocking(False)
    return taken
