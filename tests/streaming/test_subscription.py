"""One topic: who wants it, what IBKR has to be asked for, and what each group of readers is told."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.streaming.protocol import MAX_FIELDS, Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import MAX_CHART_IDS, Subscription
from tests.streaming.readers import RecordingEncoding, WritableSink

QUOTES, ORDERS = Topic(TopicKind.QUOTES, "8"), Topic(TopicKind.ORDERS)


def reader(encoding: RecordingEncoding | None = None) -> Subscriber:
    """Somebody who reads."""
    return Subscriber(WritableSink(), encoding or RecordingEncoding())


def wanted(subscription: Subscription, args: dict[str, Any], subscriber: Subscriber | None = None) -> Subscriber:
    """Somebody wants it with these arguments."""
    made = subscriber or reader()
    subscription.add(made, Subscribe(subscription.topic, args), 0)
    return made


def test_a_topic_is_unused_from_the_moment_its_last_reader_leaves() -> None:
    """IBKR goes on sending it for a moment; whoever left before changes nothing by leaving again."""
    subscription = Subscription(QUOTES)
    one, other = wanted(subscription, {}), wanted(subscription, {})

    subscription.drop(one, 5.0)
    subscription.drop(one, 6.0)
    assert subscription.unused_since is None
    subscription.drop(other, 7.0)
    subscription.drop(other, 8.0)
    assert subscription.unused_since == 7.0
    wanted(subscription, {})

    assert subscription.unused_since is None


def test_ibkr_is_asked_for_the_fields_of_all_readers_and_those_it_was_asked_for() -> None:
    """Else every coming and going would make us ask again."""
    subscription = Subscription(QUOTES)
    wanted(subscription, {"fields": ["31"]})
    wanted(subscription, {"fields": ["84"]})
    subscription.requested_args = {"fields": ["7"]}

    assert subscription.merged_args(anew=False)["fields"] == ["7", "31", "84"]
    assert subscription.merged_args(anew=True)["fields"] == ["31", "84"]


def test_old_fields_are_forgotten_where_they_would_be_too_many() -> None:
    """IBKR takes so many in one call."""
    subscription = Subscription(QUOTES)
    wanted(subscription, {"fields": ["9999"]})
    subscription.requested_args = {"fields": [str(number) for number in range(MAX_FIELDS)]}

    assert subscription.merged_args(anew=False)["fields"] == ["9999"]


def test_readers_of_one_view_and_encoding_share_an_event() -> None:
    """A message is written once for all of them."""
    subscription, encoding = Subscription(QUOTES), RecordingEncoding()
    same = [wanted(subscription, {"fields": ["31"]}, reader(encoding)) for _ in range(2)]
    other = wanted(subscription, {"fields": ["84"]}, reader(encoding))

    told = list(subscription.events_by_group({"topic": "smd+8", "31": "1"}, "e-1"))

    assert [(event.message, readers) for event, readers in told] == [({"topic": "smd+8", "31": "1"}, same)]
    assert all(other not in readers for _, readers in told)


def test_the_last_row_of_a_message_alone_has_its_number() -> None:
    """A reader who had half of the rows must not take the message for told."""
    subscription = Subscription(ORDERS)
    wanted(subscription, {})
    message = {"topic": "sor", "args": [{"orderId": 1}, {"orderId": 2}]}
    subscription.on_message(message, 1, 0.0)

    ((event, _),) = subscription.events_by_group(message, "e-1")

    assert event.rows == (("", {"orderId": 1}), ("e-1", {"orderId": 2}))


def test_an_update_of_an_order_is_told_with_all_that_is_known_of_it() -> None:
    """In rows; IBKR sends only what changed."""
    subscription = Subscription(ORDERS)
    subscription.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}]}, 1, 0.0)
    update = {"topic": "sor", "args": [{"orderId": 1, "filledQuantity": 5}]}
    subscription.on_message(update, 2, 0.0)

    assert subscription.merged_rows(update) == [{"orderId": 1, "status": "Submitted", "filledQuantity": 5}]


def test_an_order_without_its_state_is_told_to_those_who_want_that_state() -> None:
    """The state is known from before."""
    subscription = Subscription(ORDERS)
    submitted = wanted(subscription, {"filters": ["submitted"]})
    filled = wanted(subscription, {"filters": ["filled"]})
    subscription.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}]}, 1, 0.0)
    update = {"topic": "sor", "args": [{"orderId": 1, "filledQuantity": 5}]}
    subscription.on_message(update, 2, 0.0)

    told = list(subscription.events_by_group(update, "e-2"))

    assert [readers for _, readers in told] == [[submitted]]
    assert filled in subscription.subscribers


def test_a_newcomer_is_told_quotes_with_their_age() -> None:
    """And nothing where nothing is known."""
    subscription = Subscription(QUOTES)
    newcomer = wanted(subscription, {"fields": ["31"]})
    assert subscription.full_event(newcomer, "e-0", 0.0) is None
    subscription.on_message({"topic": "smd+8", "31": "1", "84": "2"}, 1, 10.0)

    event = subscription.full_event(newcomer, "e-1", 12.5)

    assert event is not None
    assert event.message == {"topic": "smd+8", "31": "1", "_age": 2.5}


def test_a_newcomer_is_not_told_an_old_list_of_orders_while_the_new_one_comes() -> None:
    """An order that ended meanwhile would stand in it."""
    subscription = Subscription(ORDERS)
    newcomer = wanted(subscription, {})
    subscription.on_message({"topic": "sor", "args": [{"orderId": 1}]}, 1, 0.0)
    subscription.topic_snapshot.mark_stale()
    assert subscription.full_event(newcomer, "e-1", 0.0) is not None

    subscription.requested_args = {}

    assert subscription.full_event(newcomer, "e-1", 0.0) is None


def test_a_chart_is_known_by_the_ids_of_its_last_sockets() -> None:
    """A reader ends it by the id it was told, perhaps on a socket before; old ones are forgotten."""
    subscription = Subscription(Topic(TopicKind.HISTORY, "8"))

    for number in range(MAX_CHART_IDS + 5):
        subscription.on_message({"topic": "smh+8", "serverId": f"s{number}"}, number, 0.0)

    assert subscription.chart_id == f"s{MAX_CHART_IDS + 4}"
    assert len(subscription.chart_ids) == MAX_CHART_IDS + 1
    assert subscription.chart_ids[0] == "s4"
