"""Ending without losing anybody: count who is inside, let nobody new in, wait for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WITHIN = 10.0  # seconds for everybody
ORDERS_WITHIN = 30.0  # seconds for orders: their outcome is worth the wait


class Drain:
    """Who is inside, and whether the door is still open."""

    def __init__(self) -> None:
        self._inside = 0
        self._orders = 0
        self._changed = asyncio.Event()
        self.is_on = False
        """Nobody new is let in."""
        self.ending = False
        """This process ends; without `is_on` another one takes over its socket, so that nobody is refused."""

    def __repr__(self) -> str:
        return f"<Drain {'on' if self.is_on else 'off'}, {self._inside} inside, {self._orders} orders>"

    @property
    def inside(self) -> int:
        """Requests being answered."""
        return self._inside

    @property
    def orders(self) -> int:
        """Among them, calls that change something."""
        return self._orders

    @contextmanager
    def request(self) -> Iterator[None]:
        """Somebody is inside."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._changed.set()

    @contextmanager
    def order(self) -> Iterator[None]:
        """A call that changes something is under way."""
        self._orders += 1
        try:
            yield
        finally:
            self._orders -= 1
            self._changed.set()

    def begin(self, *, succeeded: bool = False) -> None:
        """Let nobody new in; where somebody succeeds us, connections end after their next reply instead."""
        self.ending, self.is_on = True, not succeeded

    async def finished(self, within: float = WITHIN, orders_within: float = ORDERS_WITHIN) -> int:
        """Wait until everybody has left, at most so long. Returns how many are still inside."""
        await self._until(lambda: self._inside == 0, within)
        await self._until(lambda: self._orders == 0, orders_within - within)
        return self._inside

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
