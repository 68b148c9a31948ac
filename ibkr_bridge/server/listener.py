"""The listening socket: systemd's if it passed one, else one that the bridge binds."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ibkr_bridge.config.env_reader import MAX_SOCKET_PATH_BYTES
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.value_types import is_loopback

CONTROL_SOCKET = "control.sock"
"""The name of the control socket in the state directory."""
FIRST_SYSTEMD_FD = 3  # the first descriptor systemd passes on


def listening_socket(settings: Settings, env: Mapping[str, str]) -> tuple[socket.socket, bool]:
    """The listening socket, and whether systemd holds it, so that the next process can accept from it.

    Raises:
        OSError: the port is in use or not allowed, or systemd opened an address that differs from the settings.
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
    """Whether systemd's address is the one of the settings; a host name can have several addresses."""
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(wanted)
    except ValueError:
        return (
            is_loopback(host) if is_loopback(wanted) else host in {each[4][0] for each in socket.getaddrinfo(wanted, 0)}
        )


def systemd_socket(env: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that systemd passed (`ibkr-bridge.socket`); None if it passed none.

    Raises:
        OSError: systemd passed something else than one listening TCP socket.
    """
    if env.get("LISTEN_PID") != str(os.getpid()):
        return None
    if env.get("LISTEN_FDS") != "1":
        raise OSError(0, "systemd handed over more than one socket; ibkr-bridge.socket must have one ListenStream=")
    inherited = socket.socket(fileno=FIRST_SYSTEMD_FD)
    is_tcp = inherited.family in (socket.AF_INET, socket.AF_INET6) and inherited.type is socket.SOCK_STREAM
    if not is_tcp or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.close()
        raise OSError(0, "the socket from systemd must be a listening TCP socket")
    inherited.setblocking(False)
    os.set_inheritable(FIRST_SYSTEMD_FD, False)
    return inherited


def control_socket(state_dir: Path | None) -> socket.socket | None:
    """A listening Unix socket in the state directory, which only its owner can open; None if there can be none.

    It takes the place of the socket of a run that was killed.
    """
    if state_dir is None or len(str(state_dir / CONTROL_SOCKET).encode()) > MAX_SOCKET_PATH_BYTES:
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            (state_dir / CONTROL_SOCKET).unlink()
        earlier = os.umask(0o177)  # so that it never exists with another mode
        try:
            listener.bind(str(state_dir / CONTROL_SOCKET))
        finally:
            os.umask(earlier)
        listener.listen(16)
    except OSError:
        listener.close()
        return None
    listener.setblocking(False)
    return listener


def resolve_address(host: str, port: int) -> tuple[int, Any]:
    """The family and address to listen at. Of several addresses IPv4 comes first: 127.0.0.1 for localhost.

    Raises:
        OSError: the name cannot be resolved.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(addresses, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def bind(host: str, port: int) -> socket.socket:
    """Bind and listen at once, so that a port that is in use is reported before anything is built.

    Raises:
        OSError: the port is in use, or not an address of this machine.
    """
    family, address = resolve_address(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
