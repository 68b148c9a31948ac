"""Counts what happened since the start, from the events: requests, orders, losses of the session.

Plain dictionaries, so that a request costs one addition while nobody looks; `metrics.py` makes metrics of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

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

    def add(self, seconds: float) -> None:
        """Count one request."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds


class RequestCounts:
    """The counts since the start."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str, int]] = Counter()
        """By profile, method, route and status. Routes are patterns, so there are few."""
        self.durations: dict[tuple[str, str], Durations] = {}
        """By profile and source."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """By profile and the code of an error of the bridge."""
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
        profile = event.profile or NO_PROFILE
        method = event.method if event.method in METHODS else OTHER_METHOD
        self.requests[profile, method, event.route, event.status] += 1
        if event.code is not None:
            self.errors[profile, event.code] += 1
        key = (profile, event.source)
        durations = self.durations.get(key)
        if durations is None:
            durations = self.durations[key] = Durations()
        durations.add(event.ms / 1000.0)
