"""How events are written to a caller's connection: as websocket frames, or as Server-Sent Events.

What is told to hundreds of readers is written into bytes once and sent past aiohttp's writers, which would wait for
each reader; handshakes, pings and farewells remain aiohttp's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from ibkr_bridge.server.connection import ClientConnection
from ibkr_bridge.streaming.subscriber import StreamEvent

ONE_BYTE_LENGTH, TWO_BYTE_LENGTH = 126, 1 << 16  # RFC 6455, section 5.2: lengths told in one byte, and in two more
TEXT_FRAME = 0x81  # a whole message of text
COMMENT = b": still here\n\n"
RETRY_MS = 3000  # milliseconds after which a browser connects again


def websocket_frame(text: bytes) -> bytes:
    """A message of text as a server's websocket frame."""
    size = len(text)
    if size < ONE_BYTE_LENGTH:
        return bytes((TEXT_FRAME, size)) + text
    if size < TWO_BYTE_LENGTH:
        return bytes((TEXT_FRAME, ONE_BYTE_LENGTH)) + size.to_bytes(2) + text
    return bytes((TEXT_FRAME, ONE_BYTE_LENGTH + 1)) + size.to_bytes(8) + text


def compact_json(told: object) -> bytes:
    """JSON without blanks; what is no number in JSON, such as 1e999 once it was read, is null."""
    try:
        return json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_replace_non_finite(told), separators=(",", ":")).encode()


def _replace_non_finite(told: object) -> object:
    if isinstance(told, Mapping):
        return {name: _replace_non_finite(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_replace_non_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


class WebSocketEncoding:
    """For websockets: each event is IBKR's own message."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding.encode`."""
        return websocket_frame(compact_json(event.message)) if event.message else b""


class SseEncoding:
    """For Server-Sent Events: each event in rows, one event of the standard's for each of them."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding.encode`."""
        return b"".join(sse_event(row, number, event.name) for number, row in event.rows)


def sse_event(told: object, number: str = "", name: str = "") -> bytes:
    """One event as the HTML standard writes it; JSON without blanks has no line ends."""
    head = (f"event: {name}\n" if name else "") + (f"id: {number}\n" if number else "")
    return head.encode() + b"data: " + compact_json(told) + b"\n\n"


WEBSOCKET_ENCODING, SSE_ENCODING = WebSocketEncoding(), SseEncoding()


class ConnectionSink:
    """One caller's connection, written to directly.

    Args:
        door: the connection.
        ended: called once where the bridge ends it, with the reason.
        chunked: whether HTTP's chunks have to be put around what is written.
    """

    def __init__(self, connection: ClientConnection, ended: Callable[[str], None], *, chunked: bool) -> None:
        self._connection = connection
        self._ended = ended
        self._chunked = chunked
        self.is_open = False
        """Whether the head of the reply has been sent."""

    @property
    def is_writable(self) -> bool:
        """See `Sink`."""
        return self.is_open and self._connection.is_writable

    @property
    def unsent_bytes(self) -> int:
        """See `Sink`."""
        transport = self._connection.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def write(self, data: bytes) -> None:
        """See `Sink`."""
        transport = self._connection.transport
        if transport is not None and not transport.is_closing():
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def close(self, reason: str) -> None:
        """See `Sink`."""
        self.is_open = False
        self._ended(reason)
