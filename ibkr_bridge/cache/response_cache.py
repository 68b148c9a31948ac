"""The response cache: bounded, with a TTL for each endpoint, and invalidated when a change makes entries stale.
Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

from ibkr_bridge.calls.messages import MAX_KEPT_BYTES, Response
from ibkr_bridge.ibkr.bodies import has_embedded_error, is_empty, is_partial, looks_like_json
from ibkr_bridge.ibkr.endpoint import CacheTag, Endpoint

MAX_ENTRIES = 512
MAX_BYTES = 32 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = 5120  # bytes of an entry besides its body, with the longest possible target
EMPTY_TTL_S = 5.0  # seconds


@dataclass(frozen=True)
class CacheEntry:
    """One response, when its call was sent, and when it came."""

    response: Response
    sent_at: float
    """Its age counts from here (RFC 9111), as it is unknown when between call and response it was true."""
    received_at: float
    """It is fresh from here, for the TTL of its endpoint."""
    endpoint: Endpoint

    @cached_property
    def ttl_s(self) -> float:
        """Seconds; an empty response has a short TTL, as it may soon be outdated."""
        return min(self.endpoint.ttl_s, EMPTY_TTL_S) if is_empty(self.response.body) else self.endpoint.ttl_s

    @property
    def size_bytes(self) -> int:
        """Bytes."""
        return len(self.response.body) + ENTRY_OVERHEAD_BYTES


class ResponseCache:
    """The cached responses."""

    def __init__(self, most_entries: int = MAX_ENTRIES, most_bytes: int = MAX_BYTES) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entry: OrderedDict[Hashable, CacheEntry] = OrderedDict()  # least recently used first
        self._bytes = 0
        self._generations: Counter[CacheTag] = Counter()
        self.hits = self.lookups = 0
        """How many of all lookups were answered from the cache."""

    def __repr__(self) -> str:
        return f"<ResponseCache {len(self._entry)} answers, {self._bytes} bytes>"

    def get(self, key: Hashable, now: float, max_age: float | None) -> CacheEntry | None:
        """A response that is fresh enough.

        Args:
            max_age: seconds that the caller accepts; never more than the TTL of the endpoint.
        """
        self.lookups += 1
        entry = self._entry.get(key)
        if entry is None:
            return None
        if now - entry.received_at >= entry.ttl_s:
            self._evict(key)
            return None
        if max_age is not None and (now - entry.sent_at > max_age or max_age == 0):
            return None
        self._entry.move_to_end(key)
        self.hits += 1
        return entry

    @property
    def counts(self) -> dict[str, int]:
        """How much is cached."""
        return {"entries": len(self._entry), "bytes": self._bytes}

    def generation(self, holds: CacheTag) -> int:
        """The current generation of a tag: responses to calls sent in an earlier generation are not cached."""
        return self._generations[holds]

    def put(self, key: Hashable, entry: CacheEntry, generation: int) -> None:
        """Cache a response, if that is allowed."""
        endpoint, was = entry.endpoint, self._entry.get(key)
        if (
            endpoint.ttl_s <= 0
            or generation != self._generations[endpoint.cache_tag]
            or not is_cacheable(entry.response)
        ):
            return
        if was is not None and was.sent_at > entry.sent_at:
            return  # the generation ended while the call was running
        self._evict(key)
        self._entry[key] = entry
        self._bytes += entry.size_bytes
        while len(self._entry) > self._most_entries or self._bytes > self._most_bytes:
            self._evict(next(iter(self._entry)))

    def invalidate(self, *kinds: CacheTag) -> None:
        """Drop the entries of these tags; calls that are running belong to an old generation now."""
        self._generations.update(kinds)
        for key in [key for key, entry in self._entry.items() if entry.endpoint.cache_tag in kinds]:
            self._evict(key)

    def _evict(self, key: Hashable) -> None:
        if entry := self._entry.pop(key, None):
            self._bytes -= entry.size_bytes


def is_cacheable(response: Response) -> bool:
    """Whether a response is complete, successful, and has no error inside its 200."""
    if (
        response.status != 200
        or response.body_stream is not None
        or response.is_provisional
        or len(response.body) > MAX_KEPT_BYTES
    ):
        return False
    return looks_like_json(response.body) and not is_partial(response.body) and not has_embedded_error(response.body)
