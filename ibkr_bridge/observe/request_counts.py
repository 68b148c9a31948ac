"""Counts what happened since the start, from the events: requests, orders, losses of the session.

Plain dictionaries, so that a request costs one addition while nobody looks; `metrics.py` makes metrics of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from ibkr_bridge.events import Event, OrderChanged, RequestServed, SessionLost, StreamClosed

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper limits: from an answer of the cache to the longest wait."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"  # a caller can invent any number of methods
NO_PROFILE = ""  # of a request without a valid key


@dataclass
class Durations:
    """How long requests took: how many in each bucket, the last one for those above all limits."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0


Key = tuple[str, str, str, int, str | None, str]
"""The fields of a `Kind`."""


class Kind(NamedTuple):
    """What requests of one kind have in common. Routes are patterns, so there are few kinds."""

    profile: str
    method: str
    route: str
    status: int
    code: str | None
    source: str


@dataclass
class KindCount:
    """How many requests of one kind there were, and the durations that they are part of."""

    kind: Kind
    durations: Durations
    requests: int = 0


class RequestCounts:
    """The counts since the start. A request is found in one dictionary; the sums are made when somebody asks."""

    def __init__(self) -> None:
        self._kinds: dict[Key, KindCount] = {}
        self.durations: dict[tuple[str, str], Durations] = {}
        """By profile and source."""
        self.orders: Counter[tuple[str, str]] = Counter()
        """Events of orders, by profile and event."""
        self.losses: Counter[str] = Counter()
        """Of the session, by profile."""
        self.closed_streams: Counter[tuple[str, str]] = Counter()
        """Streams that the bridge ended, by profile and reason."""

    def __repr__(self) -> str:
        return f"<RequestCounts {self.requests.total()} requests>"

    def on_event(self, event: Event) -> None:
        """Count an event, if it is one that is counted."""
        if isinstance(event, RequestServed):
            self._on_request(event)
        elif isinstance(event, OrderChanged):
            self.orders[event.profile or NO_PROFILE, event.event] += 1
        elif isinstance(event, SessionLost):
            self.losses[event.profile or NO_PROFILE] += 1
        elif isinstance(event, StreamClosed):
            self.closed_streams[event.profile or NO_PROFILE, event.reason] += 1

    def _on_request(self, event: RequestServed) -> None:
        method = event.method if event.method in METHODS else OTHER_METHOD
        key = (event.profile or NO_PROFILE, method, event.route, event.status, event.code, event.source)
        kind = self._kinds.get(key) or self._add_kind(Kind(*key))
        kind.requests += 1
        seconds, durations = event.ms / 1000.0, kind.durations
        durations.counts[bisect_left(BUCKETS_S, seconds)] += 1
        durations.total_s += seconds

    def _add_kind(self, kind: Kind) -> KindCount:
        durations = self.durations.setdefault((kind.profile, kind.source), Durations())
        return self._kinds.setdefault(kind, KindCount(kind, durations))

    @property
    def requests(self) -> Counter[tuple[str, str, str, int]]:
        """By profile, method, route and status."""
        found: Counter[tuple[str, str, str, int]] = Counter()
        for each in self._kinds.values():
            kind = each.kind
            found[kind.profile, kind.method, kind.route, kind.status] += each.requests
        return found

    @property
    def errors(self) -> Counter[tuple[str, str]]:
        """By profile and the code of an error of the bridge."""
        found: Counter[tuple[str, str]] = Counter()
        for each in self._kinds.values():
            if each.kind.code is not None:
                found[each.kind.profile, each.kind.code] += each.requests
        return found
