"""Reads as callers see them: from memory, from somebody else's flight, or asked for them.

What is stale is never joined either: a flight belongs to the generation of its answers, which ends with every order
call, change of account and change of the session.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from ibkr_bridge.clock import Clock
from ibkr_bridge.endpoint import Endpoint, Holds
from ibkr_bridge.errors import GatewayTrouble
from ibkr_bridge.traffic.memory import LARGEST, Memory
from ibkr_bridge.traffic.sharing import Flight, Fly, Passenger, Sharing
from ibkr_bridge.upstream.base import Answer, Call


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

    def learn(self, row: Endpoint, call: Call, answer: Answer) -> None:
        """Remember what somebody asked beside all this."""
        generation = self.memory.generation(row.holds)
        self.memory.keep(_key(call, generation), answer, row, self._clock.now(), generation)

    async def read(self, row: Endpoint, call: Call, asker: Asker, fly: Fly) -> Told:
        """The answer of a read that may be shared.

        Args:
            fly: asks the Gateway, where nobody else did.

        Raises:
            BridgeError: what became of the one who asked.
        """
        generation = self.memory.generation(row.holds)
        key = _key(call, generation)
        now = self._clock.now()
        kept = self.memory.recall(key, now, asker.max_age)
        if kept is not None:
            return Told(kept.answer, "cache", now - kept.at)
        flight = self.sharing.find(key, patience=asker.patience, unsent=asker.max_age == 0)
        if flight is not None:
            return await self._join(flight, asker, fly)
        flight = self.sharing.begin(key, asker.patience, self._remembered(key, row, generation, fly))
        return Told(await self.sharing.board(flight, asker.is_there, asker.patience), "gateway")

    async def _join(self, flight: Flight, asker: Asker, fly: Fly) -> Told:
        answer = await self.sharing.board(flight, asker.is_there, asker.patience)
        if answer.rest is None:
            self.sharing.joined += 1
            return Told(answer, "shared")
        own = Flight(self._clock, asker.patience, [asker.is_there])
        return Told(await fly(own), "gateway")  # too large for two: the rest of it is read by who came first

    def _remembered(self, key: Hashable, row: Endpoint, generation: int, fly: Fly) -> Fly:
        async def flown(flight: Flight) -> Answer:
            answer = await whole(await fly(flight))
            self.memory.keep(key, answer, row, self._clock.now(), generation)
            if answer.rest is not None and not flight.is_wanted():
                answer.rest.close()
            return answer

        return flown


def _key(call: Call, generation: int) -> Hashable:
    return call.method, call.target, call.body, generation


async def whole(answer: Answer) -> Answer:
    """An answer with its body read, as far as it is of a size that may be kept."""
    if answer.rest is None:
        return answer
    pieces, size = [answer.body], len(answer.body)
    try:
        async for piece in answer.rest.pieces():
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST:
                return Answer(answer.status, answer.headers, b"".join(pieces), answer.rest)
    except GatewayTrouble:
        answer.rest.close()
        raise
    answer.rest.close()
    return Answer(answer.status, answer.headers, b"".join(pieces))
