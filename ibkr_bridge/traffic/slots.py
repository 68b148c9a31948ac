"""The Gateway's few places, and the queue for ours.

The Gateway works on five calls at a time, for everybody, itself included; a sixth waits there without an end. We use
four at most, one of them kept for orders, and the keeper's single probe stands beside them. A place is given back when
the Gateway has stopped working on the call, not when we have stopped waiting for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ibkr_bridge.errors import Busy

PLACES = 4  # of the Gateway's five; the fifth is for the keeper, the Gateway's own tickle and IBeam
FOR_ORDERS = 1
LONGEST_QUEUE = 128  # calls of a sort; behind so many nobody is served within a reasonable wait
TRY_AGAIN = 1.0  # seconds


class Slots:
    """Hands out places: orders first, then reads in the order they came."""

    def __init__(self) -> None:
        self._taken = 0
        self._orders: deque[asyncio.Future[None]] = deque()
        self._reads: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<Slots {self._taken}/{PLACES} taken, {self.waiting} waiting>"

    @property
    def taken(self) -> int:
        """Calls of ours inside the Gateway, ghosts included."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Calls waiting for a place."""
        return len(self._orders) + len(self._reads)

    async def take(self, *, order: bool, wait: float) -> Callable[[], None]:
        """Wait for a place, at most `wait` seconds.

        Returns:
            What gives the place back; calling it again does no harm.

        Raises:
            Busy: no place became free in time, or too many wait already.
        """
        queue = self._orders if order else self._reads
        if not queue and self._free(order=order):
            self._taken += 1
        else:
            await self._queue_up(queue, wait)
        return self._giving_back()

    def _free(self, *, order: bool) -> bool:
        return self._taken < (PLACES if order else PLACES - FOR_ORDERS)

    async def _queue_up(self, queue: deque[asyncio.Future[None]], wait: float) -> None:
        if len(queue) >= LONGEST_QUEUE:  # each its own: reads must not keep a cancel out
            raise Busy("too many calls are waiting for the Gateway already", retry_after=TRY_AGAIN)
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(wait):
                await turn
        except TimeoutError as exc:
            self._leave(queue, turn)
            raise Busy("no place at the Gateway became free in time", retry_after=TRY_AGAIN) from exc
        except asyncio.CancelledError:
            self._leave(queue, turn)
            raise

    def _leave(self, queue: deque[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
        """Stop waiting; a place handed over in that very moment goes on to the next."""
        if turn in queue:
            queue.remove(turn)
        if turn.done() and not turn.cancelled():
            self._free_one()

    def _free_one(self) -> None:
        self._taken -= 1
        self._next()

    def _giving_back(self) -> Callable[[], None]:
        held = [True]

        def give_back() -> None:
            if held:
                held.clear()
                self._free_one()

        return give_back

    def _next(self) -> None:
        """Hand free places to those who wait, orders first."""
        for queue, order in ((self._orders, True), (self._reads, False)):
            while queue and self._free(order=order):
                turn = queue.popleft()
                if not turn.done():
                    self._taken += 1
                    turn.set_result(None)
