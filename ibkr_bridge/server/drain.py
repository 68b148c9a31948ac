"""Drain: accept no new work, and wait for the requests in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

DRAIN_TIMEOUT_S = 10.0  # seconds for all requests
ORDERS_TIMEOUT_S = 30.0  # seconds for orders: their outcome is worth the wait


class InFlightCounter:
    """Counts the requests that are inside its `with` block.

    Args:
        changed: set whenever one leaves.
    """

    def __init__(self, changed: asyncio.Event) -> None:
        self.count = 0
        self._changed = changed

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        self._changed.set()


class Drain:
    """The requests in progress, and whether new ones are accepted."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.request_counter = InFlightCounter(self._changed)
        """Counts all requests."""
        self.order_counter = InFlightCounter(self._changed)
        """Counts the calls among them that change something at IBKR."""
        self.is_draining = False
        """Whether new requests are refused."""
        self.is_ending = False
        """Whether this process ends. With a socket handover it still accepts requests: `is_draining` is False then."""

    def __repr__(self) -> str:
        return f"<Drain {'on' if self.is_draining else 'off'}, {self.in_flight} inside, {self.orders_in_flight} orders>"

    @property
    def in_flight(self) -> int:
        """How many requests are in progress."""
        return self.request_counter.count

    @property
    def orders_in_flight(self) -> int:
        """How many of them change something at IBKR."""
        return self.order_counter.count

    def begin(self, *, handover: bool = False) -> None:
        """Accept no new work. With a socket handover we keep accepting requests and close each connection after its
        next response.
        """
        self.is_ending, self.is_draining = True, not handover

    async def wait_finished(self, timeout_s: float = DRAIN_TIMEOUT_S, orders_within: float = ORDERS_TIMEOUT_S) -> int:
        """Wait until no request is in progress, up to the deadlines. Returns how many are left."""
        await self._wait_until(lambda: self.in_flight == 0, timeout_s)
        await self._wait_until(lambda: self.orders_in_flight == 0, orders_within - timeout_s)
        return self.in_flight

    async def _wait_until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
