"""The streams of a profile: what a change of the session means, and what time brings."""

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
    """What the streams are told."""
    return StreamSession({"state": reason, "reason": reason}, reason, is_ready, is_lost)


def no_socket() -> AbstractAsyncContextManager[StreamSocket]:
    """These tests open none."""
    raise AssertionError("a socket was opened")


class World:
    """The streams of a profile, and one who reads the session's topic."""

    def __init__(self, first: StreamSession) -> None:
        self.clock = ManualClock()
        self.service = StreamService("main", no_socket, KnownStatus(clock=self.clock), first, self.clock, Bus())
        self.kept = RecordingEncoding()
        self.reader = Subscriber(WritableSink(), self.kept, wants_source_events=False)
        self.service.hub.add_subscriber(self.reader)
        self.service.hub.subscribe(self.reader, Subscribe(Topic(TopicKind.SESSION)))

    @property
    def states(self) -> list[object]:
        """What the reader was told of the session."""
        return [event.message["state"] for event in self.kept.events if "state" in event.message]

    @property
    def heartbeats(self) -> int:
        """How many it was told."""
        return sum("hb" in event.message for event in self.kept.events)


async def test_who_comes_first_is_told_the_session_as_it_is() -> None:
    """The topic has a state before anything changed."""
    assert World(session("starting", is_ready=False)).states == ["starting"]


async def test_a_change_of_the_session_is_told_to_its_readers() -> None:
    """With the words that the session's own page has."""
    world = World(session())

    world.service.on_session_change(session("competing", is_ready=False))

    assert world.states == ["ready", "competing"]


@pytest.mark.parametrize(("is_lost", "lines"), [(True, 0), (False, 1)])
async def test_lines_are_forgotten_only_where_ibkr_has_no_session(is_lost: bool, lines: int) -> None:
    """A silent Gateway may hold them still."""
    world = World(session())
    usage = world.service.hub.upstream_subscriptions.line_usage
    usage.opened_by_call("one", ["8"], frozenset())

    world.service.on_session_change(session("x", is_ready=False, is_lost=is_lost))

    assert len(usage) == lines


async def test_readers_are_told_a_heartbeat_every_ten_seconds() -> None:
    """As on IBKR's own socket."""
    world = World(session())
    loop = asyncio.create_task(world.service.housekeeping_loop())

    for _ in range(int(2 * HEARTBEAT_INTERVAL_S / HOUSEKEEPING_INTERVAL_S)):
        await world.clock.wait_for_sleepers(1)
        world.clock.advance(HOUSEKEEPING_INTERVAL_S)
    await world.clock.wait_for_sleepers(1)
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop

    assert world.heartbeats == 2


async def test_those_who_may_read_no_more_are_closed_by_housekeeping() -> None:
    """A key that was rotated closes its streams within a second."""
    world, paper = World(session()), WritableSink()
    world.service.hub.add_subscriber(Subscriber(paper, RecordingEncoding(), lambda: "key_rotated"))
    loop = asyncio.create_task(world.service.housekeeping_loop())

    await world.clock.wait_for_sleepers(1)
    world.clock.advance(HOUSEKEEPING_INTERVAL_S)
    await world.clock.wait_for_sleepers(1)
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop

    assert paper.reason == "key_rotated"


async def test_the_status_counts_who_reads_and_what() -> None:
    """For people."""
    world = World(session())
    world.service.hub.upstream_subscriptions.line_usage.opened_by_call("one", ["8"], frozenset())

    status = world.service.status()

    assert (status.up, status.readers, status.market_data_lines_of_calls, status.topics) == (False, 1, 1, 0)
