"""systemd's side of our life: what it is told, how often it wants a sign, and the socket it may have opened for us.

One datagram for each message, no package needed. Without systemd nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
SIGNS = 3  # for each time-out of the watchdog: one that comes late must not be the end
FIRST_SOCKET = 3  # the first descriptor systemd passes on


class Systemd:
    """The socket systemd gave us, if it gave one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        path = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path  # @ means an abstract name

    def tell(self, *messages: str) -> None:
        """Send one datagram; whoever does not listen does not stop us."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(messages).encode(), self._address)

    def tell_reloading(self) -> None:
        """A reload begins; `READY` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_pause(env: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life; None where nobody waits for them."""
    wanted, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", str(os.getpid()))
    if not (wanted.isascii() and wanted.isdigit() and int(wanted)) or pid != str(os.getpid()):
        return None
    return int(wanted) / 1e6 / SIGNS


def handed_over(env: Mapping[str, str]) -> socket.socket | None:
    """The listening socket systemd opened for us, if it did (`ibkr-bridge.socket`).

    Raises:
        OSError: what was handed over is not one listening TCP socket.
    """
    if env.get("LISTEN_PID") != str(os.getpid()):
        return None
    if env.get("LISTEN_FDS") != "1":
        raise OSError(0, "systemd handed over more than one socket; ibkr-bridge.socket must have one ListenStream=")
    taken = socket.socket(fileno=FIRST_SOCKET)
    listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type is not socket.SOCK_STREAM or not listens:
        taken.close()
        raise OSError(0, "what systemd handed over is no listening TCP socket")
    taken.setblocking(False)
    os.set_inheritable(FIRST_SOCKET, False)
    return taken
