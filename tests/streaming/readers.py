"""Subscribers that take everything, for what is behind the hub."""

from __future__ import annotations

from ibkr_bridge.streaming.subscriber import StreamEvent


class Paper:
    """A connection that takes everything."""

    is_writable = True
    unsent_bytes = 0

    def __init__(self) -> None:
        self.reason = ""

    def write(self, data: bytes) -> None:
        """See `Sink`."""

    def close(self, reason: str) -> None:
        """See `Sink`."""
        self.reason = reason


class Kept:
    """An encoding that keeps the events as they are."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding`."""
        self.events.append(event)
        return b"x"
