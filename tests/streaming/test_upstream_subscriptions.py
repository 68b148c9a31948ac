"""What IBKR is asked for: once for all readers, renewed, given back, and never more than it sends."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.errors import BadRequest, MarketDataLimit
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import MAX_FIELDS, Subscribe, Topic, TopicKind, Unsubscribe
from ibkr_bridge.streaming.quarantine import MAX_SUSPICION
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import Subscription
from ibkr_bridge.streaming.upstream_subscriptions import (
    MAX_BY_KIND,
    QUARANTINE_S,
    RENEW_AFTER_S,
    UNUSED_GRACE_S,
    UpstreamSubscriptions,
)
from tests.clocks import ManualClock
from tests.streaming.readers import RecordingEncoding, WritableSink

K = TopicKind
FIELDS = {"fields": ["31"]}


class World:
    """The topics, and what IBKR is told."""

    def __init__(self, *, up: bool = True) -> None:
        self.clock = ManualClock()
        self.topics = UpstreamSubscriptions(self.clock)
        self.told: list[str] = []
        if up:
            self.topics.on_socket_open(self.told.append)

    def want(
        self, kind: TopicKind, target: str = "", args: dict[str, Any] | None = None, by: Subscriber | None = None
    ) -> tuple[Subscription, Subscriber]:
        """Somebody wants a topic."""
        subscriber = by or Subscriber(WritableSink(), RecordingEncoding())
        subscribe = Subscribe(Topic(kind, target), args if args is not None else {})
        subscription = self.topics.get_or_create(subscribe, subscriber)
        subscription.add(subscriber, subscribe, 0)
        self.topics.ensure(subscription)
        return subscription, subscriber

    def leave(self, subscription: Subscription, subscriber: Subscriber) -> None:
        """Somebody wants it no more."""
        subscription.drop(subscriber, self.clock.now())

    def later(self, seconds: float) -> list[Subscription]:
        """Time passes."""
        self.clock.advance(seconds)
        return self.topics.housekeep()

    def new(self) -> list[str]:
        """What IBKR was told since the last look."""
        told, self.told[:] = list(self.told), []
        return told


def test_ibkr_is_asked_once_for_all_readers_of_a_topic() -> None:
    """The second one wants what comes already."""
    world = World()

    world.want(K.QUOTES, "8", FIELDS)
    world.want(K.QUOTES, "8", FIELDS)

    assert world.told == ['smd+8+{"fields":["31"]}']


def test_ibkr_is_told_after_a_grace_that_nobody_reads_any_more() -> None:
    """A page that is reloaded finds its topic as it was."""
    world = World()
    subscription, reader = world.want(K.QUOTES, "8", FIELDS)
    world.leave(subscription, reader)
    world.new()

    world.later(UNUSED_GRACE_S - 0.1)
    assert world.new() == []
    world.later(0.1)

    assert (world.new(), len(world.topics)) == (["umd+8+{}"], 0)


def test_a_reader_who_comes_back_in_time_changes_nothing() -> None:
    """IBKR hears neither of the leaving nor of the coming."""
    world = World()
    subscription, reader = world.want(K.QUOTES, "8", FIELDS)
    world.leave(subscription, reader)
    world.later(UNUSED_GRACE_S / 2)
    world.want(K.QUOTES, "8", FIELDS)

    world.later(UNUSED_GRACE_S)

    assert world.told == ['smd+8+{"fields":["31"]}']


def test_quotes_are_asked_for_again_before_ibkr_forgets_them() -> None:
    """Other topics are not: IBKR does not forget those."""
    world = World()
    world.want(K.QUOTES, "8", FIELDS)
    world.want(K.ORDERS)
    world.new()

    world.later(RENEW_AFTER_S - 1.0)
    assert world.new() == []
    world.later(1.0)

    assert world.new() == ['smd+8+{"fields":["31"]}']


def test_a_new_socket_is_asked_for_everything_that_is_read() -> None:
    """It knows of nothing; what nobody reads is left out."""
    world = World(up=False)
    world.want(K.QUOTES, "8", FIELDS)
    idle, reader = world.want(K.QUOTES, "9", FIELDS)
    world.leave(idle, reader)

    world.topics.on_socket_open(world.told.append)

    assert (world.told, len(world.topics)) == (['smd+8+{"fields":["31"]}'], 1)


def test_nothing_is_said_while_there_is_no_socket() -> None:
    """It would be lost; a line that was to be given back is given back on the next socket."""
    world = World()
    subscription, reader = world.want(K.QUOTES, "8", FIELDS)
    world.topics.on_socket_closed(was_cut=False)
    world.leave(subscription, reader)
    world.new()

    world.later(UNUSED_GRACE_S)
    assert world.new() == []
    world.topics.on_socket_open(world.told.append)

    assert world.new() == ["umd+8+{}"]


def test_another_session_has_no_lines_to_give_back() -> None:
    """IBKR forgot them with the session."""
    world = World()
    subscription, reader = world.want(K.QUOTES, "8", FIELDS)
    world.topics.on_socket_closed(was_cut=False)
    world.leave(subscription, reader)
    world.later(UNUSED_GRACE_S)
    world.new()

    world.topics.reset_session()
    world.topics.on_socket_open(world.told.append)

    assert world.new() == []


def test_more_contracts_than_ibkr_sends_are_refused() -> None:
    """One that nobody reads makes room; where all are read, nothing is opened."""
    world = World()
    first, reader = world.want(K.QUOTES, "1", FIELDS)
    for conid in range(2, MAX_MARKET_DATA_LINES + 1):
        world.want(K.QUOTES, str(conid), FIELDS)
    with pytest.raises(MarketDataLimit):
        world.want(K.QUOTES, "500", FIELDS)
    with pytest.raises(MarketDataLimit):
        world.topics.check_capacity([Subscribe(Topic(K.QUOTES, "500"), FIELDS)])
    world.leave(first, reader)
    world.new()

    world.want(K.QUOTES, "500", FIELDS)

    assert world.new() == ["umd+1+{}", 'smd+500+{"fields":["31"]}']


def test_more_fields_than_ibkr_sends_are_refused() -> None:
    """All readers of a contract together; a reader's own older wish does not count."""
    world, many = World(), {"fields": [str(number) for number in range(MAX_FIELDS)]}
    _, reader = world.want(K.QUOTES, "8", many)

    with pytest.raises(MarketDataLimit):
        world.want(K.QUOTES, "8", {"fields": ["9999"]})
    world.want(K.QUOTES, "8", {"fields": ["9999"]}, by=reader)


def test_a_sixth_chart_is_refused() -> None:
    """IBKR's own limit."""
    world, most = World(), MAX_BY_KIND[K.HISTORY]
    for conid in range(most):
        world.want(K.HISTORY, str(conid))

    with pytest.raises(MarketDataLimit):
        world.want(K.HISTORY, "500")

    assert len(world.topics.of_kind(K.HISTORY)) == most


def test_a_second_chart_of_a_contract_replaces_its_readers_own_alone() -> None:
    """IBKR tells two charts by their contract alone."""
    world = World()
    chart, reader = world.want(K.HISTORY, "8", {"period": "1d"})
    chart.on_message({"topic": "smh+8", "serverId": "s1"}, 1, 0.0)
    with pytest.raises(MarketDataLimit):
        world.want(K.HISTORY, "8", {"period": "2d"})
    world.new()

    replaced, _ = world.want(K.HISTORY, "8", {"period": "2d"}, by=reader)

    assert replaced is not chart
    assert world.new() == ["umh+s1", 'smh+8+{"period":"2d"}']


def test_a_chart_whose_id_comes_too_late_is_ended_then() -> None:
    """It would take one of five places for ever."""
    world = World()
    chart, reader = world.want(K.HISTORY, "8", {"period": "1d"})
    world.leave(chart, reader)
    world.later(UNUSED_GRACE_S)
    world.new()

    world.topics.end_unknown_chart({"topic": "smh+8", "serverId": "s1"})
    world.topics.end_unknown_chart({"topic": "other", "serverId": "s1"})

    assert world.new() == ["umh+s1"]


def test_what_ibkr_ends_together_is_asked_for_again() -> None:
    """A leave of one ladder ends all ladders of its account."""
    world = World()
    one, reader = world.want(K.LADDER, "DU1+8")
    world.want(K.LADDER, "DU1+9")
    world.want(K.LADDER, "DU2+9")
    world.leave(one, reader)
    world.new()

    world.later(UNUSED_GRACE_S)

    assert world.new() == ["ubd+DU1", "sbd+DU1+9"]


def test_a_topic_that_ends_the_socket_three_times_is_refused_for_a_while() -> None:
    """Its readers are told, and everybody else goes on reading."""
    world = World()
    guilty, reader = world.want(K.HISTORY, "8", {"period": "1y"})
    for _ in range(MAX_SUSPICION):
        world.topics.on_socket_closed(was_cut=True)
        world.topics.on_socket_open(world.told.append)
        found = world.later(1.0)
    assert found == [guilty]

    world.topics.on_refusal(guilty)

    assert len(world.topics) == 0
    with pytest.raises(BadRequest):
        world.want(K.HISTORY, "8", {"period": "1y"}, by=reader)
    world.clock.advance(QUARANTINE_S)
    world.want(K.HISTORY, "8", {"period": "1y"}, by=reader)


def test_a_socket_that_ends_in_order_brings_nobody_under_suspicion() -> None:
    """The Gateway was restarted."""
    world = World()
    subscription, _ = world.want(K.QUOTES, "8", FIELDS)

    world.topics.on_socket_closed(was_cut=False)

    assert subscription.suspicion == 0


def test_topics_are_found_by_name_kind_and_by_what_a_leave_names() -> None:
    """A ladder is left by its account, a chart by its id."""
    world = World()
    ladder, _ = world.want(K.LADDER, "DU1+8")
    chart, _ = world.want(K.HISTORY, "8", {"period": "1d"})
    chart.on_message({"topic": "smh+8", "serverId": "s1"}, 1, 0.0)

    assert world.topics.by_name("sbd+DU1+8") is ladder
    assert world.topics.by_name(None) is None
    assert world.topics.matching(Unsubscribe(K.LADDER, "DU1")) == [ladder]
    assert world.topics.matching(Unsubscribe(K.HISTORY, "s1")) == [chart]
    assert world.topics.matching(Unsubscribe(K.HISTORY, "8")) == []


def test_idle_quotes_are_ended_where_calls_need_their_lines() -> None:
    """Those that are wanted, and those that are read, stay."""
    world = World()
    idle, reader = world.want(K.QUOTES, "1", FIELDS)
    for conid in range(2, MAX_MARKET_DATA_LINES + 1):
        world.want(K.QUOTES, str(conid), FIELDS)
    world.leave(idle, reader)
    world.topics.free_market_data_lines(["1", "2"])
    assert "1" in world.topics.streamed_conids

    world.topics.free_market_data_lines(["500"])

    assert "1" not in world.topics.streamed_conids
