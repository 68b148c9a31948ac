"""The requests of the last hour, in samples of ten seconds."""

from __future__ import annotations

from ibkr_bridge.events import BridgeStopped, ProbeServed, RequestServed
from ibkr_bridge.server.request_samples import MAX_DELAYS, SAMPLES, RequestSamples
from tests.clocks import NOON, ManualClock


def served(ms: float = 1.0, status: int = 200, kind: type[RequestServed] = RequestServed) -> RequestServed:
    """The event of a request."""
    return kind("id", "full", "GET", "/accounts", status, ms, "bridge")


def test_a_sample_is_shown_when_it_is_complete() -> None:
    """With its delays, and with the requests for whose failure the caller is not to blame."""
    clock = ManualClock()
    samples = RequestSamples(clock)
    for ms in range(1, 101):
        samples.on_event(served(float(ms), 503 if ms > 98 else 404))

    assert samples.samples() == []
    clock.advance(10.0)
    (sample,) = samples.samples()
    assert (sample.at, sample.requests, sample.failed) == (NOON, 100, 2)
    assert (sample.p50_ms, sample.p95_ms) == (51.0, 96.0)


def test_seconds_without_a_request_have_no_sample_and_old_ones_go() -> None:
    """The page fills the gaps."""
    clock = ManualClock()
    samples = RequestSamples(clock)
    samples.on_event(served())
    clock.advance(35.0)
    samples.on_event(served())
    clock.advance(10.0)

    assert [(each.at - NOON).total_seconds() for each in samples.samples()] == [0.0, 30.0]
    clock.advance(10.0 * SAMPLES)
    assert samples.samples() == []


def test_probes_and_other_events_do_not_count_and_a_stream_has_no_delay() -> None:
    """A stream of an hour is no slow request."""
    clock = ManualClock()
    samples = RequestSamples(clock)
    samples.on_event(served(kind=ProbeServed))
    samples.on_event(BridgeStopped(0))
    samples.on_event(served(3_600_000.0))
    clock.advance(10.0)

    (sample,) = samples.samples()
    assert (sample.requests, sample.p50_ms) == (1, None)


def test_memory_is_bounded() -> None:
    """However many requests there are."""
    clock = ManualClock()
    samples = RequestSamples(clock)
    for _ in range(MAX_DELAYS + 10):
        samples.on_event(served())
    clock.advance(10.0)

    assert samples.samples()[0].requests == MAX_DELAYS + 10
    assert len(samples._delays) == 0
