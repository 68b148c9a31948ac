"""The events that a subscriber gets again when it reconnects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.streaming.protocol import TopicKind
from ibkr_bridge.streaming.replay_buffer import REPLAYED_KINDS, ReplayBuffer


def filled_buffer(*kinds: TopicKind, max_rows: int = 100) -> ReplayBuffer:
    """A buffer after one event of each of these kinds; each row carries the number of its event."""
    buffer = ReplayBuffer("run", max_rows)
    for kind in kinds:
        buffer.next_id()
        if kind in REPLAYED_KINDS:
            buffer.append(kind, [{"n": buffer.number}])
    return buffer


def test_the_rows_after_an_id_are_replayed() -> None:
    """A subscriber gets the rows of its kind with the ids that they had, so that it can reconnect once more."""
    buffer = filled_buffer(TopicKind.ORDERS, TopicKind.TRADES, TopicKind.ORDERS, TopicKind.QUOTES, TopicKind.ORDERS)

    assert buffer.since(TopicKind.ORDERS, "run-1") == [("run-3", {"n": 3}), ("run-5", {"n": 5})]
    assert buffer.since(TopicKind.TRADES, "run-2") == []
    assert buffer.since(TopicKind.ORDERS, buffer.last_id) == []


def test_only_the_last_row_of_an_event_carries_the_id() -> None:
    """A subscriber that got a part of the rows must get all of them again."""
    buffer = ReplayBuffer("run")
    buffer.next_id()
    buffer.append(TopicKind.ORDERS, [{"n": 1}, {"n": 2}, {"n": 3}])
    buffer.next_id()
    buffer.append(TopicKind.ORDERS, [{"n": 4}])

    assert buffer.since(TopicKind.ORDERS, "run-0") == [
        ("", {"n": 1}),
        ("", {"n": 2}),
        ("run-1", {"n": 3}),
        ("run-2", {"n": 4}),
    ]


def test_nothing_is_replayed_after_an_id_that_is_too_old() -> None:
    """Some rows after it have been dropped, and the subscriber must learn that rows are missing."""
    buffer = filled_buffer(*[TopicKind.ORDERS] * 5, max_rows=2)

    assert buffer.since(TopicKind.ORDERS, "run-2") is None
    assert buffer.since(TopicKind.ORDERS, "run-3") == [("run-4", {"n": 4}), ("run-5", {"n": 5})]


@pytest.mark.parametrize(
    "last_id", ["", "run", "run-", "other-1", "run--1", "run-x", "run-6", "run-٣", "run-1.0", "run-" + "9" * 5000]
)
def test_an_id_that_this_run_did_not_give_is_unknown(last_id: str) -> None:
    """The id comes from the client, so it can be any text."""
    assert filled_buffer(*[TopicKind.ORDERS] * 5).since(TopicKind.ORDERS, last_id) is None


def test_quotes_are_never_replayed() -> None:
    """A subscriber gets the latest quote when it reconnects."""
    assert filled_buffer(TopicKind.QUOTES).since(TopicKind.QUOTES, "run-0") is None


@given(
    st.lists(st.sampled_from([TopicKind.ORDERS, TopicKind.TRADES]), max_size=30), st.integers(1, 8), st.integers(0, 30)
)
def test_either_all_missed_rows_are_replayed_or_none(kinds: list[TopicKind], max_rows: int, last_number: int) -> None:
    """A gap in the rows would stay unnoticed. None means that the subscriber has to read the complete list."""
    buffer = filled_buffer(*kinds, max_rows=max_rows)
    replayed = buffer.since(TopicKind.ORDERS, f"run-{last_number}")
    missed = [number for number, kind in enumerate(kinds, 1) if kind is TopicKind.ORDERS and number > last_number]

    if replayed is not None:
        assert [row["n"] for _, row in replayed] == missed
    else:
        assert last_number > len(kinds) or len(missed) > max_rows
