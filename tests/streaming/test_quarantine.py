"""Which topic ends the feed: a topic is suspected, requested alone, and cleared or put in quarantine."""

from __future__ import annotations

import pytest

from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.quarantine import (
    MAX_SUSPICION,
    SUSPECT_WINDOW_S,
    CutCounter,
    next_to_retry,
    quarantined,
    suspect_recent,
)
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import Subscription
from tests.streaming.readers import RecordingEncoding, WritableSink

NOW = 100.0


def topic(
    *, requested_at: float | None = NOW, is_answered: bool = False, suspicion: int = 0, has_subscriber: bool = True
) -> Subscription:
    """A topic with the attributes that decide about its suspicion."""
    subscription = Subscription(Topic(TopicKind.HISTORY, "8"))
    if has_subscriber:
        subscription.add(Subscriber(WritableSink(), RecordingEncoding()), Subscribe(subscription.topic), 0)
    if requested_at is not None:
        subscription.requested_args, subscription.requested_at = {}, requested_at
    subscription.is_answered, subscription.suspicion = is_answered, suspicion
    return subscription


@pytest.mark.parametrize(
    ("subscription", "suspicion"),
    [
        (topic(), 1),
        (topic(requested_at=NOW - SUSPECT_WINDOW_S), 1),
        (topic(requested_at=NOW - SUSPECT_WINDOW_S - 0.1), 0),
        (topic(is_answered=True), 0),
        (topic(requested_at=None), 0),
        (topic(suspicion=1), 2),
    ],
)
def test_a_topic_that_was_requested_just_before_the_cut_is_suspected(
    subscription: Subscription, suspicion: int
) -> None:
    """Its answer, which did not arrive, may be the message that is too long for the Gateway."""
    suspect_recent([subscription], NOW)

    assert subscription.suspicion == suspicion


def test_suspected_topics_are_requested_one_at_a_time() -> None:
    """After two at once it would be unknown which of them ended the feed."""
    first, second = topic(requested_at=None, suspicion=1), topic(requested_at=None, suspicion=1)
    assert next_to_retry([first, second], NOW) is first

    first.requested_args, first.requested_at = {}, NOW

    assert next_to_retry([first, second], NOW) is None


@pytest.mark.parametrize(("is_answered", "at"), [(True, NOW), (False, NOW - SUSPECT_WINDOW_S - 0.1)])
def test_a_suspected_topic_that_did_not_end_the_feed_is_cleared(is_answered: bool, at: float) -> None:
    """Only then the next suspected topic may be requested."""
    requested = topic(suspicion=2, is_answered=is_answered, requested_at=at)
    waiting = topic(requested_at=None, suspicion=1)

    assert next_to_retry([requested, waiting], NOW) is waiting
    assert requested.suspicion == 0


@pytest.mark.parametrize(
    "subscription",
    [
        topic(requested_at=None),
        topic(requested_at=None, suspicion=MAX_SUSPICION),
        topic(requested_at=None, suspicion=1, has_subscriber=False),
    ],
)
def test_a_topic_is_not_retried_without_a_suspicion_or_a_subscriber_or_after_three_cuts(
    subscription: Subscription,
) -> None:
    """After three cuts the topic is in quarantine: another request would cut the feed once more."""
    assert next_to_retry([subscription], NOW) is None


def test_a_topic_that_ended_the_feed_three_times_is_in_quarantine() -> None:
    """The hub ends the topic and sends its subscribers an error."""
    harmful = topic(suspicion=MAX_SUSPICION)

    assert quarantined([topic(suspicion=MAX_SUSPICION - 1), harmful]) == [harmful]


# -- keys whose requests end the feed again and again


def chart_of(key_label: str, *, has_reduced_share: bool) -> tuple[Subscription, Subscriber]:
    """A chart that was requested just before the feed was cut, and its subscriber."""
    subscriber = Subscriber(
        WritableSink(), RecordingEncoding(), has_reduced_share=has_reduced_share, key_label=key_label
    )
    subscription = topic(has_subscriber=False)
    subscription.add(subscriber, Subscribe(subscription.topic), 0)
    return subscription, subscriber


def test_a_token_whose_charts_end_the_feed_is_barred_whatever_it_asks_for() -> None:
    """Else it could ask for another contract each time, and interrupt everybody without end."""
    counter = CutCounter()
    barred = []
    for cut in range(3):
        subscription, subscriber = chart_of("token", has_reduced_share=True)
        counter.record([subscription], NOW + cut)
        barred.append(counter.is_barred(subscriber, NOW + cut, 600.0))

    _, other = chart_of("read-only", has_reduced_share=True)
    assert barred == [False, False, True]
    assert not counter.is_barred(other, NOW, 600.0)
    assert counter.is_barred(subscriber, NOW + 599.0, 600.0)
    assert not counter.is_barred(subscriber, NOW + 603.0, 600.0)


def test_the_full_key_is_never_barred() -> None:
    """Its topics are quarantined one by one."""
    counter = CutCounter()
    subscription, subscriber = chart_of("full", has_reduced_share=False)
    for cut in range(9):
        counter.record([subscription], NOW + cut)

    assert not counter.is_barred(subscriber, NOW + 9, 600.0)
