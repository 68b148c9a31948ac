"""A waiting room and its far side, walked through event by event; no clock, no wire."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ibkr_bridge.ibkr.endpoint import Endpoint, Priority
from ibkr_bridge.limits.admission_queue import AdmissionQueue, Limits, QueuedCall


@dataclass(frozen=True)
class Coming:
    """Somebody who will come: when, what for, and how their call fares (seconds until it is seen, and answered)."""

    at: float
    endpoint: Endpoint
    importance: Priority
    key: str
    seen_after: float
    answered_after: float
    sent: bool = True


@dataclass
class Gone:
    """Somebody who was served."""

    coming: Coming
    told: float
    """Seconds they were told to wait when they came."""
    began: float
    seen: float


def walk(limits: Limits, comings: Iterable[Coming]) -> list[Gone]:
    """Let everybody come and be served; the log of it in the order they began."""
    queue, served, order = AdmissionQueue(limits), [], 0
    told: dict[QueuedCall, tuple[Coming, float]] = {}
    events: list[tuple[float, int, Coming | QueuedCall | None]] = []
    for coming in comings:
        order += 1
        heapq.heappush(events, (coming.at, order, coming))
    while events:
        now, _, event = heapq.heappop(events)
        if isinstance(event, Coming):
            queued_call = QueuedCall(event.endpoint, event.importance, event.key)
            queue.enqueue(queued_call)
            told[queued_call] = (event, queue.estimate_wait(queued_call, now))
        elif event is not None:
            queue.release(event, now, sent=told[event][0].sent)
        while guest_in := queue.admit_next(now):
            coming, wait = told[guest_in]
            served.append(Gone(coming, wait, now, now + coming.seen_after))
            order += 1
            heapq.heappush(events, (now + coming.answered_after, order, guest_in))
        if (at := queue.next_change_at(now)) is not None:
            order += 1
            heapq.heappush(events, (at, order, None))
    return served


def by_row(served: Iterable[Gone]) -> dict[Endpoint, list[float]]:
    """When the far side saw the calls of each row that has a pace; only those that were sent."""
    seen: dict[Endpoint, list[float]] = defaultdict(list)
    for gone in served:
        if gone.coming.sent and gone.coming.endpoint.rate_limit is not None:
            seen[gone.coming.endpoint].append(gone.seen)
    return seen
