"""Identical reads on their way become one: who comes later waits for the answer of who came first.

A flight belongs to all who wait for it. It goes on when the first of them hangs up, is called off when the last one
does before it was sent, and lands all the same when it was: its answer is still worth remembering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import RateLimited

IsConnected = Callable[[], bool]
"""Whether somebody who waits is still there."""
WAIT_TOLERANCE_S = 0.5  # seconds of patience more or less that nobody minds
GenerationOf = Callable[[], int]
"""Which answers belong together now: those that were asked for in an earlier era are stale."""
DEFAULT_RETRY_S = 1.0  # seconds; what is told where nobody knows better


@dataclass(eq=False)
class SharedCall:
    """One call for several."""

    clock: Clock
    generation: GenerationOf
    max_wait_s: float
    """Seconds it may wait for its turn."""
    waiters: list[IsConnected] = field(default_factory=list)
    sent_event: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its bytes may have left."""
    leader_gone: bool = False
    """Whether the one who began it has left."""
    sent_at: float = 0.0
    """When it departed, by the clock."""
    sent_generation: int | None = None
    """The era in which it departed: what happened before its departure is in its answer."""
    expected_at: float = 0.0
    """When it will probably have its turn, by the clock."""
    task: asyncio.Task[Response] | None = None

    def on_estimate(self, seconds: float) -> None:
        """It will probably have its turn in so many seconds."""
        self.expected_at = self.clock.now() + seconds

    def mark_sent(self) -> None:
        """Its bytes may leave now."""
        if not self.is_sent:
            self.sent_generation, self.sent_at = self.generation(), self.clock.now()
            self.sent_event.set()

    @property
    def is_sent(self) -> bool:
        """Whether its bytes may have left."""
        return self.sent_event.is_set()

    @property
    def is_done(self) -> bool:
        """Whether it has landed; what became of it belongs to those who waited."""
        return self.task is not None and self.task.done()

    def is_wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return any(passenger() for passenger in self.waiters)


Fetch = Callable[[SharedCall], Coroutine[Any, Any, Response]]
"""Asks the Gateway, for all who are on board."""


class SingleFlight:
    """The flights of one line.

    Args:
        clock: time, for those who would not wait as long as the flight they joined.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flights: dict[Hashable, SharedCall] = {}
        self.joined_count = 0
        """Calls that were answered by another one's flight."""

    def __repr__(self) -> str:
        return f"<SingleFlight {len(self._flights)} flights>"

    def find_joinable(self, key: Hashable, *, max_wait_s: float, unsent: bool) -> SharedCall | None:
        """A flight to join: one that waits about as patiently at least, and whose answer will not be stale.

        Args:
            unsent: whether only the answer of one that has not departed is new enough.
        """
        shared_call = self._flights.get(key)
        if shared_call is None or shared_call.is_done:
            return None
        if shared_call.is_sent:
            return None if unsent or shared_call.sent_generation != shared_call.generation() else shared_call
        return None if shared_call.max_wait_s < max_wait_s - WAIT_TOLERANCE_S else shared_call

    def start(self, key: Hashable, generation: GenerationOf, max_wait_s: float, fly: Fetch) -> SharedCall:
        """A flight of one's own, which others may join."""
        shared_call = SharedCall(self._clock, generation, max_wait_s)
        shared_call.task = asyncio.create_task(fly(shared_call), name="flight")  # outlives who began it
        self._flights[key] = shared_call
        shared_call.task.add_done_callback(lambda _: self._on_done(key, shared_call))
        return shared_call

    def _on_done(self, key: Hashable, shared_call: SharedCall) -> None:
        if self._flights.get(key) is shared_call:
            del self._flights[key]
        shared_call.sent_event.set()
        if shared_call.task is not None and not shared_call.task.cancelled():
            shared_call.task.exception()  # told to all who waited; where nobody did, there is nobody to tell

    async def join(self, shared_call: SharedCall, passenger: IsConnected, max_wait_s: float) -> Response:
        """Wait for a flight's answer.

        Args:
            patience: seconds the passenger would wait for its turn.

        Raises:
            Paced: the flight waits longer than that.
            BridgeError: what became of it.
        """
        if shared_call.task is None:
            raise RuntimeError("a flight that has not begun")
        shared_call.waiters.append(passenger)
        try:
            if max_wait_s < shared_call.max_wait_s:
                await self._wait_until_sent(shared_call, max_wait_s)
            return await asyncio.shield(shared_call.task)
        except (asyncio.CancelledError, RateLimited):
            shared_call.waiters.remove(passenger)
            if not shared_call.waiters and not shared_call.is_sent:
                shared_call.task.cancel()
            raise

    async def _wait_until_sent(self, shared_call: SharedCall, max_wait_s: float) -> None:
        if not shared_call.is_sent and not await self._clock.wait(shared_call.sent_event, max_wait_s):
            left = shared_call.expected_at - self._clock.now()
            raise RateLimited("IBKR takes this call only so often", retry_after=left if left > 0 else DEFAULT_RETRY_S)

    async def close(self) -> None:
        """Call off whatever is still on its way."""
        tasks = [shared_call.task for shared_call in self._flights.values() if shared_call.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
