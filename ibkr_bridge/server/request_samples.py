"""How many requests there were lately and how long they took: a sample for each ten seconds of the last hour.

The page draws charts of them. A request costs one addition to a list while nobody looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

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
        utc: returns the time.
    """

    def __init__(self, utc: Callable[[], datetime]) -> None:
        self._utc = utc
        self._samples: deque[RequestSample] = deque(maxlen=SAMPLES)
        self._began = _beginning(utc())
        self._delays: list[float] = []
        self._requests = self._failed = 0

    def __repr__(self) -> str:
        return f"<RequestSamples {len(self._samples)} samples>"

    def on_event(self, event: Event) -> None:
        """Count an event, if it is a request."""
        if not isinstance(event, RequestServed) or isinstance(event, ProbeServed):
            return
        self._close_sample()
        self._requests += 1
        self._failed += event.status >= FAILED_STATUS
        if len(self._delays) < MAX_DELAYS and event.ms < STREAM_LIKE_MS:
            self._delays.append(event.ms)

    def samples(self) -> list[RequestSample]:
        """The samples that are complete, the earliest first. Ten seconds without a request have none."""
        self._close_sample()
        limit = self._utc() - timedelta(seconds=INTERVAL_S * SAMPLES)
        return [each for each in self._samples if each.at >= limit]

    def _close_sample(self) -> None:
        now = self._utc()
        if timedelta() <= now - self._began < timedelta(seconds=INTERVAL_S):
            return
        if self._requests:
            self._samples.append(_sample(self._began, self._requests, self._failed, sorted(self._delays)))
        self._began, self._requests, self._failed, self._delays = _beginning(now), 0, 0, []


def _sample(at: datetime, requests: int, failed: int, delays: list[float]) -> RequestSample:
    def quantile(share: float) -> float | None:
        return delays[min(len(delays) - 1, int(len(delays) * share))] if delays else None

    return RequestSample(at, requests, failed, quantile(0.5), quantile(0.95))


def _beginning(now: datetime) -> datetime:
    """The beginning of the ten seconds that a time is in."""
    return now.replace(second=now.second - now.second % INTERVAL_S, microsecond=0)
