"""The last requests, for the operator's page: what was called, and what came of it.

Targets stay in memory, so that the page can repeat a read; they are not shown, since they contain account numbers.
Bodies are held only in a demo.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from ibkr_bridge.clock import Clock
from ibkr_bridge.events import ProbeServed, RequestServed
from ibkr_bridge.server.request_target import Target, UpstreamTarget

MAX_REQUESTS = 200
MAX_BODY_BYTES = 4096  # of a body that is shown


@dataclass(frozen=True)
class RecentRequest:
    """One request."""

    number: int
    """Grows by one with each."""
    at: datetime
    """When it was answered."""
    served: RequestServed
    target: Target | None
    upstream_target: UpstreamTarget | None
    bodies: tuple[bytes, bytes] | None
    """The beginning of the body of the request and of the response, in a demo only."""

    @property
    def parameters(self) -> list[str]:
        """The names in its query; the values are not shown."""
        query = self.target.query[1:] if self.target else ""
        return list(dict.fromkeys(name for name, _ in parse_qsl(query, keep_blank_values=True)))


Remembered = tuple[int, float, RequestServed, Target | None, UpstreamTarget | None, tuple[bytes, bytes] | None]
"""The fields of a `RecentRequest`: each request adds one, and few are ever looked at."""


class RecentRequests:
    """The last requests. Probes that found all well, and what the page itself requests, are not among them.

    Args:
        clock: its monotonic seconds are noted with each request, since they cost less than the time of day.
        holds_bodies: whether it holds bodies too.
    """

    def __init__(self, clock: Clock, *, holds_bodies: bool = False) -> None:
        self._clock = clock
        self.holds_bodies = holds_bodies
        self._count = 0
        self._requests: deque[Remembered] = deque(maxlen=MAX_REQUESTS)

    def __repr__(self) -> str:
        return f"<RecentRequests {len(self._requests)}>"

    def add(
        self,
        served: RequestServed,
        target: Target | None,
        upstream_target: UpstreamTarget | None,
        bodies: tuple[bytes, bytes],
    ) -> None:
        """Add a request that was answered."""
        if isinstance(served, ProbeServed):
            return
        held = (bodies[0][:MAX_BODY_BYTES], bodies[1][:MAX_BODY_BYTES]) if self.holds_bodies else None
        self._count += 1
        self._requests.append((self._count, self._clock.now(), served, target, upstream_target, held))

    def after(self, number: int, profile: str) -> list[RecentRequest]:
        """The requests of a profile and those without a valid key, later than one of them; the earliest first."""
        utc, now = self._clock.utc(), self._clock.now()
        return [
            RecentRequest(count, utc - timedelta(seconds=now - at), served, target, upstream_target, bodies)
            for count, at, served, target, upstream_target, bodies in self._requests
            if count > number and served.profile in (None, profile)
        ]

    def find(self, number: int, profile: str) -> RecentRequest | None:
        """One of them; None if it is not there any more."""
        return next((each for each in self.after(number - 1, profile) if each.number == number), None)
