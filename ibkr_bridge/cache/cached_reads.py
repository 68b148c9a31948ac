"""Stage `CachedReads`: reads are answered from the cache, by a call that is already on its way, or by a new call.

A shared call belongs to the generation in which it was sent. A change ends the generation of everything that it makes
stale: when it is sent, when it is answered, and when the upstream no longer works on it. So a response that may be
older than a change is neither cached nor shared. A shared call that still waits for admission is sent
after the change, so its response includes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from ibkr_bridge.cache.response_cache import CacheEntry, ResponseCache
from ibkr_bridge.cache.singleflight import Fetch, IsConnected, SharedCall, SingleFlight
from ibkr_bridge.calls.context import CallContext, CallTiming
from ibkr_bridge.calls.messages import Call, Response, discard
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.clock import Clock
from ibkr_bridge.ibkr.endpoint import CacheTag, Endpoint

ACCOUNT_TAGS = tuple(tag for tag in CacheTag if tag is not CacheTag.WORLD)
"""What belongs to one session of IBKR; contract data outlives it."""


@dataclass(frozen=True)
class ReadResult:
    """A response and its source."""

    response: Response
    source: str
    """`gateway`, `shared` or `cache`."""
    age_s: float | None = None
    """Seconds; of a cached response only."""


@dataclass(frozen=True)
class ReadOptions:
    """What the caller of a read wants: how long it waits for admission, how fresh the response must be."""

    max_wait_s: float
    max_age: float | None
    is_connected: IsConnected
    has_reduced_share: bool = False


@dataclass(frozen=True)
class CacheStatus:
    """How many reads needed no call of their own."""

    lookups: int = field(metadata={"doc": "Reads that were looked up since the start.", "unit": "reads"})
    hits: int = field(metadata={"doc": "Of these, reads that were answered from the cache.", "unit": "reads"})
    shared: int = field(metadata={"doc": "Of these, reads that got the response of another one.", "unit": "reads"})
    hit_rate: float | None = field(
        metadata={"doc": "Hits and shared reads, by all lookups; null before the first.", "unit": "0 to 1"}
    )
    entries: int = field(metadata={"doc": "Responses in the cache now.", "unit": "responses"})
    bytes: int = field(metadata={"doc": "Size of these responses.", "unit": "bytes"})


class CachedReads:
    """The reads of one profile.

    Args:
        clock: the time by which responses age.
        is_overtaken: whether a call that was sent at this time has waited for seconds although a later one was answered
            promptly.
    """

    def __init__(self, clock: Clock, is_overtaken: Callable[[float], bool] = lambda _: False) -> None:
        self._clock = clock
        self._is_overtaken = is_overtaken
        self.cache = ResponseCache()
        self.single_flight = SingleFlight(clock)

    def __repr__(self) -> str:
        return f"<CachedReads {self.cache!r} {self.single_flight!r}>"

    def status(self) -> CacheStatus:
        """How many reads needed no call of their own since the start, and how much is cached."""
        cache, shared = self.cache, self.single_flight.joined_count
        rate = round((cache.hits + shared) / cache.lookups, 3) if cache.lookups else None
        return CacheStatus(cache.lookups, cache.hits, shared, rate, **cache.counts)

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`."""
        if not context.endpoint.is_shareable:
            return await self._proceed_with_change(context, proceed)
        options = ReadOptions(
            context.remaining_wait(), context.max_age_s, context.is_connected, context.has_reduced_share
        )

        async def fetch(shared_call: SharedCall) -> Response:
            return await _fetch_for_all(context, shared_call, proceed)

        result = await self.read(context.endpoint, context.call, options, fetch)
        context.source, context.age_s = result.source, result.age_s
        return result.response

    async def _proceed_with_change(self, context: CallContext, proceed: Proceed) -> Response:
        """Send a call that is not shared, and drop what it makes stale."""
        tags = context.endpoint.invalidates
        if not tags:
            return await proceed(context)
        context.on_sent.append(lambda _: self.invalidate(*tags))
        context.on_released.append(lambda sent: self.invalidate(*tags) if sent.is_sent else None)
        try:
            return await proceed(context)
        finally:
            if context.is_sent:
                self.invalidate(*tags)

    async def close(self) -> None:
        """Cancel the shared calls that are running."""
        await self.single_flight.close()

    def reset_session(self) -> None:
        """Drop what was known of accounts and prices in the former IBKR session."""
        self.invalidate(*ACCOUNT_TAGS)

    def invalidate(self, *tags: CacheTag) -> None:
        """Drop what these tags mark."""
        self.cache.invalidate(*tags)

    def observer(self, endpoint: Endpoint, call: Call) -> Callable[[Response], None]:
        """Returns the function that caches the response of a call that was sent without this stage."""
        generation, sent_at = self.cache.generation(endpoint.cache_tag), self._clock.now()

        def learn(response: Response) -> None:
            self.cache.put(cache_key(call), CacheEntry(response, sent_at, self._clock.now(), endpoint), generation)

        return learn

    async def read(self, endpoint: Endpoint, call: Call, options: ReadOptions, fetch: Fetch) -> ReadResult:
        """The response of a read that may be shared.

        Args:
            fetch: sends the call, if no shared call is running.

        Raises:
            BridgeError: the error of the shared call.
        """
        key, now = cache_key(call), self._clock.now()
        entry = self.cache.get(key, now, options.max_age)
        if entry is not None:
            return ReadResult(entry.response, "cache", now - entry.sent_at)
        shared_call = self.single_flight.find_joinable(key, max_wait_s=options.max_wait_s, unsent=options.max_age == 0)
        if shared_call is not None and self._may_join(shared_call, endpoint, options):
            return await self._join(shared_call, options, fetch)
        shared_call = self.single_flight.start(
            key,
            lambda: self.cache.generation(endpoint.cache_tag),
            options.max_wait_s,
            self._fetch_and_cache(key, endpoint, fetch),
        )
        shared_call.has_reduced_share = options.has_reduced_share
        try:
            return ReadResult(
                await self.single_flight.join(shared_call, options.is_connected, options.max_wait_s), "gateway"
            )
        except asyncio.CancelledError:
            shared_call.leader_gone = True
            shared_call.discard_result()  # it may have come in this very step, and no caller waits for it
            raise

    def _may_join(self, shared_call: SharedCall, endpoint: Endpoint, options: ReadOptions) -> bool:
        """Whether a shared call serves a caller as well as one of its own. One that waits does so with the share of its
        first caller. One that was sent may never be answered, but for some endpoints IBKR takes long anyway.
        """
        if not shared_call.is_sent:
            return options.has_reduced_share or not shared_call.has_reduced_share
        return endpoint.is_slow or not self._is_overtaken(shared_call.sent_at)

    async def _join(self, shared_call: SharedCall, options: ReadOptions, fetch: Fetch) -> ReadResult:
        response = await self.single_flight.join(shared_call, options.is_connected, options.max_wait_s)
        if response.body_stream is None:
            self.single_flight.joined_count += 1
            return ReadResult(response, "shared")
        own = SharedCall(self._clock, shared_call.generation, options.max_wait_s, [options.is_connected])
        return ReadResult(await fetch(own), "gateway")  # too large to share: the first caller reads the rest of it

    def _fetch_and_cache(self, key: Hashable, endpoint: Endpoint, fetch: Fetch) -> Fetch:
        async def fetch_and_cache(shared_call: SharedCall) -> Response:
            response = await fetch(shared_call)
            if shared_call.sent_generation is not None:
                self.cache.put(
                    key,
                    CacheEntry(response, shared_call.sent_at, self._clock.now(), endpoint),
                    shared_call.sent_generation,
                )
            if shared_call.leader_gone or not shared_call.is_wanted():
                # The first caller reads the rest of a large response; one that joined fetches it alone.
                discard(response)
            return response

        return fetch_and_cache


async def _fetch_for_all(context: CallContext, shared_call: SharedCall, proceed: Proceed) -> Response:
    """Send a read for all callers that wait for it, not for the first of them alone."""
    own = context.attempt(needs_complete_body=True)
    own.is_connected, own.wait_s, own.timing = shared_call.is_wanted, shared_call.max_wait_s, CallTiming()
    own.shared_call = shared_call
    own.on_sent.append(lambda _: shared_call.mark_sent())
    try:
        return await proceed(own)
    finally:
        context.timing.waited_s += own.timing.waited_s
        context.timing.upstream_s += own.timing.upstream_s


def cache_key(call: Call) -> Hashable:
    """The key under which its response is cached."""
    kind = next((value for name, value in call.headers if name == "Content-Type"), "") if call.body else ""
    return call.method, call.target, kind, hashlib.sha256(call.body).digest() if call.body else b""
