"""The subscriptions at IBKR: requested once for all subscribers, renewed, ended, and within IBKR's limits."""

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


class SubscriptionsHarness:
    """The subscriptions, their subscribers, and the commands that IBKR gets."""

    def __init__(self, *, is_connected: bool = True) -> None:
        self.clock = ManualClock()
        self.topics = UpstreamSubscriptions(self.clock)
        self.commands: list[str] = []
        if is_connected:
            self.topics.on_socket_open(self.commands.append)

    def subscribe(
        self,
        kind: TopicKind,
        target: str = "",
        args: dict[str, Any] | None = None,
        subscriber: Subscriber | None = None,
    ) -> tuple[Subscription, Subscriber]:
        """Subscribe to a topic as a new subscriber, or as the given one."""
        subscriber = subscriber or Subscriber(WritableSink(), RecordingEncoding())
        subscribe = Subscribe(Topic(kind, target), args if args is not None else {})
        subscription = self.topics.get_or_create(subscribe, subscriber)
        subscription.add(subscriber, subscribe, 0)
        self.topics.ensure(subscription)
        return subscription, subscriber

    def unsubscribe(self, subscription: Subscription, subscriber: Subscriber) -> None:
        """Remove a subscriber from a topic."""
        subscription.drop(subscriber, self.clock.now())

    def advance(self, seconds: float) -> list[Subscription]:
        """Move the clock and run the housekeeping once; return the quarantined topics."""
        self.clock.advance(seconds)
        return self.topics.housekeep()

    def take_commands(self) -> list[str]:
        """The commands that IBKR got since the last call."""
        commands, self.commands[:] = list(self.commands), []
        return commands


def test_a_topic_is_requested_once_for_all_its_subscribers() -> None:
    """IBKR sends it already when the second subscriber comes."""
    harness = SubscriptionsHarness()

    harness.subscribe(K.QUOTES, "8", FIELDS)
    harness.subscribe(K.QUOTES, "8", FIELDS)

    assert harness.commands == ['smd+8+{"fields":["31"]}']


def test_a_topic_without_subscribers_is_ended_after_some_seconds() -> None:
    """A page that is reloaded within this time finds its topic unchanged."""
    harness = SubscriptionsHarness()
    subscription, subscriber = harness.subscribe(K.QUOTES, "8", FIELDS)
    harness.unsubscribe(subscription, subscriber)
    harness.take_commands()

    harness.advance(UNUSED_GRACE_S - 0.1)
    assert harness.take_commands() == []
    harness.advance(0.1)

    assert (harness.take_commands(), len(harness.topics)) == (["umd+8+{}"], 0)


def test_a_subscriber_that_comes_back_in_time_causes_no_command() -> None:
    """IBKR gets neither an unsubscribe nor a second subscribe."""
    harness = SubscriptionsHarness()
    subscription, subscriber = harness.subscribe(K.QUOTES, "8", FIELDS)
    harness.unsubscribe(subscription, subscriber)
    harness.advance(UNUSED_GRACE_S / 2)
    harness.subscribe(K.QUOTES, "8", FIELDS)

    harness.advance(UNUSED_GRACE_S)

    assert harness.commands == ['smd+8+{"fields":["31"]}']


def test_quotes_are_requested_again_before_ibkr_drops_them() -> None:
    """IBKR drops quotes after some minutes, and keeps all other topics."""
    harness = SubscriptionsHarness()
    harness.subscribe(K.QUOTES, "8", FIELDS)
    harness.subscribe(K.ORDERS)
    harness.take_commands()

    harness.advance(RENEW_AFTER_S - 1.0)
    assert harness.take_commands() == []
    harness.advance(1.0)

    assert harness.take_commands() == ['smd+8+{"fields":["31"]}']


def test_all_topics_with_subscribers_are_requested_on_a_new_websocket() -> None:
    """IBKR keeps no subscriptions of the last websocket. Topics without subscribers are dropped."""
    harness = SubscriptionsHarness(is_connected=False)
    harness.subscribe(K.QUOTES, "8", FIELDS)
    idle, subscriber = harness.subscribe(K.QUOTES, "9", FIELDS)
    harness.unsubscribe(idle, subscriber)

    harness.topics.on_socket_open(harness.commands.append)

    assert (harness.commands, len(harness.topics)) == (['smd+8+{"fields":["31"]}'], 1)


def test_no_command_is_sent_without_a_websocket() -> None:
    """A market data line that had to be released meanwhile is released on the next websocket."""
    harness = SubscriptionsHarness()
    subscription, subscriber = harness.subscribe(K.QUOTES, "8", FIELDS)
    harness.topics.on_socket_closed(was_cut=False)
    harness.unsubscribe(subscription, subscriber)
    harness.take_commands()

    harness.advance(UNUSED_GRACE_S)
    assert harness.take_commands() == []
    harness.topics.on_socket_open(harness.commands.append)

    assert harness.take_commands() == ["umd+8+{}"]


def test_in_a_new_session_no_market_data_line_has_to_be_released() -> None:
    """IBKR dropped all lines together with the last session."""
    harness = SubscriptionsHarness()
    subscription, subscriber = harness.subscribe(K.QUOTES, "8", FIELDS)
    harness.topics.on_socket_closed(was_cut=False)
    harness.unsubscribe(subscription, subscriber)
    harness.advance(UNUSED_GRACE_S)
    harness.take_commands()

    harness.topics.reset_session()
    harness.topics.on_socket_open(harness.commands.append)

    assert harness.take_commands() == []


def test_more_contracts_than_ibkr_sends_are_refused() -> None:
    """IBKR would silently send no quotes for them. A contract without subscribers is closed for a new one."""
    harness = SubscriptionsHarness()
    first, subscriber = harness.subscribe(K.QUOTES, "1", FIELDS)
    for conid in range(2, MAX_MARKET_DATA_LINES + 1):
        harness.subscribe(K.QUOTES, str(conid), FIELDS)
    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.QUOTES, "500", FIELDS)
    with pytest.raises(MarketDataLimit):
        harness.topics.check_capacity([Subscribe(Topic(K.QUOTES, "500"), FIELDS)])
    harness.unsubscribe(first, subscriber)
    harness.take_commands()

    harness.subscribe(K.QUOTES, "500", FIELDS)

    assert harness.take_commands() == ["umd+1+{}", 'smd+500+{"fields":["31"]}']


def test_more_fields_than_ibkr_sends_are_refused() -> None:
    """The limit is for all subscribers of a contract together. Fields that a subscriber replaces do not count."""
    harness, all_fields = SubscriptionsHarness(), {"fields": [str(number) for number in range(MAX_FIELDS)]}
    _, subscriber = harness.subscribe(K.QUOTES, "8", all_fields)

    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.QUOTES, "8", {"fields": ["9999"]})
    harness.subscribe(K.QUOTES, "8", {"fields": ["9999"]}, subscriber=subscriber)


def test_a_sixth_chart_is_refused() -> None:
    """IBKR sends five charts at a time."""
    harness, max_charts = SubscriptionsHarness(), MAX_BY_KIND[K.HISTORY]
    for conid in range(max_charts):
        harness.subscribe(K.HISTORY, str(conid))

    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.HISTORY, "500")

    assert len(harness.topics.of_kind(K.HISTORY)) == max_charts


def test_a_second_chart_of_a_contract_replaces_only_a_chart_of_the_same_subscriber() -> None:
    """IBKR identifies a chart by its contract, so two subscribers cannot have different charts of it."""
    harness = SubscriptionsHarness()
    chart, subscriber = harness.subscribe(K.HISTORY, "8", {"period": "1d"})
    chart.on_message({"topic": "smh+8", "serverId": "s1"}, 1, 0.0)
    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.HISTORY, "8", {"period": "2d"})
    harness.take_commands()

    replaced, _ = harness.subscribe(K.HISTORY, "8", {"period": "2d"}, subscriber=subscriber)

    assert replaced is not chart
    assert harness.take_commands() == ["umh+s1", 'smh+8+{"period":"2d"}']


def test_a_chart_that_was_closed_before_its_id_arrived_is_ended_when_it_arrives() -> None:
    """Without the id it cannot be ended, and it would use one of the five charts for ever."""
    harness = SubscriptionsHarness()
    chart, subscriber = harness.subscribe(K.HISTORY, "8", {"period": "1d"})
    harness.unsubscribe(chart, subscriber)
    harness.advance(UNUSED_GRACE_S)
    harness.take_commands()

    harness.topics.end_unknown_chart({"topic": "smh+8", "serverId": "s1"})
    harness.topics.end_unknown_chart({"topic": "other", "serverId": "s1"})

    assert harness.take_commands() == ["umh+s1"]


def test_the_other_ladders_of_an_account_are_requested_again() -> None:
    """The command that ends one ladder ends all ladders of its account."""
    harness = SubscriptionsHarness()
    one, subscriber = harness.subscribe(K.LADDER, "DU1+8")
    harness.subscribe(K.LADDER, "DU1+9")
    harness.subscribe(K.LADDER, "DU2+9")
    harness.unsubscribe(one, subscriber)
    harness.take_commands()

    harness.advance(UNUSED_GRACE_S)

    assert harness.take_commands() == ["ubd+DU1", "sbd+DU1+9"]


def test_a_topic_that_ends_the_feed_three_times_is_refused_for_ten_minutes() -> None:
    """Otherwise it would interrupt all other topics again and again."""
    harness = SubscriptionsHarness()
    harmful, subscriber = harness.subscribe(K.HISTORY, "8", {"period": "1y"})
    for _ in range(MAX_SUSPICION):
        harness.topics.on_socket_closed(was_cut=True)
        harness.topics.on_socket_open(harness.commands.append)
        quarantined = harness.advance(1.0)
    assert quarantined == [harmful]

    harness.topics.on_refusal(harmful)

    assert len(harness.topics) == 0
    with pytest.raises(BadRequest):
        harness.subscribe(K.HISTORY, "8", {"period": "1y"}, subscriber=subscriber)
    harness.clock.advance(QUARANTINE_S)
    harness.subscribe(K.HISTORY, "8", {"period": "1y"}, subscriber=subscriber)


def test_no_topic_is_suspected_after_a_websocket_that_was_closed_in_order() -> None:
    """The Gateway was restarted, for example; no message was too long."""
    harness = SubscriptionsHarness()
    subscription, _ = harness.subscribe(K.QUOTES, "8", FIELDS)

    harness.topics.on_socket_closed(was_cut=False)

    assert subscription.suspicion == 0


def test_topics_are_found_by_their_name_and_by_an_unsubscribe_command() -> None:
    """The command names the account of a ladder, and the id of a chart."""
    harness = SubscriptionsHarness()
    ladder, _ = harness.subscribe(K.LADDER, "DU1+8")
    chart, _ = harness.subscribe(K.HISTORY, "8", {"period": "1d"})
    chart.on_message({"topic": "smh+8", "serverId": "s1"}, 1, 0.0)

    assert harness.topics.by_name("sbd+DU1+8") is ladder
    assert harness.topics.by_name(None) is None
    assert harness.topics.matching(Unsubscribe(K.LADDER, "DU1")) == [ladder]
    assert harness.topics.matching(Unsubscribe(K.HISTORY, "s1")) == [chart]
    assert harness.topics.matching(Unsubscribe(K.HISTORY, "8")) == []


def test_quotes_without_subscribers_are_ended_if_calls_need_their_lines() -> None:
    """A contract that the calls themselves need stays open, and so does one with subscribers."""
    harness = SubscriptionsHarness()
    idle, subscriber = harness.subscribe(K.QUOTES, "1", FIELDS)
    for conid in range(2, MAX_MARKET_DATA_LINES + 1):
        harness.subscribe(K.QUOTES, str(conid), FIELDS)
    harness.unsubscribe(idle, subscriber)
    harness.topics.free_market_data_lines(["1", "2"])
    assert "1" in harness.topics.streamed_conids

    harness.topics.free_market_data_lines(["500"])

    assert "1" not in harness.topics.streamed_conids


# -- the reduced share


def reduced_subscriber(key_label: str = "token") -> Subscriber:
    """A subscriber whose key or token has a reduced share."""
    return Subscriber(WritableSink(), RecordingEncoding(), has_reduced_share=True, key_label=key_label)


def test_tokens_leave_a_quarter_of_the_contracts_to_the_full_key() -> None:
    """A page with a hundred quotes must not stop the app from reading one."""
    harness = SubscriptionsHarness()
    for number in range(75):
        harness.subscribe(K.QUOTES, str(number), FIELDS, reduced_subscriber())

    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.QUOTES, "1000", FIELDS, reduced_subscriber("read-only"))
    with pytest.raises(MarketDataLimit):
        harness.topics.check_capacity([Subscribe(Topic(K.QUOTES, "1000"), FIELDS)], has_reduced_share=True)
    harness.subscribe(K.QUOTES, "5", FIELDS, reduced_subscriber())  # it is sent already
    harness.topics.check_capacity([Subscribe(Topic(K.QUOTES, "1000"), FIELDS)])
    for number in range(1000, 1025):
        harness.subscribe(K.QUOTES, str(number), FIELDS)

    assert len(harness.topics.streamed_conids) == 100
    assert len(harness.topics.reduced_conids) == 75


def test_tokens_leave_a_quarter_of_the_fields_to_the_full_key() -> None:
    """IBKR sends fifty fields of one contract, for all subscribers together."""
    harness = SubscriptionsHarness()
    harness.subscribe(K.QUOTES, "8", {"fields": [str(number) for number in range(30)]}, reduced_subscriber())

    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.QUOTES, "8", {"fields": [str(number) for number in range(30, 45)]}, reduced_subscriber())
    harness.subscribe(K.QUOTES, "8", {"fields": [str(number) for number in range(30, 45)]})

    assert len(harness.topics.of_kind(K.QUOTES)[0].merged_args(drop_unused=True)["fields"]) == 45


def test_tokens_leave_charts_to_the_full_key() -> None:
    """Of five charts a token gets three."""
    harness = SubscriptionsHarness()
    for number in range(3):
        harness.subscribe(K.HISTORY, str(number), {"period": "1d"}, reduced_subscriber())

    with pytest.raises(MarketDataLimit):
        harness.subscribe(K.HISTORY, "9", {"period": "1d"}, reduced_subscriber())
    harness.subscribe(K.HISTORY, "9", {"period": "1d"})

    assert len(harness.topics.of_kind(K.HISTORY)) == 4


def test_a_token_whose_charts_end_the_feed_gets_no_chart_for_ten_minutes() -> None:
    """Another contract each time, so that no single topic is quarantined."""
    harness = SubscriptionsHarness()
    for number in range(3):
        subscription, subscriber = harness.subscribe(K.HISTORY, str(number), {"period": "5y"}, reduced_subscriber())
        assert harness.topics.on_socket_closed(was_cut=True)
        harness.unsubscribe(subscription, subscriber)
        harness.topics.on_socket_open(harness.commands.append)

    with pytest.raises(BadRequest, match="ended the stream"):
        harness.subscribe(K.HISTORY, "9", {"period": "1d"}, reduced_subscriber())
    harness.subscribe(K.QUOTES, "9", FIELDS, reduced_subscriber())
    harness.subscribe(K.HISTORY, "9", {"period": "1d"}, reduced_subscriber("read-only"))
    harness.clock.advance(600.0)
    harness.subscribe(K.HISTORY, "10", {"period": "1d"}, reduced_subscriber())
