"""A notification socket like systemd's, for tests."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Self

TIMEOUT_S = 10.0  # real time after which a test fails


class FakeSystemd:
    """Receives the notifications of a service.

    Args:
        place: a directory for the socket.
    """

    def __init__(self, place: Path) -> None:
        self.address = str(place / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def wait_for(self, name: str, value: str = "") -> dict[str, str]:
        """Wait for a message that has this name with a value that starts so, and return the message."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                raw = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
                message = dict(line.partition("=")[::2] for line in raw.decode().splitlines())
                if name in message and message[name].startswith(value):
                    return message

    def has_no_message(self) -> bool:
        """Whether no message is waiting. A waiting one is received and dropped."""
        try:
            self._socket.recv(65536)
        except BlockingIOError:
            return True
        return False
