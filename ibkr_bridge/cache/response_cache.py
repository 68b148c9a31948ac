"""Answers that may be told again for a while: bounded, aged, and dropped when something makes them stale. Pure."""

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
ENTRY_OVERHEAD_BYTES = 5120  # bytes an entry costs besides its body, the longest target among them
EMPTY_TTL_S = 5.0  # seconds


@dataclass(frozen=True)
class CacheEntry:
    """One answer, when it was asked for, and when it came."""

    response: Response
    sent_at: float
    """From here its age counts, as RFC 9111 has it: nobody knows when on its way it was true."""
    received_at: float
    """From here it is fresh, for as long as its row says."""
    endpoint: Endpoint

    @cached_property
    def ttl_s(self) -> float:
        """Seconds; what is empty may only be so for now."""
        return min(self.endpoint.ttl_s, EMPTY_TTL_S) if is_empty(self.response.body) else self.endpoint.ttl_s

    @property
    def size_bytes(self) -> int:
        """Bytes."""
        return len(self.response.body) + ENTRY_OVERHEAD_BYTES


class ResponseCache:
    """What was answered lately."""

    def __init__(self, most_entries: int = MAX_ENTRIES, most_bytes: int = MAX_BYTES) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._entry: OrderedDict[Hashable, CacheEntry] = OrderedDict()  # the one that was used the longest ago first
        self._bytes = 0
        self._generations: Counter[CacheTag] = Counter()
        self.hits = self.lookups = 0
        """Of all that were asked, how many could be told."""

    def __repr__(self) -> str:
        return f"<ResponseCache {len(self._entry)} answers, {self._bytes} bytes>"

    def get(self, key: Hashable, now: float, max_age: float | None) -> CacheEntry | None:
        """An answer that is fresh enough.

        Args:
            max_age: seconds the caller finds fresh enough; never more than its row says.
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
        """How much is kept."""
        return {"entries": len(self._entry), "bytes": self._bytes}

    def generation(self, holds: CacheTag) -> int:
        """Which answers belong together: what was asked in an earlier one is stale when it comes."""
        return self._generations[holds]

    def put(self, key: Hashable, entry: CacheEntry, generation: int) -> None:
        """Remember an answer, where that makes sense."""
        endpoint, was = entry.endpoint, self._entry.get(key)
        if (
            endpoint.ttl_s <= 0
            or generation != self._generations[endpoint.cache_tag]
            or not is_cacheable(entry.response)
        ):
            return
        if was is not None and was.sent_at > entry.sent_at:
            return  # it was overtaken on its way
        self._evict(key)
        self._entry[key] = entry
        self._bytes += entry.size_bytes
        while len(self._entry) > self._most_entries or self._bytes > self._most_bytes:
            self._evict(next(iter(self._entry)))

    def invalidate(self, *kinds: CacheTag) -> None:
        """These have become stale, those that are still on their way too."""
        self._generations.update(kinds)
        for key in [key for key, entry in self._entry.items() if entry.endpoint.cache_tag in kinds]:
            self._evict(key)

    def _evict(self, key: Hashable) -> None:
        if entry := self._entry.pop(key, None):
            self._bytes -= entry.size_bytes


def is_cacheable(response: Response) -> bool:
    """Whether an answer is whole, good, and hides no error inside its 200."""
    if (
        response.status != 200
        or response.body_stream is not None
        or response.is_provisional
        or len(response.body) > MAX_KEPT_BYTES
    ):
        return False
    return looks_like_json(response.body) and not is_partial(response.body) and not has_embedded_error(response.body)
