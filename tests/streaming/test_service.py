"""The streams of a profile: changes of the session, and the work that is done every second."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress

import pytest

from ibkr_bridge.calls.upstream_port import StreamSocket
from ibkr_bridge.events import Bus
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.service import (
    HEARTBEAT_INTERVAL_S,
    HOUSEKEEPING_INTERVAL_S,
    StreamService,
    StreamSession,
)
from ibkr_bridge.streaming.subscriber import Subscriber
from tests.clocks import ManualClock
from tests.session.statuses import KnownStatus
from tests.streaming.readers import RecordingEncoding, WritableSink


def session(reason: str = "ready", *, is_ready: bool = True, is_lost: bool = False) -> StreamSession:
    """A session as the streams see it."""
    return StreamSession({"state": reason, "reason": reason}, reason, is_ready, is_lost)


def no_socket() -> AbstractAsyncContextManager[StreamSocket]:
    """Stand in for the function that opens IBKR's websocket; these tests open none."""
    raise AssertionError("a socket was opened")


class ServiceHarness:
    """The streams of a profile, and a subscriber to the topic of the session."""

    def __init__(self, first: StreamSession) -> None:
        self.clock = ManualClock()
        self.service = StreamService("main", no_socket, KnownStatus(clock=self.clock), first, self.clock, Bus(), {})
        self.encoding = RecordingEncoding()
        self.subscriber = Subscriber(WritableSink(), self.encoding, wants_source_events=False)
        self.service.hub.add_subscriber(self.subscriber)
        self.service.hub.subscribe(self.subscriber, Subscribe(Topic(TopicKind.SESSION)))

    @property
    def states(self) -> list[object]:
        """The states of the session that the subscriber got."""
        return [event.message["state"] for event in self.encoding.events if "state" in event.message]

    @property
    def heartbeats(self) -> int:
        """How many heartbeats the subscriber got."""
        return sum("hb" in event.message for event in self.encoding.events)


async def test_a_new_subscriber_gets_the_current_state_of_the_session() -> None:
    """It must not wait for the next change, which may come hours later."""
    assert ServiceHarness(session("starting", is_ready=False)).states == ["starting"]


async def test_a_change_of_the_session_is_sent_to_its_subscribers() -> None:
    """They need not poll the status of the session."""
    harness = ServiceHarness(session())

    harness.service.on_session_change(session("competing", is_ready=False))

    assert harness.states == ["ready", "competing"]


@pytest.mark.parametrize(("is_lost", "lines"), [(True, 0), (False, 1)])
async def test_market_data_lines_are_dropped_only_if_ibkr_has_no_session(is_lost: bool, lines: int) -> None:
    """While the Gateway is silent, IBKR may still hold them, and they count against its hundred."""
    harness = ServiceHarness(session())
    usage = harness.service.hub.upstream_subscriptions.line_usage
    usage.opened_by_call("one", ["8"], frozenset())

    harness.service.on_session_change(session("x", is_ready=False, is_lost=is_lost))

    assert len(usage) == lines


async def test_subscribers_get_a_heartbeat_every_ten_seconds() -> None:
    """Clients know it from IBKR's own websocket, and notice a dead connection by its absence."""
    harness = ServiceHarness(session())
    loop = asyncio.create_task(harness.service.housekeeping_loop())

    for _ in range(int(2 * HEARTBEAT_INTERVAL_S / HOUSEKEEPING_INTERVAL_S)):
        await harness.clock.wait_for_sleepers(1)
        harness.clock.advance(HOUSEKEEPING_INTERVAL_S)
    await harness.clock.wait_for_sleepers(1)
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop

    assert harness.heartbeats == 2


async def test_housekeeping_closes_subscribers_that_may_no_longer_read() -> None:
    """A key that was rotated closes its streams within a second."""
    harness, sink = ServiceHarness(session()), WritableSink()
    harness.service.hub.add_subscriber(Subscriber(sink, RecordingEncoding(), lambda: "key_rotated"))
    loop = asyncio.create_task(harness.service.housekeeping_loop())

    await harness.clock.wait_for_sleepers(1)
    harness.clock.advance(HOUSEKEEPING_INTERVAL_S)
    await harness.clock.wait_for_sleepers(1)
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop

    assert sink.reason == "key_rotated"


async def test_the_status_counts_subscribers_topics_and_lines() -> None:
    """An operator sees from it how many market data lines are used, and by what."""
    harness = ServiceHarness(session())
    harness.service.hub.upstream_subscriptions.line_usage.opened_by_call("one", ["8"], frozenset())

    status = harness.service.status()

    assert (status.up, status.readers, status.market_data_lines_of_calls, status.topics) == (False, 1, 1, 0)
