"""How many requests there were lately and how long they took: a sample for each ten seconds of the last hour.

The page draws charts of them. A request costs one addition to a list while nobody looks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from ibkr_bridge.clock import Clock
from ibkr_bridge.events import Event, ProbeServed, RequestServed

INTERVAL_S = 10
SAMPLES = 360  # an hour
MAX_DELAYS = 1000  # of one sample; the delays of further requests are not looked at
FAILED_STATUS = 500  # from here on the bridge or IBKR is to blame, and not the caller
STREAM_LIKE_MS = 60_000.0  # a request that took longer was a stream: its time is no delay


@dataclass(frozen=True)
class RequestSample:
    """The requests of ten seconds."""

    at: datetime
    """When they began."""
    requests: int
    failed: int
    """Those with status 500 and above."""
    p50_ms: float | None
    """Half of the requests took at most so long; None if there was none."""
    p95_ms: float | None
    """95 % of them took at most so long."""


class RequestSamples:
    """The requests of the last hour, in samples; probes of monitors that found all well are not counted.

    Args:
        clock: its monotonic seconds decide when a sample ends, since they cost each request less than the time of day.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[RequestSample] = deque(maxlen=SAMPLES)
        self._delays: list[float] = []
        self._requests = self._failed = 0
        self._begin_sample()

    def __repr__(self) -> str:
        return f"<RequestSamples {len(self._samples)} samples>"

    def on_event(self, event: Event) -> None:
        """Count an event, if it is a request."""
        if not isinstance(event, RequestServed) or isinstance(event, ProbeServed):
            return
        if self._clock.now() >= self._ends_at:
            self._close_sample()
        self._requests += 1
        if event.status >= FAILED_STATUS:
            self._failed += 1
        if len(self._delays) < MAX_DELAYS and event.ms < STREAM_LIKE_MS:
            self._delays.append(event.ms)

    def samples(self) -> list[RequestSample]:
        """The samples that are complete, the earliest first. Ten seconds without a request have none."""
        if self._clock.now() >= self._ends_at:
            self._close_sample()
        limit = self._clock.utc() - timedelta(seconds=INTERVAL_S * SAMPLES)
        return [each for each in self._samples if each.at >= limit]

    def _close_sample(self) -> None:
        if self._requests:
            self._samples.append(_sample(self._began, self._requests, self._failed, sorted(self._delays)))
        self._requests, self._failed, self._delays = 0, 0, []
        self._begin_sample()

    def _begin_sample(self) -> None:
        """Begin with the ten seconds of the clock that the present is in."""
        now = self._clock.utc()
        self._began = now.replace(second=now.second - now.second % INTERVAL_S, microsecond=0)
        self._ends_at = self._clock.now() + INTERVAL_S - (now - self._began).total_seconds()


def _sample(at: datetime, requests: int, failed: int, delays: list[float]) -> RequestSample:
    def quantile(share: float) -> float | None:
        return delays[min(len(delays) - 1, int(len(delays) * share))] if delays else None

    return RequestSample(at, requests, failed, quantile(0.5), quantile(0.95))
