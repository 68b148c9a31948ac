"""What systemd is told, and how often it wants a sign: one datagram for each, no package needed.

Without systemd nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
SIGNS_PER_TIMEOUT = 3  # for each time-out of the watchdog: one that comes late must not be the end


class SystemdNotifier:
    """The socket systemd gave us, if it gave one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        path = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path  # @ means an abstract name

    def notify(self, *messages: str) -> None:
        """Send one datagram; whoever does not listen does not stop us."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(messages).encode(), self._address)

    def notify_reloading(self) -> None:
        """A reload begins; `READY` ends it."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval(env: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life; None where nobody waits for them."""
    wanted, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", str(os.getpid()))
    if not (wanted.isascii() and wanted.isdigit() and int(wanted)) or pid != str(os.getpid()):
        return None
    return int(wanted) / 1e6 / SIGNS_PER_TIMEOUT
