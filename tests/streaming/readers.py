"""A connection and an encoding for tests of the hub."""

from __future__ import annotations

from ibkr_bridge.streaming.subscriber import StreamEvent


class WritableSink:
    """A connection that is always writable."""

    is_writable = True
    unsent_bytes = 0

    def __init__(self) -> None:
        self.reason = ""

    def write(self, data: bytes) -> None:
        """See `Sink`."""

    def close(self, reason: str) -> None:
        """See `Sink`."""
        self.reason = reason


class RecordingEncoding:
    """An encoding that records the events."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding`."""
        self.events.append(event)
        return b"x"
