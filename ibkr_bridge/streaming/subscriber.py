"""Those who read: what waits for each, and what becomes of one who reads too slowly.

Nobody waits for anybody. What is for a reader is put beside its connection and written at the next round, a hundred
times a second at most, all that has gathered at once. Where the connection takes no more, quotes are not kept: when it
takes again, the newest picture of each that moved follows. Orders, trades and everything else are kept up to a bound,
and beyond it the reader is cut off, with a reason: no event is dropped without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ibkr_bridge.streaming.views import Message

FLUSH_INTERVAL_S = 0.01  # seconds between two rounds of writing: what a quote may be held back while others come
MAX_EVENTS = 1000  # that wait for one reader
MAX_BYTES = 4 * 1024 * 1024  # of events that wait for one reader
STUCK_TIMEOUT_S = 60.0  # seconds in which a reader has to take at least something
SLOW_CLIENT = "slow_client"

Row = dict[str, Any]


@dataclass(frozen=True)
class StreamEvent:
    """Something that is told to readers: a message of a topic as IBKR words it, and the same in rows with their ids."""

    message: Message
    rows: tuple[tuple[str, Row], ...] = ()
    name: str = ""
    """What it is, where it is no data: `stale`, `fresh`, `gap`."""


class Encoding(Protocol):
    """How an event is written for a kind of connection. The same object for all connections of that kind."""

    def encode(self, event: StreamEvent) -> bytes:
        """The event as bytes; empty where it is nothing for such connections."""
        ...


class Sink(Protocol):
    """A connection, as far as a reader needs it."""

    @property
    def is_writable(self) -> bool:
        """Whether it takes more now."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and have not left."""
        ...

    def write(self, data: bytes) -> None:
        """Send this; called only while it is clear."""
        ...

    def close(self, reason: str) -> None:
        """Close it, and say why where that is possible."""
        ...


class Subscriber:
    """One who reads.

    Args:
        outlet: the connection.
        form: how events are written for it.
        trouble: why it may not go on reading, such as a key that was rotated; None while it may.
        minds_source: whether it is to be told when what it reads is stale.
    """

    def __init__(
        self,
        sink: Sink,
        encoding: Encoding,
        revocation_check: Callable[[], str | None] = lambda: None,
        *,
        wants_source_events: bool = True,
    ) -> None:
        self.sink = sink
        self.encoding = encoding
        self.revocation_check = revocation_check
        self.wants_source_events = wants_source_events
        self.quotes: list[bytes] = []
        """What waits of quotes; it may be replaced by newer pictures."""
        self.is_lagging = False
        """Whether its connection took no more at the last round: no quotes are put here meanwhile."""
        self.last_event = 0
        """The number of the latest event of all when it was last written to."""
        self.stuck_since = 0.0
        """When it fell behind, seconds of the clock."""
        self.closed_reason: str | None = None
        """Why it reads no more."""
        self._events: list[bytes] = []
        self._count = 0
        self._bytes = 0
        self._left = 0

    def __repr__(self) -> str:
        return f"<Subscriber {self._count} events, {'behind' if self.is_lagging else 'up to date'}>"

    def enqueue(self, event: StreamEvent) -> None:
        """An event that must not be lost; quotes that came before it go first."""
        self.enqueue_bytes(self.encoding.encode(event))

    def enqueue_bytes(self, data: bytes) -> None:
        """The same, as bytes of its connection already."""
        if not data or self.closed_reason is not None:
            return
        self._events += (*self.quotes, data)
        self.quotes.clear()
        self._count, self._bytes = self._count + 1, self._bytes + len(data)
        if self._count > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._check_backlog()

    def _check_backlog(self) -> None:
        """Too much waits: it is a burst where the connection takes it now, and too much for this reader where not."""
        if self.sink.is_writable:
            self._write()
        else:
            self.close(SLOW_CLIENT)

    def flush(self, now: float) -> bool:
        """Write what waits; says whether the connection took it. Quotes it does not take are let go."""
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
        """Whether it has taken nothing for too long; to be asked every second or so."""
        if not self.is_lagging:
            return False
        left, self._left = self._left, self.sink.unsent_bytes
        if self._left < left:
            self.stuck_since = now  # slow, but it takes something
        return now - self.stuck_since > STUCK_TIMEOUT_S

    def close(self, reason: str) -> None:
        """It reads no more."""
        if self.closed_reason is None:
            self.closed_reason = reason
            self._events.clear()
            self.quotes.clear()
            self.sink.close(reason)


class FlushScheduler:
    """Has readers written to soon: at once after a pause, and a hundred times a second while much comes.

    Args:
        write: writes to all who have something waiting.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._next: asyncio.TimerHandle | None = None
        self._last = float("-inf")

    def schedule(self) -> None:
        """Something waits."""
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(loop.time(), self._last + FLUSH_INTERVAL_S), self._flush)

    def stop(self) -> None:
        """Nothing is written any more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _flush(self) -> None:
        self._next, self._last = None, asyncio.get_running_loop().time()
        self._write()
