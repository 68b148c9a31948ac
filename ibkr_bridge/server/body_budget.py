"""The memory that request bodies may take together, from their first byte until their request is answered.

A body waits with its request: for the session, for admission, for the order lock. Small bodies, and so those of orders,
always find room; their number is that of the connections.
"""

from __future__ import annotations

from collections.abc import Callable

from ibkr_bridge.calls.messages import call_once, noop
from ibkr_bridge.calls.shares import reduced_capacity
from ibkr_bridge.errors import Busy

MAX_BYTES = 32 * 1024 * 1024  # of all bodies; 32 of the largest
SMALL_BYTES = 16 * 1024  # of a body that always passes: 512 connections make 8 MiB
RETRY_AFTER_S = 5.0


class BodyBudget:
    """Counts the bytes of all bodies in memory.

    Args:
        max_bytes: how many they may be together, without small ones.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self.used_bytes = 0
        self._reduced_bytes = 0  # of them, those of callers with a reduced share

    def __repr__(self) -> str:
        return f"<BodyBudget {self.used_bytes}/{self._max_bytes} bytes>"

    def reserve(self, count: int, *, has_reduced_share: bool = False) -> Callable[[], None]:
        """Reserve room for a body. Returns the function that releases it.

        Raises:
            Busy: there is no room, or none within the reduced share.
        """
        if count <= SMALL_BYTES:
            return noop
        reduced = count if has_reduced_share else 0
        is_share_used_up = self._reduced_bytes + reduced > reduced_capacity(self._max_bytes)
        if is_share_used_up or self.used_bytes + count > self._max_bytes:
            hint = "send fewer large bodies at once"
            raise Busy("too many large request bodies are in memory", hint=hint, retry_after=RETRY_AFTER_S)
        self._add(count, reduced)
        return call_once(lambda: self._add(-count, -reduced))

    def _add(self, count: int, reduced: int) -> None:
        self.used_bytes += count
        self._reduced_bytes += reduced
