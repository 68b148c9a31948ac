"""Which topic ends IBKR's socket: suspicion, trial, acquittal."""

from __future__ import annotations

import pytest

from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.quarantine import (
    MAX_SUSPICION,
    SUSPECT_WINDOW_S,
    next_to_retry,
    quarantined,
    suspect_recent,
)
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import Subscription
from tests.streaming.readers import RecordingEncoding, WritableSink

NOW = 100.0


def topic(
    *, asked_at: float | None = NOW, answered: bool = False, suspicion: int = 0, is_read: bool = True
) -> Subscription:
    """A topic that somebody wants, as far as suspicion looks at it."""
    made = Subscription(Topic(TopicKind.HISTORY, "8"))
    if is_read:
        made.add(Subscriber(WritableSink(), RecordingEncoding()), Subscribe(made.topic), 0)
    if asked_at is not None:
        made.requested_args, made.requested_at = {}, asked_at
    made.is_answered, made.suspicion = answered, suspicion
    return made


@pytest.mark.parametrize(
    ("made", "suspicion"),
    [
        (topic(), 1),
        (topic(asked_at=NOW - SUSPECT_WINDOW_S), 1),
        (topic(asked_at=NOW - SUSPECT_WINDOW_S - 0.1), 0),
        (topic(answered=True), 0),
        (topic(asked_at=None), 0),
        (topic(suspicion=1), 2),
    ],
)
def test_what_was_asked_for_just_before_and_not_answered_is_suspected(made: Subscription, suspicion: int) -> None:
    """Its answer may be the message that is too long."""
    suspect_recent([made], NOW)

    assert made.suspicion == suspicion


def test_suspects_are_tried_one_at_a_time() -> None:
    """Two at once would not tell which of them it was."""
    first, second = topic(asked_at=None, suspicion=1), topic(asked_at=None, suspicion=1)
    assert next_to_retry([first, second], NOW) is first

    first.requested_args, first.requested_at = {}, NOW

    assert next_to_retry([first, second], NOW) is None


@pytest.mark.parametrize(("answered", "at"), [(True, NOW), (False, NOW - SUSPECT_WINDOW_S - 0.1)])
def test_a_suspect_that_ended_nothing_is_free_again(answered: bool, at: float) -> None:
    """The next one is tried then."""
    tried, waiting = topic(suspicion=2, answered=answered, asked_at=at), topic(asked_at=None, suspicion=1)

    assert next_to_retry([tried, waiting], NOW) is waiting
    assert tried.suspicion == 0


@pytest.mark.parametrize(
    "made",
    [
        topic(asked_at=None),
        topic(asked_at=None, suspicion=MAX_SUSPICION),
        topic(asked_at=None, suspicion=1, is_read=False),
    ],
)
def test_what_is_not_suspected_not_wanted_or_beyond_doubt_is_not_tried(made: Subscription) -> None:
    """Three times is proof enough."""
    assert next_to_retry([made], NOW) is None


def test_what_ended_the_socket_three_times_is_in_quarantine() -> None:
    """Its readers have to be told."""
    guilty = topic(suspicion=MAX_SUSPICION)

    assert quarantined([topic(suspicion=MAX_SUSPICION - 1), guilty]) == [guilty]
