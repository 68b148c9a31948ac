"""Replies that nobody reads: how long one may stay unread, and how many bytes all of them may take. Pure.

What a client has not read stays in the kernel's buffer and in that of the transport. A connection makes progress when
its unread bytes become fewer, or when its transport had room again. More bytes are no progress: a client can send
requests without end and read nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ibkr_bridge.calls.shares import largest_above

UNREAD_TIMEOUT_S = 30.0  # without any progress; twice what the next chunk of a large response may take
MAX_UNREAD_BYTES = 64 * 1024 * 1024  # of all connections together, without streams
CHECK_INTERVAL_S = 1.0

C = TypeVar("C")


@dataclass(frozen=True)
class Unread:
    """What one connection has not read."""

    bytes: int
    drained: int
    """How often its transport had room again."""


@dataclass
class _Watched:
    latest: Unread
    since: float


class UnreadReplies(Generic[C]):
    """Watches the unread bytes of connections.

    Args:
        timeout_s: how long a connection may make no progress.
        max_bytes: how many bytes all connections may have unread.
    """

    def __init__(self, timeout_s: float = UNREAD_TIMEOUT_S, max_bytes: int = MAX_UNREAD_BYTES) -> None:
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._watched: dict[C, _Watched] = {}

    def to_close(self, unread: Mapping[C, Unread], now: float) -> list[C]:
        """The connections to close: those that are stuck, and above the budget those with the most unread bytes."""
        watched = {}
        for connection, current in unread.items():
            before = self._watched.get(connection)
            if current.bytes:
                is_stuck = before is not None and not _has_progress(before.latest, current)
                watched[connection] = _Watched(current, before.since if before is not None and is_stuck else now)
        self._watched = watched
        stuck = [each for each, state in watched.items() if now - state.since >= self._timeout_s]
        others = {each: unread[each].bytes for each in watched if each not in stuck}
        return [*stuck, *largest_above(others, self._max_bytes)]


def _has_progress(before: Unread, current: Unread) -> bool:
    return current.bytes < before.bytes or current.drained > before.drained
