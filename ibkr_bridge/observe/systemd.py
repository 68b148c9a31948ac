"""What systemd is told: one datagram for each thing, no package needed. Without systemd nothing happens."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

READY, STOPPING = "READY=1", "STOPPING=1"


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
            channel.sendto("\n".join(messages).encode(), self._address)
