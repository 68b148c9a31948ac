"""The notification protocol of systemd: one datagram for each message.

Without systemd nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
SIGNS_PER_TIMEOUT = 3  # so that one late sign of life does not end the bridge


class SystemdNotifier:
    """The notification socket of systemd; without one, messages are dropped."""

    def __init__(self, env: Mapping[str, str]) -> None:
        path = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path  # @ means an abstract name

    def notify(self, *messages: str) -> None:
        """Send one datagram. If nobody listens, the message is dropped."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(messages).encode(), self._address)

    def notify_reloading(self) -> None:
        """Notify of the start of a reload; `READY` ends it."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval(env: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life; None if systemd has no watchdog for this process."""
    timeout_us, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", str(os.getpid()))
    if not (timeout_us.isascii() and timeout_us.isdigit() and int(timeout_us)) or pid != str(os.getpid()):
        return None
    return int(timeout_us) / 1e6 / SIGNS_PER_TIMEOUT
