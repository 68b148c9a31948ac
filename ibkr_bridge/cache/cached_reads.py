"""Reads as callers see them: from memory, from somebody else's flight, or asked for them.

What is stale is never joined either: a flight belongs to the generation of answers in which it departed, and that ends
with whatever makes them stale. One that still waits for its turn will bring what is new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from ibkr_bridge.cache.response_cache import Kept, Memory
from ibkr_bridge.cache.singleflight import Era, Flight, Fly, Passenger, Sharing
from ibkr_bridge.calls.messages import Answer, Call, let_go
from ibkr_bridge.clock import Clock
from ibkr_bridge.ibkr.endpoint import Endpoint, Holds


@dataclass(frozen=True)
class Told:
    """An answer, and where it is from."""

    answer: Answer
    source: str
    """`gateway`, `shared` or `cache`."""
    age: float | None = None
    """Seconds, of a remembered one."""


@dataclass(frozen=True)
class Asker:
    """Who asks for a read: how long they wait for their turn, how fresh it has to be, whether they are still there."""

    patience: float
    max_age: float | None
    is_there: Passenger


class Reads:
    """The reads of one line.

    Args:
        clock: time, by which answers age.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.memory = Memory()
        self.sharing = Sharing(clock)

    def __repr__(self) -> str:
        return f"<Reads {self.memory!r} {self.sharing!r}>"

    def forget(self, *kinds: Holds) -> None:
        """Something has made these stale."""
        self.memory.forget(*kinds)

    def again(self, key: Hashable, max_age: float | None) -> tuple[Kept, float] | None:
        """What is remembered under a key, and its age in seconds; None where it has to be asked for."""
        now = self._clock.now()
        kept = self.memory.glance(key, now, max_age)
        return None if kept is None else (kept, now - kept.asked)

    def learning(self, row: Endpoint, call: Call) -> Callable[[Answer], None]:
        """Somebody asks beside all this; what is to be told of the answer, so that it is remembered."""
        generation, asked = self.memory.generation(row.holds), self._clock.now()

        def learn(answer: Answer) -> None:
            self.memory.keep(key_of(call), Kept(answer, asked, self._clock.now(), row), generation)

        return learn

    async def read(self, row: Endpoint, call: Call, asker: Asker, fly: Fly) -> Told:
        """The answer of a read that may be shared.

        Args:
            fly: asks the Gateway, where nobody else did.

        Raises:
            BridgeError: what became of the one who asked.
        """
        key, now = key_of(call), self._clock.now()
        kept = self.memory.recall(key, now, asker.max_age)
        if kept is not None:
            return Told(kept.answer, "cache", now - kept.asked)
        flight = self.sharing.find(key, patience=asker.patience, unsent=asker.max_age == 0)
        if flight is not None:
            return await self._join(flight, asker, fly)
        flight = self.sharing.begin(key, self._era(row), asker.patience, self._remembered(key, row, fly))
        try:
            return Told(await self.sharing.board(flight, asker.is_there, asker.patience), "gateway")
        except asyncio.CancelledError:
            flight.is_orphan = True
            raise

    def _era(self, row: Endpoint) -> Era:
        return lambda: self.memory.generation(row.holds)

    async def _join(self, flight: Flight, asker: Asker, fly: Fly) -> Told:
        answer = await self.sharing.board(flight, asker.is_there, asker.patience)
        if answer.rest is None:
            self.sharing.joined += 1
            return Told(answer, "shared")
        own = Flight(self._clock, flight.era, asker.patience, [asker.is_there])
        return Told(await fly(own), "gateway")  # too large for two: the rest of it is read by who came first

    def _remembered(self, key: Hashable, row: Endpoint, fly: Fly) -> Fly:
        async def flown(flight: Flight) -> Answer:
            answer = await fly(flight)
            if flight.asked_in is not None:
                self.memory.keep(key, Kept(answer, flight.asked_at, self._clock.now(), row), flight.asked_in)
            if flight.is_orphan or not flight.is_wanted():
                let_go(answer)  # who came first reads the rest of a large one; who joined asks for it alone
            return answer

        return flown


def key_of(call: Call) -> Hashable:
    """Under which its answer is remembered."""
    kind = next((value for name, value in call.headers if name == "Content-Type"), "") if call.body else ""
    return call.method, call.target, kind, hashlib.sha256(call.body).digest() if call.body else b""
