"""Ending without losing anybody: count who is inside, let nobody new in, wait for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WITHIN = 10.0  # seconds for everybody
ORDERS_WITHIN = 30.0  # seconds for orders: their outcome is worth the wait


class Presence:
    """Counts those who are inside a `with` of it.

    Args:
        changed: set whenever somebody leaves.
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
    """Who is inside, and whether the door is still open."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.request = Presence(self._changed)
        """Somebody is inside."""
        self.order = Presence(self._changed)
        """A call that changes something is under way."""
        self.is_on = False
        """Nobody new is let in."""
        self.ending = False
        """This process ends; without `is_on` another one takes over its socket, so that nobody is refused."""

    def __repr__(self) -> str:
        return f"<Drain {'on' if self.is_on else 'off'}, {self.inside} inside, {self.orders} orders>"

    @property
    def inside(self) -> int:
        """Requests being answered."""
        return self.request.count

    @property
    def orders(self) -> int:
        """Among them, calls that change something."""
        return self.order.count

    def begin(self, *, succeeded: bool = False) -> None:
        """Let nobody new in; where somebody succeeds us, connections end after their next reply instead."""
        self.ending, self.is_on = True, not succeeded

    async def finished(self, within: float = WITHIN, orders_within: float = ORDERS_WITHIN) -> int:
        """Wait until everybody has left, at most so long. Returns how many are still inside."""
        await self._until(lambda: self.inside == 0, within)
        await self._until(lambda: self.orders == 0, orders_within - within)
        return self.inside

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
