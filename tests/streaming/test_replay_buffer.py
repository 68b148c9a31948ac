"""What is told again to one who was away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.streaming.protocol import TopicKind
from ibkr_bridge.streaming.replay_buffer import REPLAYED_KINDS, ReplayBuffer


def ring(*rows: TopicKind, most: int = 100) -> ReplayBuffer:
    """One in which these happened, each row telling its number."""
    made = ReplayBuffer("run", most)
    for kind in rows:
        made.next_id()
        if kind in REPLAYED_KINDS:
            made.append(kind, [{"n": made.number}])
    return made


def test_what_came_later_is_told_again() -> None:
    """Of the kind that is read, with its own ids."""
    made = ring(TopicKind.ORDERS, TopicKind.TRADES, TopicKind.ORDERS, TopicKind.QUOTES, TopicKind.ORDERS)

    assert made.since(TopicKind.ORDERS, "run-1") == [("run-3", {"n": 3}), ("run-5", {"n": 5})]
    assert made.since(TopicKind.TRADES, "run-2") == []
    assert made.since(TopicKind.ORDERS, made.last_id) == []


def test_an_event_of_several_rows_has_its_id_at_the_last() -> None:
    """So that no half of it is taken for the whole."""
    made = ReplayBuffer("run")
    made.next_id()
    made.append(TopicKind.ORDERS, [{"n": 1}, {"n": 2}, {"n": 3}])
    made.next_id()
    made.append(TopicKind.ORDERS, [{"n": 4}])

    assert made.since(TopicKind.ORDERS, "run-0") == [
        ("", {"n": 1}),
        ("", {"n": 2}),
        ("run-1", {"n": 3}),
        ("run-2", {"n": 4}),
    ]


def test_what_was_let_go_is_not_made_up() -> None:
    """Nobody can say what came after an id that is too old."""
    made = ring(*[TopicKind.ORDERS] * 5, most=2)

    assert made.since(TopicKind.ORDERS, "run-2") is None
    assert made.since(TopicKind.ORDERS, "run-3") == [("run-4", {"n": 4}), ("run-5", {"n": 5})]


@pytest.mark.parametrize(
    "last", ["", "run", "run-", "other-1", "run--1", "run-x", "run-6", "run-٣", "run-1.0", "run-" + "9" * 5000]
)
def test_strange_ids_are_of_another_run(last: str) -> None:
    """Whatever a browser, or somebody else, sends."""
    assert ring(*[TopicKind.ORDERS] * 5).since(TopicKind.ORDERS, last) is None


def test_quotes_are_never_told_again() -> None:
    """Their newest picture is what counts."""
    assert ring(TopicKind.QUOTES).since(TopicKind.QUOTES, "run-0") is None


@given(
    st.lists(st.sampled_from([TopicKind.ORDERS, TopicKind.TRADES]), max_size=30), st.integers(1, 8), st.integers(0, 30)
)
def test_either_all_that_was_missed_or_the_word_that_it_is_not(kinds: list[TopicKind], most: int, seen: int) -> None:
    """Whenever the connection broke."""
    made = ring(*kinds, most=most)
    told = made.since(TopicKind.ORDERS, f"run-{seen}")
    missed = [number for number, kind in enumerate(kinds, 1) if kind is TopicKind.ORDERS and number > seen]

    if told is not None:
        assert [row["n"] for _, row in told] == missed
    else:
        assert seen > len(kinds) or len(missed) > most
