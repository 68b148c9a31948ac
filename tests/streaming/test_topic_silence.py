"""When a topic counts as silent, when it is requested or read once more, and when nobody knows what it should show."""

from __future__ import annotations

import pytest

from ibkr_bridge.streaming.protocol import SYNTAX, TopicKind
from ibkr_bridge.streaming.topic_silence import TopicSilence

REQUESTED_AT = 500.0


def requested(kind: TopicKind = TopicKind.ORDERS) -> TopicSilence:
    """A topic that was requested, and not answered."""
    silence = TopicSilence(kind)
    silence.on_request(REQUESTED_AT)
    return silence


@pytest.mark.parametrize("kind", list(SYNTAX))
def test_every_kind_of_topic_has_a_deadline(kind: TopicKind) -> None:
    """A chart may take longer, since IBKR first connects to its history farm."""
    silence = requested(kind)

    assert not silence.is_overdue(REQUESTED_AT + 5)
    assert silence.is_overdue(REQUESTED_AT + 31)


def test_a_topic_that_was_not_requested_is_never_overdue() -> None:
    """The websocket is not connected then, and its subscribers know that already."""
    assert not TopicSilence(TopicKind.ORDERS).is_overdue(1e9)


def test_only_the_first_answer_has_a_deadline() -> None:
    """After it hours may pass in which nothing happens; a request for more fields starts no new deadline."""
    silence = requested()
    silence.on_answer()
    silence.on_request(REQUESTED_AT + 60)

    assert not silence.is_overdue(1e9)


def test_repeated_requests_do_not_move_the_deadline() -> None:
    """Callers that come and go would otherwise keep a silent topic from being reported."""
    silence = requested()
    silence.on_request(REQUESTED_AT + 9)

    assert silence.is_overdue(REQUESTED_AT + 10)


def test_a_silent_topic_is_requested_again_twice_a_minute() -> None:
    """IBKR may have lost the request."""
    silence = requested()

    assert not silence.is_repeat_due(REQUESTED_AT + 29, sent_at=REQUESTED_AT)
    assert silence.is_repeat_due(REQUESTED_AT + 30, sent_at=REQUESTED_AT)
    assert not requested(TopicKind.HISTORY).is_repeat_due(1e9, sent_at=REQUESTED_AT)


def test_without_a_second_source_a_silent_topic_is_stale() -> None:
    """Silence would otherwise look like a market without trades."""
    silence = requested(TopicKind.QUOTES)

    assert not silence.is_stale(REQUESTED_AT + 9, has_second_source=False)
    assert silence.is_stale(REQUESTED_AT + 10, has_second_source=False)


def test_rows_of_the_second_source_count_while_they_are_recent() -> None:
    """One read may fail; after half a minute without one, nobody knows what has happened."""
    silence = requested()
    silence.on_read(REQUESTED_AT + 11, has_answer=True)
    silence.on_read(REQUESTED_AT + 21, has_answer=False)

    assert not silence.is_stale(REQUESTED_AT + 40, has_second_source=True)
    assert silence.is_stale(REQUESTED_AT + 41, has_second_source=True)


def test_a_first_read_that_fails_makes_the_topic_stale_at_once() -> None:
    """Nothing at all is known."""
    silence = requested()
    silence.on_read(REQUESTED_AT + 11, has_answer=False)

    assert silence.is_stale(REQUESTED_AT + 11, has_second_source=True)


def test_a_first_read_that_hangs_makes_the_topic_stale_too() -> None:
    """Its subscribers must not wait for it longer than half a minute."""
    assert requested().is_stale(REQUESTED_AT + 30, has_second_source=True)


def test_reads_keep_a_distance() -> None:
    """IBKR allows one in five seconds, and callers want some of them."""
    silence = requested()
    at = REQUESTED_AT + 10
    assert silence.is_read_due(at)

    silence.read_started_at = at

    assert not silence.is_read_due(at + 9)
    assert silence.is_read_due(at + 10)
