"""A websocket client that sends exactly the given frames, and shows exactly those that came back (RFC 6455)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tests.sim.wire import Wire, WireResponse

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
GREETING_END = b'"username"'
"""The last message of IBKR's greeting contains these bytes."""


class Socket:
    """One websocket on a wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def open(self, target: str = PATH, headers: Mapping[str, str] | None = None) -> WireResponse:
        """Request the upgrade and return its response."""
        self.wire.send_request("GET", target, {**UPGRADE, **(headers or {})})
        return await self.wire.receive_response()

    def send(self, payload: bytes | str, kind: int = TEXT, *, final: bool = True) -> None:
        """Send one frame."""
        data = payload.encode() if isinstance(payload, str) else payload
        size = len(data)
        short = size if size < 126 else 126 if size < 65536 else 127
        wide = b"" if size < 126 else struct.pack("!H" if size < 65536 else "!Q", size)
        masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))
        self.wire.send(bytes((0x80 * final | kind, 0x80 | short)) + wide + MASK + masked)

    async def receive_frame(self) -> tuple[int, bytes]:
        """Return kind and payload of the next frame. Its first byte must show that it is final without extensions."""
        first, size = await self.wire.read_exactly(2)
        assert first & 0xF0 == 0x80
        if size >= 126:
            size = int.from_bytes(await self.wire.read_exactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self.wire.read_exactly(size)

    async def receive_payload(self, kind: int) -> bytes:
        """Return the payload of the next frame of a kind; other frames are skipped."""
        while (frame := await self.receive_frame())[0] != kind:
            pass
        return frame[1]

    async def receive_greeting(self) -> list[bytes]:
        """Return IBKR's greeting to a socket that opens while somebody is signed in."""
        payloads = [await self.receive_payload(BINARY)]
        while GREETING_END not in payloads[-1]:
            payloads.append(await self.receive_payload(BINARY))
        return payloads
