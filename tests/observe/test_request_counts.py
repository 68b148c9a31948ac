"""What is counted from the events."""

from __future__ import annotations

from dataclasses import replace

from ibkr_bridge.events import OrderPlaced, ReloadRefused, RequestServed, SessionLost, StreamClosed
from ibkr_bridge.observe.request_counts import BUCKETS_S, OTHER_METHOD, RequestCounts

SERVED = RequestServed("id", "full", "GET", "/session", 200, 12.0, "bridge", profile="main")


def test_requests_are_counted_by_route_and_status() -> None:
    """And the errors of the bridge by their code."""
    counts = RequestCounts()
    for event in (SERVED, SERVED, replace(SERVED, status=503, code="busy")):
        counts.on_event(event)

    assert counts.requests == {("main", "GET", "/session", 200): 2, ("main", "GET", "/session", 503): 1}
    assert counts.errors == {("main", "busy"): 1}


def test_invented_methods_are_one_label() -> None:
    """Otherwise anybody could fill the memory of the bridge and of Prometheus."""
    counts = RequestCounts()
    for number in range(50):
        counts.on_event(replace(SERVED, method=f"M{number}", profile=None))

    assert counts.requests == {("", OTHER_METHOD, "/session", 200): 50}


def test_durations_fall_into_buckets() -> None:
    """A limit belongs to its own bucket; what is longer than all of them has one too."""
    counts = RequestCounts()
    for milliseconds in (1.0, 1.1, 40_000.0):
        counts.on_event(replace(SERVED, ms=milliseconds))

    durations = counts.durations["main", "bridge"]
    assert (durations.counts[0], durations.counts[1], durations.counts[-1]) == (1, 1, 1)
    assert len(durations.counts) == len(BUCKETS_S) + 1
    assert round(durations.total_s, 4) == 40.0021


def test_orders_losses_and_closed_streams_are_counted() -> None:
    """Everything else is not."""
    counts = RequestCounts()
    for event in (
        OrderPlaced("o-1", "r-1", "place", "placed", profile="main"),
        SessionLost("ready", "signed_out", "signed_out", "sign in", 1.0, "look", profile="main"),
        StreamClosed("id", "full", "/ws", "slow_client", profile="main"),
        ReloadRefused("a setting is wrong"),
    ):
        counts.on_event(event)

    assert counts.orders == {("main", "order.placed"): 1}
    assert counts.losses == {"main": 1}
    assert counts.closed_streams == {("main", "slow_client"): 1}
