"""Topics that IBKR does not answer: what their subscribers get instead, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from ibkr_bridge.events import Bus, Event, TopicSilent
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Args, Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.second_source import CHECK_INTERVAL_S, SecondSource
from ibkr_bridge.streaming.subscriber import Subscriber
from tests.clocks import ManualClock
from tests.harness import with_timeout
from tests.streaming.readers import RecordingEncoding, WritableSink

ORDERS, TRADES, PNL = Topic(TopicKind.ORDERS), Topic(TopicKind.TRADES), Topic(TopicKind.PNL)
ORDER = {"orderId": 71, "status": "Submitted", "acct": "DU7000001"}
TRADE = {"execution_id": "e-9", "trade_time_r": 1_781_712_000_000, "size": 2}


class SilentIbkr:
    """A hub whose websocket is connected to an IBKR that says nothing, and calls whose responses the test sets."""

    def __init__(self) -> None:
        self.clock, self.events_seen = ManualClock(), list[Event]()
        self.hub = Hub(self.clock)
        self.commands: list[str] = []
        self.rows: dict[TopicKind, list[dict[str, Any]] | None] = {TopicKind.ORDERS: [], TopicKind.TRADES: []}
        self.reads: list[tuple[TopicKind, float]] = []
        bus = Bus()
        bus.subscribe(self.events_seen.append)
        kinds = (TopicKind.ORDERS, TopicKind.TRADES)
        self.source = SecondSource(self.hub, {kind: self.reader(kind) for kind in kinds}, self.clock, bus)
        self.hub.mark_fresh(self.commands.append, "somebody")

    def reader(self, kind: TopicKind) -> Any:
        """The call that reads the rows of a kind."""

        async def read(_: Args) -> list[dict[str, Any]] | None:
            self.reads.append((kind, self.clock.now()))
            return self.rows[kind]

        return read

    def subscribe(self, *topics: Topic) -> RecordingEncoding:
        """Subscribe to topics as a new subscriber, and return what it gets."""
        encoding = RecordingEncoding()
        subscriber = Subscriber(WritableSink(), encoding)
        self.hub.add_subscriber(subscriber)
        for topic in topics:
            self.hub.subscribe(subscriber, Subscribe(topic))
        return encoding

    async def advance(self, seconds: float) -> None:
        """Move the clock second by second; both parts of the watch run after each."""
        for _ in range(int(seconds / CHECK_INTERVAL_S)):
            await with_timeout(self.clock.wait_for_sleepers(1))
            self.clock.advance(CHECK_INTERVAL_S)
            self.hub.housekeep()
            self.source.report_silence()
        await with_timeout(self.clock.wait_for_sleepers(1))


@pytest.fixture
async def ibkr() -> AsyncIterator[SilentIbkr]:
    """A silent IBKR, and the loop that watches it."""
    silent = SilentIbkr()
    silent.hub.in_use.set()  # somebody has subscribed before
    async with running(silent.source):
        yield silent


@asynccontextmanager
async def running(source: SecondSource) -> AsyncIterator[None]:
    """Run the loop meanwhile."""
    task = asyncio.create_task(source.run_loop())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def rows_of(encoding: RecordingEncoding, name: str = "") -> list[Any]:
    """The rows of all events of this name that a subscriber got."""
    return [row for event in encoding.events if event.name == name for _, row in event.rows]


async def test_orders_and_trades_are_read_when_ibkr_does_not_answer(ibkr: SilentIbkr) -> None:
    """Their subscribers get the rows as if IBKR had sent them."""
    ibkr.rows = {TopicKind.ORDERS: [ORDER], TopicKind.TRADES: [TRADE]}
    orders, trades = ibkr.subscribe(ORDERS), ibkr.subscribe(TRADES)

    await ibkr.advance(12)

    assert (rows_of(orders), rows_of(trades)) == ([ORDER], [TRADE])
    assert rows_of(orders, "stale") == rows_of(trades, "stale") == []


async def test_nothing_is_read_before_the_deadline_nor_after_an_answer(ibkr: SilentIbkr) -> None:
    """The calls are few, and callers want them."""
    ibkr.subscribe(ORDERS, TRADES)
    await ibkr.advance(8)
    ibkr.hub.on_message({"topic": "sor", "args": []})
    ibkr.hub.on_message({"topic": "str", "args": []})
    await ibkr.advance(120)

    assert ibkr.reads == []


async def test_only_rows_that_are_new_are_sent(ibkr: SilentIbkr) -> None:
    """A list that is read again is not an event."""
    ibkr.rows[TopicKind.ORDERS] = [ORDER]
    orders = ibkr.subscribe(ORDERS)
    await ibkr.advance(45)
    ibkr.rows[TopicKind.ORDERS] = [{**ORDER, "status": "Filled"}, {"orderId": 72, "status": "Submitted"}]
    await ibkr.advance(20)

    assert [(row["orderId"], row["status"]) for row in rows_of(orders)] == [
        (71, "Submitted"),
        (71, "Filled"),
        (72, "Submitted"),
    ]


async def test_reads_are_ten_seconds_apart(ibkr: SilentIbkr) -> None:
    """IBKR allows one in five seconds, to callers and bridge together."""
    ibkr.subscribe(ORDERS)
    await ibkr.advance(65)
    times = [at for _, at in ibkr.reads]

    assert len(times) >= 5
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 10


async def test_nobody_is_read_for_without_subscribers(ibkr: SilentIbkr) -> None:
    """The topic ends some seconds after the last of them has left."""
    encoding = RecordingEncoding()
    subscriber = Subscriber(WritableSink(), encoding)
    ibkr.hub.add_subscriber(subscriber)
    ibkr.hub.subscribe(subscriber, Subscribe(ORDERS))
    await ibkr.advance(8)
    ibkr.hub.remove_subscriber(subscriber)
    await ibkr.advance(60)

    assert ibkr.reads == []


async def test_a_topic_without_a_second_source_becomes_stale_and_fresh_again(ibkr: SilentIbkr) -> None:
    """Its subscribers learn it, and nobody else; the name tells it from an event about the whole source."""
    pnl, orders = ibkr.subscribe(PNL), ibkr.subscribe(ORDERS)
    await ibkr.advance(11)
    [stale] = rows_of(pnl, "stale")
    ibkr.hub.on_message({"topic": "spl", "args": {"DU7000001.Core": {"upl": 1.5}}})

    assert (stale["reason"], stale["topic"]) == ("topic_silent", "spl")
    assert stale["detail"].startswith("IBKR does not answer")
    assert [row["topic"] for row in rows_of(pnl, "fresh")] == ["spl"]
    assert [event.name for event in pnl.events] == ["stale", "fresh", ""]
    assert rows_of(orders, "stale") == []


async def test_a_websocket_gets_the_same_in_ibkrs_form(ibkr: SilentIbkr) -> None:
    """The message about one topic has no `success`, which would say that IBKR has connected anew."""
    pnl = ibkr.subscribe(PNL)
    await ibkr.advance(11)
    ibkr.hub.on_message({"topic": "spl", "args": {}})
    stale, fresh, _ = (event.message for event in pnl.events)

    assert stale["topic"] == fresh["topic"] == "system"
    assert stale["stale"]["reason"] == "topic_silent"
    assert (fresh["fresh"]["topic"], "success" in fresh) == ("spl", False)


async def test_a_later_subscriber_of_a_stale_topic_gets_that_first(ibkr: SilentIbkr) -> None:
    """It would otherwise wait for ever as well."""
    ibkr.subscribe(PNL)
    await ibkr.advance(11)

    assert [row["topic"] for row in rows_of(ibkr.subscribe(PNL), "stale")] == ["spl"]


@pytest.mark.parametrize("topic", [ORDERS, TRADES])
async def test_without_an_answer_of_either_source_the_topic_is_stale(ibkr: SilentIbkr, topic: Topic) -> None:
    """It becomes fresh when a read succeeds, without an answer on the websocket."""
    ibkr.rows[topic.kind] = None
    encoding = ibkr.subscribe(topic)
    await ibkr.advance(13)
    stale = rows_of(encoding, "stale")
    ibkr.rows[topic.kind] = [ORDER if topic is ORDERS else TRADE]
    await ibkr.advance(12)

    assert [row["reason"] for row in stale] == ["topic_silent"]
    assert [event.name for event in encoding.events] == ["stale", "fresh", ""]


async def test_the_request_is_repeated(ibkr: SilentIbkr) -> None:
    """IBKR loses a request that comes too early, and the bridge cannot know it."""
    ibkr.subscribe(ORDERS)
    await ibkr.advance(61)

    assert ibkr.commands == ["sor+{}"] * 3


async def test_a_new_websocket_has_a_deadline_of_its_own(ibkr: SilentIbkr) -> None:
    """The event `fresh` of the whole source says that everything is requested again."""
    pnl = ibkr.subscribe(PNL)
    await ibkr.advance(11)
    ibkr.hub.mark_stale("stream_disconnected")
    await ibkr.advance(30)
    ibkr.hub.mark_fresh(ibkr.commands.append, "somebody")
    await ibkr.advance(8)
    names = [event.name for event in pnl.events]
    await ibkr.advance(3)

    assert names == ["stale", "stale", "fresh"]
    assert [row.get("topic") for row in rows_of(pnl, "stale")] == ["spl", None, "spl"]


async def test_a_refusal_is_an_answer(ibkr: SilentIbkr) -> None:
    """Subscribers get IBKR's words, and no `stale` beside them."""
    pnl = ibkr.subscribe(PNL)
    ibkr.hub.on_message({"topic": "spl", "error": "no permission"})
    await ibkr.advance(30)

    assert [event.name for event in pnl.events] == ["problem"]


async def test_rows_that_come_after_ibkrs_own_answer_are_dropped(ibkr: SilentIbkr) -> None:
    """They may be older than it."""
    orders = ibkr.subscribe(ORDERS)
    started, released = asyncio.Event(), asyncio.Event()

    async def read_slowly(_: Args) -> list[dict[str, Any]]:
        started.set()
        await released.wait()
        return [{**ORDER, "status": "Submitted"}]

    ibkr.source._reads = {TopicKind.ORDERS: read_slowly}
    await ibkr.advance(9)
    ibkr.clock.advance(1)
    await with_timeout(started.wait())
    ibkr.hub.on_message({"topic": "sor", "args": [{**ORDER, "status": "Filled"}]})
    released.set()
    await with_timeout(ibkr.clock.wait_for_sleepers(1))

    assert [row["status"] for row in rows_of(orders)] == ["Filled"]


async def test_the_log_has_each_silent_topic_once(ibkr: SilentIbkr) -> None:
    """Without the target, which may be an account."""
    ibkr.subscribe(ORDERS, Topic(TopicKind.LEDGER, "DU7000001"))
    await ibkr.advance(60)

    reported = [(event.topic, event.has_second_source) for event in ibkr.events_seen if isinstance(event, TopicSilent)]
    assert sorted(reported) == [("sld", False), ("sor", True)]
    assert ibkr.hub.counts["silent_topics"] == 2
