"""A websocket client that says exactly the frames it is told, and shows exactly those that came back (RFC 6455)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tests.sim.wire import Got, Wire

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x01\x02\x03\x04"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the answer to that key, from the RFC itself
PATH = "/v1/api/ws"
LAST = b'"username"'
"""Of what IBKR says unasked when a socket opens, the last message has this in it."""


class Socket:
    """One websocket on a wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def open(self, target: str = PATH, headers: Mapping[str, str] | None = None) -> Got:
        """Ask for the upgrade."""
        self.wire.ask("GET", target, {**UPGRADE, **(headers or {})})
        return await self.wire.hear()

    def say(self, payload: bytes | str, kind: int = TEXT, *, final: bool = True) -> None:
        """Send one frame."""
        data = payload.encode() if isinstance(payload, str) else payload
        size = len(data)
        short = size if size < 126 else 126 if size < 65536 else 127
        wide = b"" if size < 126 else struct.pack("!H" if size < 65536 else "!Q", size)
        masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))
        self.wire.say(bytes((0x80 * final | kind, 0x80 | short)) + wide + MASK + masked)

    async def hear(self) -> tuple[int, bytes]:
        """The next frame: its kind and payload. The first byte shows that it is final and uses no extension."""
        first, size = await self.wire.some(2)
        assert first & 0xF0 == 0x80
        if size >= 126:
            size = int.from_bytes(await self.wire.some(2 if size == 126 else 8), "big")
        return first & 0x0F, await self.wire.some(size)

    async def hears(self, kind: int) -> bytes:
        """The next frame of a kind; others are overlooked."""
        while (found := await self.hear())[0] != kind:
            pass
        return found[1]

    async def greeted(self) -> list[bytes]:
        """What IBKR opens with, where somebody is signed in; whatever comes afterwards is no part of it."""
        said = [await self.hears(BINARY)]
        while LAST not in said[-1]:
            said.append(await self.hears(BINARY))
        return said
