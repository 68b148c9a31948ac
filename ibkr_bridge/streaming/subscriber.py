"""Subscribers: the data that is queued for each, and what happens to slow ones.

No subscriber waits for another. Data is queued for each connection and written in the next round, at most a hundred
times a second, all at once. While a connection accepts no more, its quotes are dropped; when it accepts data again, the
latest snapshot of each changed quote follows (conflation). Orders, trades and all other events are queued up to a
limit. Beyond it the subscriber is closed with the reason `slow_client`: no event is dropped silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ibkr_bridge.calls.shares import largest_above
from ibkr_bridge.streaming.views import Message

FLUSH_INTERVAL_S = 0.01  # seconds between two rounds of writing, and so the longest delay of a quote under load
MAX_EVENTS = 1000  # queued events of one subscriber
MAX_BYTES = 4 * 1024 * 1024  # of queued events of one subscriber
MAX_ALL_BYTES = 64 * 1024 * 1024  # of all subscribers, queued and not yet sent
STUCK_TIMEOUT_S = 60.0  # seconds in which a subscriber has to accept at least some bytes
SLOW_CLIENT = "slow_client"

Row = dict[str, Any]


@dataclass(frozen=True)
class StreamEvent:
    """An event for subscribers: a message in IBKR's form, and the same as rows with their ids."""

    message: Message
    rows: tuple[tuple[str, Row], ...] = ()
    name: str = ""
    """The name of an event that is not data: `stale`, `fresh`, `gap`."""


class Encoding(Protocol):
    """How an event is encoded for a kind of connection. All connections of that kind share one object."""

    def encode(self, event: StreamEvent) -> bytes:
        """The event as bytes; empty if such connections do not get it."""
        ...


class Sink(Protocol):
    """A connection, as far as a subscriber uses it."""

    @property
    def is_writable(self) -> bool:
        """Whether it accepts more data now."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and not yet sent."""
        ...

    def write(self, data: bytes) -> None:
        """Write data; called only while `is_writable`."""
        ...

    def close(self, reason: str) -> None:
        """Close it, with the reason if the protocol allows that."""
        ...


class Subscriber:
    """One connection that reads a stream.

    Args:
        sink: the connection.
        encoding: how events are encoded for it.
        revocation_check: returns why it has to be closed, such as a key that was rotated; None while it may read.
        wants_source_events: whether it gets events about a stale or fresh source.
        has_reduced_share: whether its key or token takes market data only within the reduced share.
        key_label: which key or token it came with.
    """

    def __init__(
        self,
        sink: Sink,
        encoding: Encoding,
        revocation_check: Callable[[], str | None] = lambda: None,
        *,
        wants_source_events: bool = True,
        has_reduced_share: bool = False,
        key_label: str = "",
    ) -> None:
        self.sink = sink
        self.encoding = encoding
        self.revocation_check = revocation_check
        self.wants_source_events = wants_source_events
        self.has_reduced_share = has_reduced_share
        self.key_label = key_label
        self.quotes: list[bytes] = []
        """Queued quotes; newer snapshots may replace them."""
        self.is_lagging = False
        """Whether its connection accepted no more in the last round: no quotes are queued meanwhile."""
        self.last_event = 0
        """The number of the latest event of all topics at the time of the last write."""
        self.stuck_since = 0.0
        """When it began to lag behind, in seconds of the clock."""
        self.closed_reason: str | None = None
        """Why it was closed."""
        self._events: list[bytes] = []
        self._count = 0
        self._bytes = 0
        self._unsent_bytes = 0

    def __repr__(self) -> str:
        return f"<Subscriber {self._count} events, {'behind' if self.is_lagging else 'up to date'}>"

    def enqueue(self, event: StreamEvent) -> None:
        """Queue an event that must not be lost, after the quotes that came before it."""
        self.enqueue_bytes(self.encoding.encode(event))

    def enqueue_bytes(self, data: bytes) -> None:
        """Queue an encoded event that must not be lost."""
        if not data or self.closed_reason is not None:
            return
        self._events += (*self.quotes, data)
        self.quotes.clear()
        self._count, self._bytes = self._count + 1, self._bytes + len(data)
        if self._count > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._check_backlog()

    def _check_backlog(self) -> None:
        """Over the limit: write if the connection accepts data, as then it is only a burst; else close the
        subscriber.
        """
        if self.sink.is_writable:
            self._write()
        else:
            self.close(SLOW_CLIENT)

    def flush(self, now: float) -> bool:
        """Write the queued data. Returns whether the connection accepted it; quotes that it does not accept are
        dropped.
        """
        if self.closed_reason is not None:
            return True
        if not self.sink.is_writable:
            self.quotes.clear()
            self.stuck_since = self.stuck_since if self.is_lagging else now
            self.is_lagging = True
            return False
        self._write()
        return True

    def _write(self) -> None:
        if self._events or self.quotes:
            self.sink.write(b"".join((*self._events, *self.quotes)))
            self._events.clear()
            self.quotes.clear()
            self._count = self._bytes = 0

    def is_stuck(self, now: float) -> bool:
        """Whether it has accepted nothing for too long; to be called about once a second."""
        if not self.is_lagging:
            return False
        before, self._unsent_bytes = self._unsent_bytes, self.sink.unsent_bytes
        if self._unsent_bytes < before:
            self.stuck_since = now  # slow, but it accepts some bytes
        return now - self.stuck_since > STUCK_TIMEOUT_S

    @property
    def held_bytes(self) -> int:
        """Bytes in memory because its client has not read them."""
        return self._bytes + self.sink.unsent_bytes

    def close(self, reason: str) -> None:
        """Close it with a reason; later calls do nothing."""
        if self.closed_reason is None:
            self.closed_reason = reason
            self._events.clear()
            self.quotes.clear()
            self.sink.close(reason)


def above_budget(subscribers: Iterable[Subscriber], max_bytes: int = MAX_ALL_BYTES) -> list[Subscriber]:
    """Those with the most bytes in memory, as few as necessary so that the others are within the budget of all."""
    sizes = {each: each.held_bytes for each in subscribers if each.closed_reason is None}
    return largest_above(sizes, max_bytes)


class FlushScheduler:
    """Schedules rounds of writing: at once after a pause, and at most a hundred times a second.

    Args:
        write: runs one round.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._next: asyncio.TimerHandle | None = None
        self._last = float("-inf")

    def schedule(self) -> None:
        """Schedule a round, unless one is scheduled already."""
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(loop.time(), self._last + FLUSH_INTERVAL_S), self._flush)

    def stop(self) -> None:
        """Cancel the scheduled round."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _flush(self) -> None:
        self._next, self._last = None, asyncio.get_running_loop().time()
        self._write()
