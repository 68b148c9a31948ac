"""A simulation of the admission queue and of the Gateway behind it, event by event, without a clock or a socket."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ibkr_bridge.ibkr.endpoint import Endpoint, Priority
from ibkr_bridge.limits.admission_queue import AdmissionQueue, Limits
from ibkr_bridge.limits.queued_call import QueuedCall


@dataclass(frozen=True)
class Arrival:
    """A call that will arrive; the two delays count from its admission."""

    at: float
    endpoint: Endpoint
    importance: Priority
    key: str
    seen_after: float
    """Seconds until IBKR counts it."""
    answered_after: float
    """Seconds until its response has been read."""
    sent: bool = True


@dataclass
class ServedCall:
    """A call that was admitted and answered."""

    arrival: Arrival
    estimated_wait_s: float
    """The wait that the queue estimated when the call arrived."""
    admitted_at: float
    seen_at: float


def simulate(limits: Limits, arrivals: Iterable[Arrival]) -> list[ServedCall]:
    """Run all calls through a queue. Returns them in the order of their admission."""
    queue, served, order = AdmissionQueue(limits), [], 0
    estimates: dict[QueuedCall, tuple[Arrival, float]] = {}
    events: list[tuple[float, int, Arrival | QueuedCall | None]] = []
    for arrival in arrivals:
        order += 1
        heapq.heappush(events, (arrival.at, order, arrival))
    while events:
        now, _, event = heapq.heappop(events)
        if isinstance(event, Arrival):
            queued_call = QueuedCall(event.endpoint, event.importance, event.key)
            queue.enqueue(queued_call)
            estimates[queued_call] = (event, queue.estimate_wait(queued_call, now))
        elif event is not None:
            queue.release(event, now, sent=estimates[event][0].sent)
        while admitted := queue.admit_next(now):
            arrival, estimated_wait_s = estimates[admitted]
            served.append(ServedCall(arrival, estimated_wait_s, now, now + arrival.seen_after))
            order += 1
            heapq.heappush(events, (now + arrival.answered_after, order, admitted))
        if (at := queue.next_change_at(now)) is not None:
            order += 1
            heapq.heappush(events, (at, order, None))
    return served


def seen_by_endpoint(served: Iterable[ServedCall]) -> dict[Endpoint, list[float]]:
    """The times at which IBKR counted the sent calls of each endpoint with a rate limit."""
    seen: dict[Endpoint, list[float]] = defaultdict(list)
    for call in served:
        if call.arrival.sent and call.arrival.endpoint.rate_limit is not None:
            seen[call.arrival.endpoint].append(call.seen_at)
    return seen
