"""The hub: which subscriber gets which message, whatever IBKR sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibkr_bridge.api.stream_encoding import SSE_ENCODING, WEBSOCKET_ENCODING
from ibkr_bridge.errors import BadRequest, Busy, MarketDataLimit
from ibkr_bridge.streaming import hub as hubs
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Heartbeat, Subscribe, Topic, TopicKind, Unsubscribe, read_command
from ibkr_bridge.streaming.subscriber import StreamEvent, Subscriber
from ibkr_bridge.streaming.upstream_subscriptions import QUARANTINE_S, RENEW_AFTER_S, UNUSED_GRACE_S
from tests.clocks import ManualClock
from tests.streaming.readers import RecordingEncoding, WritableSink


class EventRecorder:
    """An encoding that records the events it encodes."""

    def __init__(self, by_rows: bool) -> None:
        self.events: list[StreamEvent] = []
        self._encoding = SSE_ENCODING if by_rows else WEBSOCKET_ENCODING

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding`."""
        data = self._encoding.encode(event)
        if data:
            self.events.append(event)
        return data


class HubHarness:
    """A hub, the commands that it sends to IBKR, and subscribers that record what they get."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        self.commands: list[str] = []
        self.recorders: dict[Subscriber, EventRecorder] = {}

    def connect_feed(self) -> None:
        """Mark the feed as connected."""
        self.hub.mark_fresh(self.commands.append, "somebody")

    def add_subscriber(self, *commands: str, last: str | None = None, rows: bool = False) -> Subscriber:
        """Add a subscriber that sends these commands."""
        recorder = EventRecorder(rows)
        subscriber = Subscriber(WritableSink(), recorder)
        self.recorders[subscriber] = recorder
        self.hub.add_subscriber(subscriber)
        for command in commands:
            self.send(subscriber, command, last)
        return subscriber

    def send(self, subscriber: Subscriber, command: str, last: str | None = None) -> None:
        """Send the command of a subscriber to the hub."""
        parsed = read_command(command)
        assert not isinstance(parsed, Heartbeat)
        if isinstance(parsed, Subscribe):
            self.hub.subscribe(subscriber, parsed, last)
        else:
            assert isinstance(parsed, Unsubscribe)
            self.hub.unsubscribe(subscriber, parsed)

    def take_messages(self, subscriber: Subscriber) -> list[dict[str, Any]]:
        """The messages of a subscriber since the last call, without named events."""
        events, self.recorders[subscriber].events = self.recorders[subscriber].events, []
        return [event.message for event in events if not event.name]

    def take_commands(self) -> list[str]:
        """The commands that IBKR got since the last call."""
        commands, self.commands[:] = list(self.commands), []
        return commands

    def advance(self, seconds: float) -> None:
        """Move the clock and run the housekeeping once."""
        self.clock.advance(seconds)
        self.hub.upstream_subscriptions.housekeep()


@pytest.fixture
async def harness() -> HubHarness:
    """A hub whose feed is connected."""
    harness = HubHarness()
    harness.connect_feed()
    return harness


KINDS = (
    *('smd+7+{"fields":["31"]}', "sor+{}", "str+{}", "spl+{}", 'ssd+DU1+{"keys":["a"]}', 'sld+DU1+{"keys":["a"]}'),
    *('smh+7+{"period":"1d"}', "sbd+DU1+7", 'sor+{"filters":["filled"]}'),
)
NAMES = [
    "smd+7",
    "sor",
    "str",
    "spl",
    "ssd+DU1",
    "sld+DU1",
    "smh+7",
    "sbd+DU1+7",
    "act",
    "sts",
    "ntf",
    "error",
    "x",
    "",
]
MEMBERS = ["topic", "args", "result", "data", "key", "conid", "conidEx", "orderId", "execution_id", "serverId", "error"]
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from(NAMES)
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MEMBERS, "31", "status"]), inner),
    max_leaves=12,
)
MESSAGE = st.dictionaries(st.sampled_from([*MEMBERS, "31", "_updated", "trade_time_r"]), TREE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=MESSAGE, topic=st.sampled_from(NAMES) | TREE)
async def test_any_message_of_ibkr_is_sent_on_or_ignored(message: dict[str, Any], topic: Any) -> None:
    """With subscriptions of every kind, in both encodings."""
    harness = HubHarness()
    harness.connect_feed()
    subscribers = [
        harness.add_subscriber(*KINDS[:-1]),
        harness.add_subscriber(*KINDS[:-1], rows=True),
        harness.add_subscriber(KINDS[-1]),
    ]

    harness.hub.on_message({**message, "topic": topic})
    harness.add_subscriber(*KINDS[:-1], rows=True)

    assert all(subscriber.closed_reason is None for subscriber in subscribers)


class BrokenEncoding:
    """An encoding with a bug."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding`."""
        raise LookupError(event.name)


@pytest.mark.parametrize("broken_first", [True, False])
async def test_a_bug_of_one_encoding_disturbs_no_other_readers(harness: HubHarness, broken_first: bool) -> None:
    """The feed publishes the error."""
    harness.connect_feed()
    commands = ('smd+1+{"fields":["31"]}',)
    good = None if broken_first else harness.add_subscriber(*commands)
    broken = Subscriber(WritableSink(), BrokenEncoding())
    harness.hub.add_subscriber(broken)
    harness.send(broken, commands[0])
    good = good or harness.add_subscriber(*commands)
    harness.take_messages(good)

    with pytest.raises(LookupError):
        harness.hub.on_message({"topic": "smd+1", "conid": 1, "31": "7"})

    assert [message["31"] for message in harness.take_messages(good)] == ["7"]


async def test_fields_of_all_subscribers_are_requested_together(harness: HubHarness) -> None:
    """A field that nobody needs any more is requested until the renewal, so that changes cause no commands."""
    one = harness.add_subscriber('smd+7+{"fields":["31"]}')
    other = harness.add_subscriber('smd+7+{"fields":["84"]}')
    for _ in range(50):
        harness.send(one, 'smd+7+{"fields":["84"]}')
        harness.send(one, 'smd+7+{"fields":["31"]}')
    commands = harness.take_commands()
    harness.send(one, "umd+7+{}")
    harness.hub.on_message({"topic": "smd+7", "conid": 7, "31": "1", "84": "2"})
    harness.advance(RENEW_AFTER_S)

    assert commands == ['smd+7+{"fields":["31"]}', 'smd+7+{"fields":["31","84"]}']
    assert harness.take_messages(other) == [{"topic": "smd+7", "conid": 7, "84": "2"}]
    assert harness.take_commands() == ['smd+7+{"fields":["84"]}']


async def test_an_outdated_field_is_not_sent(harness: HubHarness) -> None:
    """IBKR has not been asked for it in between."""
    first = harness.add_subscriber('smd+7+{"fields":["31"]}')
    second = harness.add_subscriber('smd+7+{"fields":["86"]}')
    harness.hub.on_message({"topic": "smd+7", "conid": 7, "31": "1", "86": "2"})
    harness.hub.remove_subscriber(second)
    harness.advance(RENEW_AFTER_S)
    harness.hub.on_message({"topic": "smd+7", "conid": 7, "31": "3"})

    new_subscriber = harness.add_subscriber('smd+7+{"fields":["31","86"]}')

    assert harness.take_messages(new_subscriber) == [{"topic": "smd+7", "conid": 7, "31": "3", "_age": 0.0}]
    assert harness.take_messages(first)


async def test_a_contract_has_fifty_fields_for_all_its_subscribers(harness: HubHarness) -> None:
    """IBKR would drop the others without an error."""
    first = harness.add_subscriber("smd+7+" + json.dumps({"fields": [str(number) for number in range(40)]}))
    with pytest.raises(MarketDataLimit):
        harness.add_subscriber("smd+7+" + json.dumps({"fields": [str(number) for number in range(30, 60)]}))
    harness.hub.remove_subscriber(first)
    harness.add_subscriber("smd+7+" + json.dumps({"fields": [str(number) for number in range(30, 60)]}))

    assert all(len(json.loads(frame.split("+", 2)[2])["fields"]) <= 50 for frame in harness.take_commands())


async def test_a_subscription_ends_after_a_grace_period(harness: HubHarness) -> None:
    """A subscriber that comes back in time continues it."""
    subscriber = harness.add_subscriber("sor+{}")
    harness.send(subscriber, "uor+{}")
    harness.advance(UNUSED_GRACE_S - 1)
    harness.send(subscriber, "sor+{}")
    harness.advance(UNUSED_GRACE_S)
    continued = harness.take_commands()
    harness.send(subscriber, "uor+{}")
    harness.advance(UNUSED_GRACE_S)

    assert (continued, harness.take_commands()) == (["sor+{}"], ["uor+{}"])


async def test_a_reopened_feed_requests_what_is_subscribed(harness: HubHarness) -> None:
    """It does not request what was unsubscribed in between."""
    subscriber = harness.add_subscriber("sor+{}", "spl+{}", 'smd+7+{"fields":["31"]}')
    harness.hub.mark_stale("stream_disconnected")
    harness.send(subscriber, "upl+{}")
    harness.add_subscriber('smd+8+{"fields":["31"]}')
    harness.take_commands()
    harness.connect_feed()

    assert sorted(harness.take_commands()) == ['smd+7+{"fields":["31"]}', 'smd+8+{"fields":["31"]}', "sor+{}"]


async def test_market_data_lines_are_released_when_the_feed_is_connected(harness: HubHarness) -> None:
    """Without the feed IBKR would not know of the release, and the counts would differ."""
    harness.hub.upstream_subscriptions.line_usage.opened_by_call(
        "me", [str(number) for number in range(100)], frozenset()
    )
    harness.hub.mark_stale("stream_disconnected")
    harness.add_subscriber('smd+7000+{"fields":["31"]}')
    harness.connect_feed()

    assert harness.take_commands() == ["umd+0+{}", 'smd+7000+{"fields":["31"]}']


async def test_quotes_without_subscribers_are_released_for_snapshots(harness: HubHarness) -> None:
    """At once, before the grace period ends."""
    subscribers = [harness.add_subscriber(f"smd+{number}+{{}}") for number in range(100)]
    for subscriber in subscribers:
        harness.hub.remove_subscriber(subscriber)
    harness.take_commands()
    harness.hub.upstream_subscriptions.free_market_data_lines(["7000"])
    harness.hub.upstream_subscriptions.line_usage.opened_by_call(
        "me", ["7000"], harness.hub.upstream_subscriptions.streamed_conids
    )

    assert harness.take_commands() == ["umd+0+{}"]


# -- trades


def trades(*names: str) -> dict[str, Any]:
    """A message of trades."""
    return {"topic": "str", "args": [{"execution_id": name, "trade_time_r": 1_781_712_000_000} for name in names]}


async def test_a_trade_is_sent_once(harness: HubHarness) -> None:
    """Whatever other subscribers request, and after an outage too."""
    first = harness.add_subscriber('str+{"days":1}')
    harness.hub.on_message(trades("1", "2"))
    harness.add_subscriber('str+{"days":7}')
    harness.hub.on_message(trades("1", "2", "3"))
    harness.hub.mark_stale("stream_disconnected")
    harness.connect_feed()
    harness.hub.on_message(trades("1", "2", "3"))

    sent = [row["execution_id"] for message in harness.take_messages(first) for row in message["args"]]
    assert sent == ["1", "2", "3"]


async def test_a_subscriber_to_new_trades_gets_no_others(harness: HubHarness) -> None:
    """Although IBKR sends older ones for another subscriber."""
    only_new = harness.add_subscriber('str+{"realtimeUpdatesOnly":true}')
    harness.add_subscriber('str+{"days":7}')
    late = {"execution_id": "4", "trade_time_r": harness.clock.utc().timestamp() * 1000 + 5}
    harness.hub.on_message({"topic": "str", "args": [{"execution_id": "1", "trade_time_r": 1_781_000_000_000}]})
    harness.hub.on_message({"topic": "str", "args": [late]})

    assert harness.take_messages(only_new) == [{"topic": "str", "args": [late]}]


async def test_no_trade_is_sent_twice_after_several_outages(harness: HubHarness) -> None:
    """Even if the list comes in parts and the feed is lost in between."""
    subscriber = harness.add_subscriber("str+{}")
    harness.hub.on_message(trades("1", "2", "3"))
    for names in (["4"], ["1"], ["1", "2", "3", "4", "5"]):
        harness.hub.mark_stale("stream_disconnected")
        harness.connect_feed()
        harness.hub.on_message(trades(*names))

    assert [row["execution_id"] for message in harness.take_messages(subscriber) for row in message["args"]] == [
        "1",
        "2",
        "3",
        "4",
        "5",
    ]


async def test_the_trades_of_a_long_day_are_sent_once(harness: HubHarness) -> None:
    """They are more than a topic snapshot holds."""
    subscriber = harness.add_subscriber("str+{}")
    names = [str(number) for number in range(1500)]
    for command in ("str+{}", 'str+{"days":7}'):
        harness.add_subscriber(command)
        for start in range(0, 1500, 100):
            harness.hub.on_message(trades(*names[start : start + 100]))

    assert [row["execution_id"] for message in harness.take_messages(subscriber) for row in message["args"]] == names


async def test_a_subscriber_that_returns_after_all_had_left_gets_what_is_new(harness: HubHarness) -> None:
    """With its last id: a page that was closed for a minute gets no event twice."""
    subscriber = harness.add_subscriber("str+{}", rows=True)
    harness.hub.on_message(trades("1", "2"))
    last = harness.hub.replay_buffer.last_id
    harness.hub.remove_subscriber(subscriber)
    harness.advance(60)

    returned = harness.add_subscriber("str+{}", last=last, rows=True)
    new_subscriber = harness.add_subscriber("str+{}")
    harness.hub.on_message(trades("1", "2", "3"))

    sent = [row["execution_id"] for event in harness.recorders[returned].events for _, row in event.rows]
    assert sent == ["3"]
    assert [row["execution_id"] for message in harness.take_messages(new_subscriber) for row in message["args"]] == [
        "1",
        "2",
        "3",
    ]


async def test_outdated_orders_are_not_sent_as_current_ones(harness: HubHarness) -> None:
    """If IBKR will send the complete list. While the feed is lost, the known orders are sent."""
    subscriber = harness.add_subscriber("sor+{}")
    harness.hub.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}]})
    harness.hub.remove_subscriber(subscriber)
    harness.advance(60)

    new_subscriber = harness.add_subscriber("sor+{}")
    at_once = harness.take_messages(new_subscriber)
    harness.hub.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}]})
    harness.hub.mark_stale("stream_disconnected")

    assert at_once == []
    assert [row["status"] for message in harness.take_messages(new_subscriber) for row in message["args"]] == ["Filled"]
    assert [
        row["status"] for message in harness.take_messages(harness.add_subscriber("sor+{}")) for row in message["args"]
    ] == ["Filled"]


# -- market data lines and quarantine


async def test_market_data_lines_are_released_after_a_reconnect(harness: HubHarness) -> None:
    """A line that was unsubscribed without the feed is released later, but not in another session."""
    for session_is_lost in (False, True):
        subscriber = harness.add_subscriber('smd+7+{"fields":["31"]}', 'smd+8+{"fields":["31"]}')
        harness.hub.on_socket_closed(was_cut=False)
        harness.send(subscriber, "umd+7+{}")
        harness.advance(UNUSED_GRACE_S)
        harness.hub.remove_subscriber(subscriber)
        if session_is_lost:
            harness.hub.upstream_subscriptions.reset_session()
        harness.take_commands()
        harness.connect_feed()

        assert harness.take_commands() == ([] if session_is_lost else ["umd+7+{}", "umd+8+{}"])


async def test_a_contract_at_an_exchange_continues_without_the_plain_contract(harness: HubHarness) -> None:
    """IBKR may end both together, so it is requested again; each message goes to the topic it names."""
    plain, exchange = harness.add_subscriber("smd+7+{}"), harness.add_subscriber("smd+7@NYSE+{}")
    harness.hub.on_message({"topic": "smd+7", "conidEx": "7@NYSE", "conid": 7, "31": "1"})
    counts = len(harness.take_messages(plain)), len(harness.take_messages(exchange))
    harness.hub.remove_subscriber(plain)
    harness.take_commands()
    harness.advance(UNUSED_GRACE_S)

    assert counts == (0, 1)
    assert harness.take_commands() == ["umd+7+{}", 'smd+7@NYSE+{"fields":[]}']


async def test_a_subscription_that_ends_the_feed_each_time_is_found(harness: HubHarness) -> None:
    """The others continue, and its subscriber gets a `problem`."""
    good, bad = (
        harness.add_subscriber("sor+{}", 'smd+7+{"fields":["31"]}'),
        harness.add_subscriber('smh+7+{"period":"1w"}'),
    )
    commands, trials = [], []
    for _ in range(3):
        harness.take_commands()
        harness.hub.on_message({"topic": "sor", "args": []})
        harness.hub.on_message({"topic": "smd+7", "conid": 7, "31": "1"})
        harness.clock.advance(0.5)
        harness.hub.on_socket_closed(was_cut=True)
        harness.connect_feed()
        commands.append(harness.take_commands())
        harness.clock.advance(1.0)
        harness.hub.housekeep()
        trials.append(harness.take_commands())

    assert commands == [["sor+{}", 'smd+7+{"fields":["31"]}']] * 3
    assert trials == [['smh+7+{"period":"1w"}'], ['smh+7+{"period":"1w"}'], []]
    (problem,) = (event for event in harness.recorders[bad].events if event.name == "problem")
    assert problem.message["code"] == "subscription_quarantined"
    assert not [event for event in harness.recorders[good].events if event.name == "problem"]
    with pytest.raises(BadRequest):
        harness.send(bad, 'smh+7+{"period":"1w"}')
    harness.clock.advance(QUARANTINE_S)
    harness.send(bad, 'smh+7+{"period":"1d"}')


async def test_a_suspect_subscription_is_soon_requested_again(harness: HubHarness) -> None:
    """The Gateway may have restarted at that moment, so one cut proves nothing."""
    subscriber = harness.add_subscriber('smd+999+{"fields":["31"]}')
    harness.hub.on_socket_closed(was_cut=True)
    harness.connect_feed()
    harness.take_commands()
    for _ in range(6):
        harness.clock.advance(1.0)
        harness.hub.housekeep()
    commands = harness.take_commands()
    harness.hub.on_socket_closed(was_cut=True)
    harness.connect_feed()

    assert commands == ['smd+999+{"fields":["31"]}'] == harness.take_commands()
    assert subscriber.closed_reason is None


# -- charts


async def test_another_period_is_another_chart(harness: HubHarness) -> None:
    """The former chart is ended, and its data are not sent for the new one."""
    subscriber = harness.add_subscriber('smh+7+{"period":"1d"}')
    harness.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d", "data": [1]})
    harness.take_messages(subscriber), harness.take_commands()

    harness.send(subscriber, 'smh+7+{"period":"1w"}')
    between = harness.take_messages(subscriber)
    harness.hub.on_message({"topic": "smh+7", "serverId": "2", "timePeriod": "1w", "data": [2]})

    assert harness.take_commands() == ["umh+1", 'smh+7+{"period":"1w"}']
    assert (between, [message["data"] for message in harness.take_messages(subscriber)]) == ([], [[2]])


async def test_a_chart_with_other_subscribers_is_not_replaced(harness: HubHarness) -> None:
    """In its messages IBKR names charts by their contract only."""
    harness.add_subscriber('smh+7+{"period":"1d"}')
    with pytest.raises(MarketDataLimit):
        harness.add_subscriber('smh+7+{"period":"1w"}')


async def test_a_second_chart_of_a_contract_is_refused_without_the_feed_too(harness: HubHarness) -> None:
    """Neither was requested yet, but only one of them can be."""
    harness.hub.mark_stale("stream_disconnected")
    harness.add_subscriber('smh+7+{"period":"1d"}')
    with pytest.raises(MarketDataLimit):
        harness.add_subscriber('smh+7+{"period":"1w"}')


async def test_a_new_subscriber_gets_the_complete_chart(harness: HubHarness) -> None:
    """An update has the id of the chart too, but is only a part of it."""
    harness.add_subscriber('smh+7+{"period":"1d"}')
    harness.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d", "data": [1, 2]})
    harness.hub.on_message({"topic": "smh+7", "serverId": "1", "data": [3]})

    new_subscriber = harness.add_subscriber('smh+7+{"period":"1d"}')

    assert [message["data"] for message in harness.take_messages(new_subscriber)] == [[1, 2]]


async def test_a_chart_is_ended_by_any_id_its_subscriber_knows(harness: HubHarness) -> None:
    """The id of the former socket counts too."""
    subscriber = harness.add_subscriber('smh+7+{"period":"1d"}')
    harness.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d"})
    harness.hub.mark_stale("stream_disconnected")
    harness.connect_feed()
    harness.hub.on_message({"topic": "smh+7", "serverId": "2", "timePeriod": "1d"})
    harness.take_commands()

    harness.send(subscriber, "umh+1")
    harness.advance(UNUSED_GRACE_S)

    assert harness.take_commands() == ["umh+2"]


async def test_a_chart_that_comes_after_its_subscriber_left_is_ended(harness: HubHarness) -> None:
    """Its id was unknown until then; IBKR allows five charts at a time."""
    subscriber = harness.add_subscriber('smh+7+{"period":"1d"}')
    harness.hub.remove_subscriber(subscriber)
    harness.advance(UNUSED_GRACE_S)
    harness.take_commands()

    harness.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d"})

    assert harness.take_commands() == ["umh+1"]


async def test_a_refused_chart_is_not_counted(harness: HubHarness) -> None:
    """Only its subscriber gets the error."""
    subscriber, other = harness.add_subscriber('smh+7+{"period":"1d"}'), harness.add_subscriber("sor+{}")
    harness.hub.on_message({"topic": "smh+7", "error": "no such chart"})

    (event,) = (event for event in harness.recorders[subscriber].events if event.name)
    assert (event.name, event.message["error"]) == ("problem", "no such chart")
    assert harness.take_messages(other) == []
    assert harness.hub.counts["topics"] == 1


# -- messages to all subscribers


async def test_a_new_subscriber_gets_the_accounts_of_the_current_session(harness: HubHarness) -> None:
    """Not those from before the feed was lost."""
    harness.hub.on_message({"topic": "act", "args": {"accounts": ["DU1"]}})
    with_it = [message.get("topic") for message in harness.hub.greeting()]
    harness.hub.mark_stale("signed_out")
    without = harness.hub.greeting()
    harness.connect_feed()

    assert with_it == ["system", "act", "sts"]
    assert without == [{"message": "waiting for session"}]
    assert [message.get("topic") for message in harness.hub.greeting()] == ["system", "sts"]


async def test_a_replay_of_maximal_length_disconnects_nobody(harness: HubHarness) -> None:
    """A thousand rows are one event."""
    harness.add_subscriber("sor+{}")
    start = harness.hub.replay_buffer.last_id
    for number in range(1000):
        harness.hub.on_message({"topic": "sor", "args": [{"orderId": number}]})

    subscriber = harness.add_subscriber("sor+{}", last=start, rows=True)

    assert subscriber.closed_reason is None
    assert sum(len(event.rows) for event in harness.recorders[subscriber].events) == 1000


async def test_the_orders_of_a_day_fill_the_replay_buffer_once(harness: HubHarness) -> None:
    """However often the feed reconnects and IBKR sends all of them."""
    subscriber = harness.add_subscriber("sor+{}")
    for _ in range(5):
        harness.hub.mark_stale("stream_disconnected")
        harness.connect_feed()
        harness.hub.on_message({"topic": "sor", "args": [{"orderId": number} for number in range(300)]})

    assert (
        len(
            harness.hub.replay_buffer.since(
                TopicKind.ORDERS, f"{harness.hub.replay_buffer.last_id.rpartition('-')[0]}-0"
            )
            or ()
        )
        == 300
    )
    assert len(harness.take_messages(subscriber)) == 5  # the complete list follows each `fresh`


async def test_updates_are_filtered_by_the_requested_states(harness: HubHarness) -> None:
    """Although an update has the state only if it changed."""
    working = harness.add_subscriber('sor+{"filters":["submitted"]}')
    harness.hub.on_message(
        {"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}, {"orderId": 2, "status": "Filled"}]}
    )
    harness.hub.on_message({"topic": "sor", "args": [{"orderId": 1, "price": "5"}, {"orderId": 2, "price": "6"}]})

    assert [[row["orderId"] for row in message["args"]] for message in harness.take_messages(working)] == [[1], [1]]


async def test_a_subscriber_that_reads_again_gets_the_latest_quote(harness: HubHarness) -> None:
    """Orders come first and fill the connection again; the latest quote is not lost."""
    subscriber = harness.add_subscriber("sor+{}", 'smd+7+{"fields":["31"]}')
    sink = subscriber.sink
    harness.hub._flush_all()
    sink.is_writable = False  # type: ignore[misc]
    harness.hub.on_message({"topic": "sor", "args": [{"orderId": 1}]})
    harness.hub._flush_all()
    harness.hub.on_message({"topic": "smd+7", "conid": 7, "31": "newest"})
    harness.hub._flush_all()
    sink.is_writable, written = True, []  # type: ignore[misc]

    def write(data: bytes) -> None:
        written.append(data)
        sink.is_writable = len(written) != 1  # type: ignore[misc]  # the orders fill it

    sink.write = write  # type: ignore[method-assign]
    harness.hub._flush_all()
    harness.hub._flush_all()
    sink.is_writable = True  # type: ignore[misc]
    harness.hub._flush_all()

    assert b"newest" not in written[0] and b"newest" in written[1]
    assert subscriber.is_lagging is False


async def test_the_number_of_subscribers_is_limited(harness: HubHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams do not end, so they could take every connection."""
    monkeypatch.setattr(hubs, "MAX_SUBSCRIBERS", 2)
    harness.add_subscriber()
    harness.hub.check_capacity()
    harness.add_subscriber()
    with pytest.raises(Busy):
        harness.hub.check_capacity()


@pytest.fixture(autouse=True)
def no_rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is flushed; the recorders have the events."""
    monkeypatch.setattr("ibkr_bridge.streaming.subscriber.FlushScheduler.schedule", lambda _: None)
    yield


class RevokedStream:
    """A subscriber whose credential was revoked; `failure` is raised when it is closed."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.is_closed = failure, False

    def revocation_check(self) -> str:
        """See `Subscriber`."""
        return "key_rotated"

    def close(self, _: str) -> None:
        """See `Subscriber`."""
        self.is_closed = True
        if self.failure is not None:
            raise self.failure


def test_a_revoked_stream_is_closed_even_if_another_cannot_be() -> None:
    """Else its reader would read on with a key that was replaced."""
    hub, broken, other = Hub(ManualClock()), RevokedStream(RuntimeError("broken")), RevokedStream()
    hub._subscribers.update({broken: None, other: None})  # type: ignore[dict-item]  # as far as `close_invalid` needs

    with pytest.raises(ExceptionGroup):
        hub.close_invalid()

    assert other.is_closed


# -- shares, and quotes for others


def test_streams_with_a_reduced_share_leave_a_quarter_of_the_places() -> None:
    """Of 256 streams they take 192 at most."""
    harness = HubHarness()
    for _ in range(192):
        harness.hub.add_subscriber(Subscriber(WritableSink(), EventRecorder(False), has_reduced_share=True))

    with pytest.raises(Busy):
        harness.hub.check_capacity(has_reduced_share=True)
    harness.hub.check_capacity()
    for _ in range(64):
        harness.add_subscriber()
    with pytest.raises(Busy):
        harness.hub.check_capacity()


def test_a_streamed_quote_can_be_read_if_it_is_fresh_and_has_all_fields() -> None:
    """The value of an order then needs no call and no market data line."""
    harness = HubHarness()
    harness.connect_feed()
    harness.add_subscriber('smd+8+{"fields":["31","84"]}')
    before = harness.hub.quote_row("8", ("31",))
    harness.hub.on_message({"topic": "smd+8", "conid": 8, "31": "10", "84": "9", "_updated": 5})

    row = harness.hub.quote_row("8", ("31", "84"))
    lacking = harness.hub.quote_row("8", ("31", "86"))
    other = harness.hub.quote_row("9", ("31",))
    harness.hub.mark_stale("stream_timeout")

    assert (before, lacking, other, harness.hub.quote_row("8", ("31",))) == (None, None, None, None)
    assert row is not None
    assert (row["31"], row["84"], row["_updated"]) == ("10", "9", 5)


def test_a_hub_is_in_use_until_its_last_topic_has_ended() -> None:
    """Then nothing has to be kept in order, and its loops rest."""
    clock = ManualClock()
    hub, subscriber = Hub(clock), Subscriber(WritableSink(), RecordingEncoding())
    assert not hub.in_use.is_set()

    hub.add_subscriber(subscriber)
    hub.subscribe(subscriber, Subscribe(Topic(TopicKind.ORDERS)))
    hub.housekeep()
    assert hub.in_use.is_set()
    hub.remove_subscriber(subscriber)
    hub.housekeep()
    assert hub.in_use.is_set(), "the topic is kept for some seconds"
    clock.advance(UNUSED_GRACE_S)
    hub.housekeep()

    assert not hub.in_use.is_set()


def test_housekeeping_closes_streams_above_the_budget_of_all() -> None:
    """Each of them is within its own limit; the one with the most unread bytes is closed."""
    hub, sinks = Hub(ManualClock()), [WritableSink() for _ in range(17)]
    for number, sink in enumerate(sinks):
        sink.unsent_bytes = 4 * 1024 * 1024 - number
        hub.add_subscriber(Subscriber(sink, RecordingEncoding()))

    hub.housekeep()

    assert [sink.reason for sink in sinks] == ["slow_client"] + [""] * 16
