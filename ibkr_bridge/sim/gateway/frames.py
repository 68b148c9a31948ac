"""WebSocket frames as the Gateway reads and writes them (RFC 6455). Pure: bytes in, frames out.

No library is used: a library would join fragments, refuse old versions and send clients the reason. The Gateway takes
each fragment for a message of its own, accepts any version, and closes without a reason.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from ibkr_bridge.sim.gateway.wire import Head, encode_head

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_FRAME_BYTES = 65536
"""The largest frame in either direction; a larger one ends the connection."""

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Frame:
    """One frame, unmasked."""

    kind: int
    payload: bytes = b""

    @property
    def is_data(self) -> bool:
        """Whether it carries a message, or a part of one."""
        return self.kind in (CONTINUED, TEXT, BINARY)


class FrameTooLongError(ValueError):
    """A frame is larger than the Gateway accepts."""


def is_websocket_request(head: Head) -> bool:
    """Whether a request asks for a WebSocket; the Gateway ignores its path and version."""
    upgrade, connection = head.get("Upgrade") or "", head.get("Connection") or ""
    return head.method == "GET" and upgrade.lower() == "websocket" and "upgrade" in connection.lower()


def encode_handshake(head: Head) -> bytes:
    """The Gateway's response to the upgrade: accepted, without extensions and subprotocols."""
    key = (head.get("Sec-WebSocket-Key") or "").encode("latin-1")
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
    headers = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept))
    return encode_head("HTTP/1.1 101 Switching Protocols", headers)


def parse_frame(buffer: bytes) -> tuple[Frame, int] | None:
    """Read one frame from the start of the buffer.

    Returns:
        The frame and the number of bytes it took; None if more bytes are needed.

    Raises:
        FrameTooLongError: the frame announces more than 64 KiB.
    """
    if len(buffer) < 2:
        return None
    kind, size = buffer[0] & 0x0F, buffer[1] & 0x7F
    width = {126: 2, 127: 8}.get(size, 0)
    start = 2 + width
    if width:
        size = int.from_bytes(buffer[2:start], "big")
    if len(buffer) >= start and size > MAX_FRAME_BYTES:
        raise FrameTooLongError
    mask = buffer[start : start + 4] if buffer[1] & 0x80 else b""
    body = start + (4 if buffer[1] & 0x80 else 0)
    if len(buffer) < body + size:
        return None
    return Frame(kind, _unmask(buffer[body : body + size], mask)), body + size


def _unmask(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    stretched = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(len(payload), "big")


def encode_frame(frame: Frame) -> bytes:
    """Return a frame as a server sends it: final, without a mask."""
    size = len(frame.payload)
    if size < 126:
        length = bytes((size,))
    else:
        length = struct.pack("!BH", 126, size) if size < 65536 else struct.pack("!BQ", 127, size)
    return bytes((0x80 | frame.kind,)) + length + frame.payload


def close_frame(code: int) -> Frame:
    """A close frame without a reason."""
    return Frame(CLOSE, struct.pack("!H", code))
