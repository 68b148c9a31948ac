"""Reads as callers see them: from memory, from somebody else's flight, or asked for them.

What is stale is never joined either: a flight belongs to the generation of answers in which it departed, and that ends
with whatever makes them stale. One that still waits for its turn will bring what is new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from ibkr_bridge.cache.response_cache import CacheEntry, ResponseCache
from ibkr_bridge.cache.singleflight import Fetch, GenerationOf, IsConnected, SharedCall, SingleFlight
from ibkr_bridge.calls.messages import Call, Response, discard
from ibkr_bridge.clock import Clock
from ibkr_bridge.ibkr.endpoint import CacheTag, Endpoint


@dataclass(frozen=True)
class ReadResult:
    """An answer, and where it is from."""

    response: Response
    source: str
    """`gateway`, `shared` or `cache`."""
    age_s: float | None = None
    """Seconds, of a remembered one."""


@dataclass(frozen=True)
class ReadOptions:
    """Who asks for a read: how long they wait for their turn, how fresh it has to be, whether they are still there."""

    max_wait_s: float
    max_age: float | None
    is_connected: IsConnected


class CachedReads:
    """The reads of one line.

    Args:
        clock: time, by which answers age.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.cache = ResponseCache()
        self.single_flight = SingleFlight(clock)

    def __repr__(self) -> str:
        return f"<CachedReads {self.cache!r} {self.single_flight!r}>"

    def invalidate(self, *kinds: CacheTag) -> None:
        """Something has made these stale."""
        self.cache.invalidate(*kinds)

    def peek(self, key: Hashable, max_age: float | None) -> tuple[CacheEntry, float] | None:
        """What is remembered under a key, and its age in seconds; None where it has to be asked for."""
        now = self._clock.now()
        entry = self.cache.peek(key, now, max_age)
        return None if entry is None else (entry, now - entry.sent_at)

    def observer(self, endpoint: Endpoint, call: Call) -> Callable[[Response], None]:
        """Somebody asks beside all this; what is to be told of the answer, so that it is remembered."""
        generation, asked = self.cache.generation(endpoint.cache_tag), self._clock.now()

        def learn(response: Response) -> None:
            self.cache.put(cache_key(call), CacheEntry(response, asked, self._clock.now(), endpoint), generation)

        return learn

    async def read(self, endpoint: Endpoint, call: Call, asker: ReadOptions, fly: Fetch) -> ReadResult:
        """The answer of a read that may be shared.

        Args:
            fly: asks the Gateway, where nobody else did.

        Raises:
            BridgeError: what became of the one who asked.
        """
        key, now = cache_key(call), self._clock.now()
        entry = self.cache.get(key, now, asker.max_age)
        if entry is not None:
            return ReadResult(entry.response, "cache", now - entry.sent_at)
        shared_call = self.single_flight.find_joinable(key, max_wait_s=asker.max_wait_s, unsent=asker.max_age == 0)
        if shared_call is not None:
            return await self._join(shared_call, asker, fly)
        shared_call = self.single_flight.start(
            key, self._generation_of(endpoint), asker.max_wait_s, self._fetch_and_cache(key, endpoint, fly)
        )
        try:
            return ReadResult(
                await self.single_flight.join(shared_call, asker.is_connected, asker.max_wait_s), "gateway"
            )
        except asyncio.CancelledError:
            shared_call.leader_gone = True
            raise

    def _generation_of(self, endpoint: Endpoint) -> GenerationOf:
        return lambda: self.cache.generation(endpoint.cache_tag)

    async def _join(self, shared_call: SharedCall, asker: ReadOptions, fly: Fetch) -> ReadResult:
        response = await self.single_flight.join(shared_call, asker.is_connected, asker.max_wait_s)
        if response.body_stream is None:
            self.single_flight.joined_count += 1
            return ReadResult(response, "shared")
        own = SharedCall(self._clock, shared_call.generation, asker.max_wait_s, [asker.is_connected])
        return ReadResult(await fly(own), "gateway")  # too large for two: the rest of it is read by who came first

    def _fetch_and_cache(self, key: Hashable, endpoint: Endpoint, fly: Fetch) -> Fetch:
        async def flown(shared_call: SharedCall) -> Response:
            response = await fly(shared_call)
            if shared_call.sent_generation is not None:
                self.cache.put(
                    key,
                    CacheEntry(response, shared_call.sent_at, self._clock.now(), endpoint),
                    shared_call.sent_generation,
                )
            if shared_call.leader_gone or not shared_call.is_wanted():
                discard(response)  # who came first reads the rest of a large one; who joined asks for it alone
            return response

        return flown


def cache_key(call: Call) -> Hashable:
    """Under which its answer is remembered."""
    kind = next((value for name, value in call.headers if name == "Content-Type"), "") if call.body else ""
    return call.method, call.target, kind, hashlib.sha256(call.body).digest() if call.body else b""
