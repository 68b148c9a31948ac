"""Identical reads on their way become one: who comes later waits for the answer of who came first.

A flight belongs to all who wait for it. It goes on when the first of them hangs up, is called off when the last one
does before it was sent, and lands all the same when it was: its answer is still worth remembering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.calls.messages import Answer
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import Paced

Passenger = Callable[[], bool]
"""Whether somebody who waits is still there."""
NEARLY = 0.5  # seconds of patience more or less that nobody minds
Era = Callable[[], int]
"""Which answers belong together now: those that were asked for in an earlier era are stale."""
SOON = 1.0  # seconds; what is told where nobody knows better


@dataclass(eq=False)
class Flight:
    """One call for several."""

    clock: Clock
    era: Era
    patience: float
    """Seconds it may wait for its turn."""
    passengers: list[Passenger] = field(default_factory=list)
    departed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its bytes may have left."""
    is_orphan: bool = False
    """Whether the one who began it has left."""
    asked_at: float = 0.0
    """When it departed, by the clock."""
    asked_in: int | None = None
    """The era in which it departed: what happened before its departure is in its answer."""
    due: float = 0.0
    """When it will probably have its turn, by the clock."""
    task: asyncio.Task[Answer] | None = None

    def expects(self, seconds: float) -> None:
        """It will probably have its turn in so many seconds."""
        self.due = self.clock.now() + seconds

    def depart(self) -> None:
        """Its bytes may leave now."""
        if not self.sent:
            self.asked_in, self.asked_at = self.era(), self.clock.now()
            self.departed.set()

    @property
    def sent(self) -> bool:
        """Whether its bytes may have left."""
        return self.departed.is_set()

    @property
    def is_over(self) -> bool:
        """Whether it has landed; what became of it belongs to those who waited."""
        return self.task is not None and self.task.done()

    def is_wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return any(passenger() for passenger in self.passengers)


Fly = Callable[[Flight], Coroutine[Any, Any, Answer]]
"""Asks the Gateway, for all who are on board."""


class Sharing:
    """The flights of one line.

    Args:
        clock: time, for those who would not wait as long as the flight they joined.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flights: dict[Hashable, Flight] = {}
        self.joined = 0
        """Calls that were answered by another one's flight."""

    def __repr__(self) -> str:
        return f"<Sharing {len(self._flights)} flights>"

    def find(self, key: Hashable, *, patience: float, unsent: bool) -> Flight | None:
        """A flight to join: one that waits about as patiently at least, and whose answer will not be stale.

        Args:
            unsent: whether only the answer of one that has not departed is new enough.
        """
        flight = self._flights.get(key)
        if flight is None or flight.is_over:
            return None
        if flight.sent:
            return None if unsent or flight.asked_in != flight.era() else flight
        return None if flight.patience < patience - NEARLY else flight

    def begin(self, key: Hashable, era: Era, patience: float, fly: Fly) -> Flight:
        """A flight of one's own, which others may join."""
        flight = Flight(self._clock, era, patience)
        flight.task = asyncio.create_task(fly(flight), name="flight")  # outlives who began it
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _: self._landed(key, flight))
        return flight

    def _landed(self, key: Hashable, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.departed.set()
        if flight.task is not None and not flight.task.cancelled():
            flight.task.exception()  # told to all who waited; where nobody did, there is nobody to tell

    async def board(self, flight: Flight, passenger: Passenger, patience: float) -> Answer:
        """Wait for a flight's answer.

        Args:
            patience: seconds the passenger would wait for its turn.

        Raises:
            Paced: the flight waits longer than that.
            BridgeError: what became of it.
        """
        if flight.task is None:
            raise RuntimeError("a flight that has not begun")
        flight.passengers.append(passenger)
        try:
            if patience < flight.patience:
                await self._departure(flight, patience)
            return await asyncio.shield(flight.task)
        except (asyncio.CancelledError, Paced):
            flight.passengers.remove(passenger)
            if not flight.passengers and not flight.sent:
                flight.task.cancel()
            raise

    async def _departure(self, flight: Flight, patience: float) -> None:
        if not flight.sent and not await self._clock.wait(flight.departed, patience):
            left = flight.due - self._clock.now()
            raise Paced("IBKR takes this call only so often", retry_after=left if left > 0 else SOON)

    async def close(self) -> None:
        """Call off whatever is still on its way."""
        tasks = [flight.task for flight in self._flights.values() if flight.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
