"""Metrics in the form of Prometheus, made of the status of each profile, its conditions, and what was counted.

prometheus-client is imported at the first request for metrics, as most bridges are never asked for them; on a thread,
since no order may wait for an import. Names and units follow Prometheus: `_total` for what only grows, seconds and
bytes without a prefix. Every label has few values.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibkr_bridge import VERSION
from ibkr_bridge.conditions.condition import KINDS
from ibkr_bridge.observe.request_counts import BUCKETS_S, NO_PROFILE, Durations, RequestCounts
from ibkr_bridge.profiles.status import ProfileStatus

if TYPE_CHECKING:
    from prometheus_client import ProcessCollector
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
PREFIX = "ibkr_bridge_"
STATES = (
    *("starting", "unreachable", "silent", "signed_out", "activating", "credential_refused"),
    *("opening", "competing", "unusable", "ready"),
)
Value = float | int


@dataclass(frozen=True)
class Gauge:
    """A figure of the status of one profile."""

    name: str
    text: str
    read: Callable[[ProfileStatus], Value]


GAUGES = (
    Gauge("session_ready", "Whether brokerage calls work: 1 or 0.", lambda status: status.session.authenticated),
    Gauge(
        "session_state_since_timestamp_seconds",
        "When the session came into its state.",
        lambda status: status.session.since.timestamp(),
    ),
    Gauge(
        "session_next_reset_timestamp_seconds",
        "When IBKR next ends every login.",
        lambda status: status.session.next_reset.timestamp(),
    ),
    Gauge("trading_paused", "Whether somebody paused trading: 1 or 0.", lambda status: status.flags.paused is not None),
    Gauge("gateway_slots", "Calls that may be inside the Gateway at a time.", lambda status: status.slots.total),
    Gauge("gateway_slots_taken", "Calls inside the Gateway, ghost calls included.", lambda status: status.slots.taken),
    Gauge(
        "gateway_ghost_calls",
        "Calls that the bridge has given up and that may still hold a slot.",
        lambda status: status.slots.ghost_calls,
    ),
    Gauge("penalty_box_seconds", "How long IBKR still refuses every call.", lambda status: status.penalty.box_s),
    Gauge("closed_endpoints", "Endpoints that IBKR refuses now.", lambda status: len(status.penalty.endpoints)),
    Gauge("cache_entries", "Responses in the cache.", lambda status: status.cache.entries),
    Gauge("cache_bytes", "Size of the responses in the cache.", lambda status: status.cache.bytes),
    Gauge(
        "journal_writable",
        "Whether the journal of orders can be written: 1 or 0.",
        lambda status: status.journal.problem is None,
    ),
    Gauge("stream_up", "Whether the stream from IBKR is up: 1 or 0.", lambda status: status.stream.up),
    Gauge("stream_clients", "Open streams and websockets of callers.", lambda status: status.stream.readers),
    Gauge("stream_clients_behind", "Of these, those that read too slowly.", lambda status: status.stream.behind),
    Gauge("stream_topics", "Topics that IBKR is asked to send.", lambda status: status.stream.topics),
    Gauge("stream_silent_topics", "Topics that IBKR does not answer.", lambda status: status.stream.silent_topics),
    Gauge("market_data_lines", "Contracts whose quotes are streamed.", lambda status: status.stream.quotes),
)
CACHE_TOTALS = (
    Gauge("cache_lookups", "Reads that were looked up in the cache.", lambda status: status.cache.lookups),
    Gauge("cache_hits", "Reads that were answered from the cache.", lambda status: status.cache.hits),
    Gauge("cache_shared", "Reads that got the response of another one.", lambda status: status.cache.shared),
)


class Metrics:
    """The metrics of the bridge; Prometheus' registry calls `collect`.

    Args:
        counts: what was counted.
        read_status: returns the status of each profile, by its name.
    """

    def __init__(self, counts: RequestCounts, read_status: Callable[[], Mapping[str, ProfileStatus]]) -> None:
        self._counts = counts
        self._read_status = read_status
        self._of_process: ProcessCollector | None = None

    def __repr__(self) -> str:
        return f"<Metrics of {self._counts!r}>"

    async def render(self, profiles: Collection[str] | None = None) -> bytes:
        """The metrics as text.

        Args:
            profiles: those that the caller may see; None for all. What concerns no profile is for everybody.
        """
        await asyncio.to_thread(importlib.import_module, "prometheus_client")  # a tenth of a second, the first time
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import generate_latest

        if self._of_process is None:
            self._of_process = ProcessCollector(registry=None)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._of_process)
        registry.register(_View(self, profiles))
        return generate_latest(registry)

    def collect(self, profiles: Collection[str] | None = None) -> Iterator[Metric]:
        """The metrics of some profiles; see `prometheus_client.registry.Collector`."""
        for family in self._all():
            if profiles is not None:
                allowed = (*profiles, NO_PROFILE)
                family.samples = [each for each in family.samples if each.labels.get("profile", NO_PROFILE) in allowed]
            yield family

    def _all(self) -> Iterator[Metric]:
        statuses = self._read_status()
        yield _family(
            "gauge",
            "info",
            "The version and the mode of the bridge.",
            ("version", "profile", "mode"),
            [((VERSION, profile, status.flags.mode), 1) for profile, status in statuses.items()],
        )
        yield from _status_metrics(statuses)
        yield from self._counted()
        yield self._durations()

    def _counted(self) -> Iterator[Metric]:
        counts = self._counts
        requests = (
            ((profile, method, route, str(status)), n)
            for (profile, method, route, status), n in counts.requests.items()
        )
        labels = ("profile", "method", "route", "status")
        yield _family("counter", "requests", "Requests that were answered.", labels, requests)
        yield _family("counter", "errors", "Errors of the bridge, by code.", ("profile", "code"), counts.errors.items())
        text = "Events of orders, by the event of the log."
        yield _family("counter", "order_events", text, ("profile", "event"), counts.orders.items())
        losses = (((profile,), count) for profile, count in counts.losses.items())
        yield _family("counter", "session_losses", "Losses of the session.", ("profile",), losses)
        text = "Streams that the bridge ended, by reason."
        yield _family("counter", "streams_closed", text, ("profile", "reason"), counts.closed_streams.items())

    def _durations(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        text = "How long requests took, by the source of the answer."
        family = HistogramMetricFamily(f"{PREFIX}request_duration_seconds", text, labels=("profile", "source"))
        for labels, durations in self._counts.durations.items():
            family.add_metric(labels, list(_buckets(durations)), durations.total_s)
        return family


@dataclass(frozen=True)
class _View:
    """What one caller may see."""

    metrics: Metrics
    profiles: Collection[str] | None

    def collect(self) -> Iterator[Metric]:
        """See `Metrics.collect`."""
        return self.metrics.collect(self.profiles)


def _buckets(durations: Durations) -> Iterator[tuple[str, float]]:
    """Each limit with how many requests took at most that long."""
    total = 0
    for limit, count in zip((*map(str, BUCKETS_S), "+Inf"), durations.counts, strict=True):
        total += count
        yield limit, total


def _status_metrics(statuses: Mapping[str, ProfileStatus]) -> Iterator[Metric]:
    for kind, gauges in (("gauge", GAUGES), ("counter", CACHE_TOTALS)):
        for gauge in gauges:
            values = (((profile,), gauge.read(status)) for profile, status in statuses.items())
            yield _family(kind, gauge.name, gauge.text, ("profile",), values)
    states = (
        ((profile, state), state == status.session.state) for profile, status in statuses.items() for state in STATES
    )
    text = "The state of the session: 1 for one of them."
    yield _family("gauge", "session_state", text, ("profile", "state"), states)
    orders = (
        ((profile, state), count)
        for profile, status in statuses.items()
        for state, count in status.journal.orders.items()
    )
    yield _family("gauge", "orders", "Orders of the last day, by state.", ("profile", "state"), orders)
    waiting = (
        ((profile, priority), getattr(status.waiting, priority))
        for profile, status in statuses.items()
        for priority in ("session", "orders", "reads")
    )
    yield _family("gauge", "waiting_calls", "Calls that wait, by priority.", ("profile", "priority"), waiting)
    yield _conditions(statuses)


def _conditions(statuses: Mapping[str, ProfileStatus]) -> Metric:
    """All kinds for each profile, so that a rule for one that never occurred is no rule without data."""
    present = {(profile, each.id) for profile, status in statuses.items() for each in status.conditions}
    values = (
        ((profile, kind.id, kind.severity.value), (profile, kind.id) in present)
        for profile in statuses
        for kind in KINDS.values()
    )
    text = "Whether a condition holds: 1 or 0; docs/conditions.md lists them."
    return _family("gauge", "condition", text, ("profile", "condition", "severity"), values)


def _family(
    kind: str, name: str, text: str, labels: Sequence[str], values: Iterable[tuple[tuple[str, ...], Value]]
) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    make: type[CounterMetricFamily | GaugeMetricFamily] = (
        CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    )
    family = make(PREFIX + name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, float(value))
    return family
