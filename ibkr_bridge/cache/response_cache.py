"""The response cache: bounded, a TTL for each endpoint; a change invalidates what it makes stale. Pure."""

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
ENTRY_OVERHEAD_BYTES = 5120  # an entry without its body, with the longest possible target
EMPTY_TTL_S = 5.0  # an empty list may be filled soon: IBKR loads many lists on the first request


@dataclass(frozen=True)
class CacheEntry:
    """One response, when its call was sent, and when it came."""

    response: Response
    sent_at: float
    """Its age counts from here (RFC 9111): IBKR may have read the data at any moment between call and response."""
    received_at: float
    """Its TTL counts from here."""
    endpoint: Endpoint

    @cached_property
    def ttl_s(self) -> float:
        """Seconds; an empty response has a short TTL, as it may soon be outdated."""
        return min(self.endpoint.ttl_s, EMPTY_TTL_S) if is_empty(self.response.body) else self.endpoint.ttl_s

    @property
    def size_bytes(self) -> int:
        """Its share of the cache's limit."""
        return len(self.response.body) + ENTRY_OVERHEAD_BYTES


class ResponseCache:
    """The cached responses."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, CacheEntry] = OrderedDict()  # least recently used first
        self._bytes = 0
        self._generations: Counter[CacheTag] = Counter()
        self.hits = self.lookups = 0
        """How many of all lookups were answered from the cache."""

    def __repr__(self) -> str:
        return f"<ResponseCache {len(self._entries)} responses, {self._bytes} bytes>"

    def get(self, key: Hashable, now: float, max_age: float | None) -> CacheEntry | None:
        """A response that is fresh enough.

        Args:
            max_age: seconds that the caller accepts; never more than the TTL of the endpoint.
        """
        self.lookups += 1
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now - entry.received_at >= entry.ttl_s:
            self._evict(key)
            return None
        if max_age is not None and (now - entry.sent_at > max_age or max_age == 0):
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry

    @property
    def counts(self) -> dict[str, int]:
        """How much is cached."""
        return {"entries": len(self._entries), "bytes": self._bytes}

    def generation(self, tag: CacheTag) -> int:
        """The current generation of a tag: responses to calls sent in an earlier generation are not cached."""
        return self._generations[tag]

    def put(self, key: Hashable, entry: CacheEntry, generation: int) -> None:
        """Cache a response, if that is allowed."""
        endpoint, former = entry.endpoint, self._entries.get(key)
        if (
            endpoint.ttl_s <= 0
            or generation != self._generations[endpoint.cache_tag]
            or not is_cacheable(entry.response)
        ):
            return
        if former is not None and former.sent_at > entry.sent_at:
            return  # a later call was answered earlier
        self._evict(key)
        self._entries[key] = entry
        self._bytes += entry.size_bytes
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._evict(next(iter(self._entries)))

    def invalidate(self, *tags: CacheTag) -> None:
        """Drop the entries of these tags; calls that are running belong to an old generation now."""
        self._generations.update(tags)
        for key in [key for key, entry in self._entries.items() if entry.endpoint.cache_tag in tags]:
            self._evict(key)

    def _evict(self, key: Hashable) -> None:
        if entry := self._entries.pop(key, None):
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
