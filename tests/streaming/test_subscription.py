"""One topic: its subscribers, the arguments that IBKR gets, and the events for each group of subscribers."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.streaming.protocol import MAX_FIELDS, Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import MAX_CHART_IDS, Subscription
from tests.streaming.readers import RecordingEncoding, WritableSink

QUOTES, ORDERS = Topic(TopicKind.QUOTES, "8"), Topic(TopicKind.ORDERS)


def new_subscriber(encoding: RecordingEncoding | None = None) -> Subscriber:
    """A subscriber on a connection of its own."""
    return Subscriber(WritableSink(), encoding or RecordingEncoding())


def subscribe(subscription: Subscription, args: dict[str, Any], subscriber: Subscriber | None = None) -> Subscriber:
    """Add a subscriber with these arguments."""
    subscriber = subscriber or new_subscriber()
    subscription.add(subscriber, Subscribe(subscription.topic, args), 0)
    return subscriber


def test_a_topic_is_unused_from_the_time_at_which_its_last_subscriber_is_removed() -> None:
    """IBKR is unsubscribed some seconds after that. Removing a subscriber twice must not move the time."""
    subscription = Subscription(QUOTES)
    one, other = subscribe(subscription, {}), subscribe(subscription, {})

    subscription.drop(one, 5.0)
    subscription.drop(one, 6.0)
    assert subscription.unused_since is None
    subscription.drop(other, 7.0)
    subscription.drop(other, 8.0)
    assert subscription.unused_since == 7.0
    subscribe(subscription, {})

    assert subscription.unused_since is None


def test_the_merged_fields_include_those_of_the_last_request() -> None:
    """Otherwise each subscriber that comes or goes would cause a new request to IBKR."""
    subscription = Subscription(QUOTES)
    subscribe(subscription, {"fields": ["31"]})
    subscribe(subscription, {"fields": ["84"]})
    subscription.requested_args = {"fields": ["7"]}

    assert subscription.merged_args(drop_unused=False)["fields"] == ["7", "31", "84"]
    assert subscription.merged_args(drop_unused=True)["fields"] == ["31", "84"]


def test_the_fields_of_the_last_request_are_left_out_if_they_are_too_many() -> None:
    """IBKR accepts a limited number of fields in one request."""
    subscription = Subscription(QUOTES)
    subscribe(subscription, {"fields": ["9999"]})
    subscription.requested_args = {"fields": [str(number) for number in range(MAX_FIELDS)]}

    assert subscription.merged_args(drop_unused=False)["fields"] == ["9999"]


def test_subscribers_with_the_same_view_and_encoding_share_an_event() -> None:
    """A message is encoded once for all of them."""
    subscription, encoding = Subscription(QUOTES), RecordingEncoding()
    same = [subscribe(subscription, {"fields": ["31"]}, new_subscriber(encoding)) for _ in range(2)]
    other = subscribe(subscription, {"fields": ["84"]}, new_subscriber(encoding))

    events = list(subscription.events_by_group({"topic": "smd+8", "31": "1"}, "e-1"))

    assert [(event.message, group) for event, group in events] == [({"topic": "smd+8", "31": "1"}, same)]
    assert all(other not in group for _, group in events)


def test_only_the_last_row_of_a_message_has_the_id_of_the_event() -> None:
    """A subscriber that got a part of the rows must get all of them again after it reconnects."""
    subscription = Subscription(ORDERS)
    subscribe(subscription, {})
    message = {"topic": "sor", "args": [{"orderId": 1}, {"orderId": 2}]}
    subscription.on_message(message, 1, 0.0)

    ((event, _),) = subscription.events_by_group(message, "e-1")

    assert event.rows == (("", {"orderId": 1}), ("e-1", {"orderId": 2}))


def test_the_rows_of_an_update_are_merged_with_the_earlier_state() -> None:
    """IBKR sends only what changed; subscribers that read rows get complete ones."""
    subscription = Subscription(ORDERS)
    subscription.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}]}, 1, 0.0)
    update = {"topic": "sor", "args": [{"orderId": 1, "filledQuantity": 5}]}
    subscription.on_message(update, 2, 0.0)

    assert subscription.merged_rows(update) == [{"orderId": 1, "status": "Submitted", "filledQuantity": 5}]


def test_an_update_without_a_state_is_filtered_by_the_last_known_state() -> None:
    """IBKR sends the state of an order only if it changed, and a filter needs it."""
    subscription = Subscription(ORDERS)
    submitted = subscribe(subscription, {"filters": ["submitted"]})
    filled = subscribe(subscription, {"filters": ["filled"]})
    subscription.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}]}, 1, 0.0)
    update = {"topic": "sor", "args": [{"orderId": 1, "filledQuantity": 5}]}
    subscription.on_message(update, 2, 0.0)

    events = list(subscription.events_by_group(update, "e-2"))

    assert [group for _, group in events] == [[submitted]]
    assert filled in subscription.subscribers


def test_a_new_subscriber_gets_the_quote_with_its_age() -> None:
    """It must be able to see that the quote is old. Before the first message of IBKR it gets nothing."""
    subscription = Subscription(QUOTES)
    subscriber = subscribe(subscription, {"fields": ["31"]})
    assert subscription.full_event(subscriber, "e-0", 0.0) is None
    subscription.on_message({"topic": "smd+8", "31": "1", "84": "2"}, 1, 10.0)

    event = subscription.full_event(subscriber, "e-1", 12.5)

    assert event is not None
    assert event.message == {"topic": "smd+8", "31": "1", "_age": 2.5}


def test_a_new_subscriber_does_not_get_an_old_list_of_orders_while_a_new_one_is_requested() -> None:
    """The old list may contain orders that have ended meanwhile."""
    subscription = Subscription(ORDERS)
    subscriber = subscribe(subscription, {})
    subscription.on_message({"topic": "sor", "args": [{"orderId": 1}]}, 1, 0.0)
    subscription.topic_snapshot.mark_stale()
    assert subscription.full_event(subscriber, "e-1", 0.0) is not None

    subscription.requested_args = {}

    assert subscription.full_event(subscriber, "e-1", 0.0) is None


def test_a_chart_keeps_its_ids_of_earlier_websockets() -> None:
    """A subscriber ends a chart with the id that it got, perhaps before the feed reconnected. Old ids are dropped."""
    subscription = Subscription(Topic(TopicKind.HISTORY, "8"))

    for number in range(MAX_CHART_IDS + 5):
        subscription.on_message({"topic": "smh+8", "serverId": f"s{number}"}, number, 0.0)

    assert subscription.chart_id == f"s{MAX_CHART_IDS + 4}"
    assert len(subscription.chart_ids) == MAX_CHART_IDS + 1
    assert subscription.chart_ids[0] == "s4"
