"""The socket on which systemd hears a service, as a test listens to it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Self

PATIENCE = 10.0  # seconds of real time after which a test gives up


class Manager:
    """Hears what a service says, as systemd does.

    Args:
        place: a directory for the socket.
    """

    def __init__(self, place: Path) -> None:
        self.address = str(place / "notify")
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def until(self, name: str, value: str = "") -> dict[str, str]:
        """Wait for a message with this name in it, and with this beginning of its value."""
        async with asyncio.timeout(PATIENCE):
            while True:
                raw = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
                said = dict(line.partition("=")[::2] for line in raw.decode().splitlines())
                self.heard.append(said)
                if name in said and said[name].startswith(value):
                    return said

    def nothing_came(self) -> bool:
        """Whether nothing waits to be heard."""
        try:
            self._socket.recv(65536)
        except BlockingIOError:
            return True
        return False
