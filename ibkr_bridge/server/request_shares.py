"""How many requests of each key are handled at the same time: each holds a connection, and those are limited too.

A request may wait for a minute. Without a share of its own, one key with five hundred of them would leave no connection
to the orders of the others, or to `/health`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable

from ibkr_bridge.calls.shares import reduced_capacity
from ibkr_bridge.errors import Busy
from ibkr_bridge.server.connection import MAX_CONNECTIONS

FREE_CONNECTIONS = 16  # for the routes without a key
RETRY_AFTER_S = 1.0


class RequestShares:
    """Counts the requests that are being handled.

    Args:
        max_requests: how many with a key there may be; each key, and all with a reduced share together, may have three
            quarters of them.
    """

    def __init__(self, max_requests: int = MAX_CONNECTIONS - FREE_CONNECTIONS) -> None:
        self._max_requests = max_requests
        self._share = reduced_capacity(max_requests)
        self._by_key: Counter[str] = Counter()
        self._reduced = 0

    def __repr__(self) -> str:
        return f"<RequestShares {self.total}/{self._max_requests} requests>"

    @property
    def total(self) -> int:
        """How many requests with a key are being handled."""
        return self._by_key.total()

    def begin(self, key_label: str, *, has_reduced_share: bool) -> Callable[[], None]:
        """Count a request that begins. Returns the function to call once when it ends.

        Raises:
            Busy: its key, or all keys together, have as many as they may.
        """
        in_share = max(self._by_key[key_label], self._reduced if has_reduced_share else 0)
        if in_share >= self._share or self.total >= self._max_requests:
            hint = "send fewer requests at once, and end those that nobody waits for"
            raise Busy("too many requests are being handled", hint=hint, retry_after=RETRY_AFTER_S)
        self._add(key_label, 1, has_reduced_share)
        return functools.partial(self._add, key_label, -1, has_reduced_share)

    def _add(self, key_label: str, count: int, has_reduced_share: bool) -> None:
        self._by_key[key_label] += count
        self._reduced += count * has_reduced_share
