"""Encode events as websocket frames or Server-Sent Events and write them to a caller's connection.

An event for hundreds of subscribers is encoded once and written to their transports directly. The writers of aiohttp
would wait for each subscriber; they are used for handshakes, pings and closing only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from ibkr_bridge.server.connection import ClientConnection
from ibkr_bridge.streaming.subscriber import StreamEvent

ONE_BYTE_LENGTH, TWO_BYTE_LENGTH = 126, 1 << 16  # RFC 6455, section 5.2: limits of the one-byte and the two-byte length
TEXT_FRAME = 0x81  # a text message in a single frame
COMMENT = b": still here\n\n"
RETRY_MS = 3000  # after which a browser reconnects


def websocket_frame(text: bytes) -> bytes:
    """A text message as a websocket frame of a server, which has no mask."""
    size = len(text)
    if size < ONE_BYTE_LENGTH:
        return bytes((TEXT_FRAME, size)) + text
    if size < TWO_BYTE_LENGTH:
        return bytes((TEXT_FRAME, ONE_BYTE_LENGTH)) + size.to_bytes(2) + text
    return bytes((TEXT_FRAME, ONE_BYTE_LENGTH + 1)) + size.to_bytes(8) + text


def compact_json(value: object) -> bytes:
    """JSON without spaces. A float that JSON lacks, such as infinity for a parsed 1e999, becomes null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return json.dumps(_replace_non_finite(value), separators=(",", ":")).encode()


def _replace_non_finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _replace_non_finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_replace_non_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class WebSocketEncoding:
    """Encodes for websockets: an event is one frame with IBKR's own message."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding.encode`."""
        return websocket_frame(compact_json(event.message)) if event.message else b""


class SseEncoding:
    """Encodes Server-Sent Events: one for each row of the event."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding.encode`."""
        return b"".join(sse_event(row, number, event.name) for number, row in event.rows)


def sse_event(data: object, number: str = "", name: str = "") -> bytes:
    """One event in the format of the HTML standard. Compact JSON has no line breaks, so one `data` line is enough."""
    head = (f"event: {name}\n" if name else "") + (f"id: {number}\n" if number else "")
    return head.encode() + b"data: " + compact_json(data) + b"\n\n"


WEBSOCKET_ENCODING, SSE_ENCODING = WebSocketEncoding(), SseEncoding()


class ConnectionSink:
    """Writes to one caller's connection directly.

    Args:
        connection: of the caller.
        on_close: called once with the reason if the bridge ends the stream.
        chunked: whether the bytes must be framed as HTTP chunks.
    """

    def __init__(self, connection: ClientConnection, on_close: Callable[[str], None], *, chunked: bool) -> None:
        self._connection = connection
        self._on_close = on_close
        self._chunked = chunked
        self.is_open = False
        """Whether the head of the response has been sent and the stream has not ended."""

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
        self._on_close(reason)
