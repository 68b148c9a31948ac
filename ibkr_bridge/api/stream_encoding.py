"""How events are written to a caller's connection: as websocket frames, or as Server-Sent Events.

What is told to hundreds of readers is written into bytes once and sent past aiohttp's writers, which would wait for
each reader; handshakes, pings and farewells remain aiohttp's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from ibkr_bridge.server.connection import Door
from ibkr_bridge.streaming.subscriber import Event

SMALL, MIDDLE = 126, 1 << 16  # RFC 6455, section 5.2: lengths told in one byte, and in two more
TEXT_FRAME = 0x81  # a whole message of text
COMMENT = b": still here\n\n"
RETRY = 3000  # milliseconds after which a browser connects again


def frame(text: bytes) -> bytes:
    """A message of text as a server's websocket frame."""
    size = len(text)
    if size < SMALL:
        return bytes((TEXT_FRAME, size)) + text
    if size < MIDDLE:
        return bytes((TEXT_FRAME, SMALL)) + size.to_bytes(2) + text
    return bytes((TEXT_FRAME, SMALL + 1)) + size.to_bytes(8) + text


def compact(told: object) -> bytes:
    """JSON without blanks; what is no number in JSON, such as 1e999 once it was read, is null."""
    try:
        return json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(told), separators=(",", ":")).encode()


def _finite(told: object) -> object:
    if isinstance(told, Mapping):
        return {name: _finite(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


class Frames:
    """For websockets: each event is IBKR's own message."""

    def write(self, event: Event) -> bytes:
        """See `readers.Form`."""
        return frame(compact(event.message)) if event.message else b""


class Rows:
    """For Server-Sent Events: each event in rows, one event of the standard's for each of them."""

    def write(self, event: Event) -> bytes:
        """See `readers.Form`."""
        return b"".join(sse(row, number, event.name) for number, row in event.rows)


def sse(told: object, number: str = "", name: str = "") -> bytes:
    """One event as the HTML standard writes it; JSON without blanks has no line ends."""
    head = (f"event: {name}\n" if name else "") + (f"id: {number}\n" if number else "")
    return head.encode() + b"data: " + compact(told) + b"\n\n"


FRAMES, ROWS = Frames(), Rows()


class Outlet:
    """One caller's connection, written to directly.

    Args:
        door: the connection.
        ended: called once where the bridge ends it, with the reason.
        chunked: whether HTTP's chunks have to be put around what is written.
    """

    def __init__(self, door: Door, ended: Callable[[str], None], *, chunked: bool) -> None:
        self._door = door
        self._ended = ended
        self._chunked = chunked
        self.is_open = False
        """Whether the head of the reply has been sent."""

    @property
    def is_clear(self) -> bool:
        """See `readers.Outlet`."""
        return self.is_open and self._door.is_clear

    @property
    def unsent(self) -> int:
        """See `readers.Outlet`."""
        transport = self._door.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def write(self, data: bytes) -> None:
        """See `readers.Outlet`."""
        transport = self._door.transport
        if transport is not None and not transport.is_closing():
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, reason: str) -> None:
        """See `readers.Outlet`."""
        self.is_open = False
        self._ended(reason)
