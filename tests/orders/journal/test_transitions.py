"""The life of an order: which fact may follow which state, and how a journal that was changed gives itself away."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.orders.journal.transitions import (
    FIRST_SEAL,
    NON_TRANSITIONS,
    OPEN_STATES,
    TRANSITIONS,
    ImpossibleTransition,
    JournalEntry,
    OrderEvent,
    OrderState,
    next_state,
    seal,
    verify,
)

AT = "2026-06-17T16:00:00.000000+00:00"
PLAIN = [
    (OrderEvent.SENT, OrderState.SENDING),
    (OrderEvent.ASKED, OrderState.QUESTION),
    (OrderEvent.CONFIRMED, OrderState.SENDING),
]
PLAIN += [(OrderEvent.TAKEN, OrderState.PLACED), (OrderEvent.TOLD, OrderState.PLACED)]


def journal(*orders: str) -> list[tuple[int, JournalEntry, str]]:
    """Some orders, one after the other, each through the whole of a plain life."""
    rows: list[tuple[int, JournalEntry, str]] = []
    before = FIRST_SEAL
    for order in orders:
        for what, state in PLAIN:
            entry = JournalEntry(order, AT, what, state, {"n": len(rows)})
            before = seal(before, entry)
            rows.append((len(rows) + 1, entry, before))
    return rows


def test_every_state_can_be_reached_and_only_by_the_table() -> None:
    """And whoever tells what cannot be is stopped."""
    assert set(TRANSITIONS.values()) == set(OrderState)
    for state in (None, *OrderState):
        for what in set(OrderEvent) - NON_TRANSITIONS:
            if (state, what) in TRANSITIONS:
                assert next_state(state, what) is TRANSITIONS[state, what]
            else:
                with pytest.raises(ImpossibleTransition):
                    next_state(state, what)


def test_nothing_leaves_what_was_never_sent() -> None:
    """An order that was refused stays refused; one that is placed stays placed."""
    assert [what for state, what in TRANSITIONS if state in (OrderState.REFUSED, OrderState.PLACED)] == []


def test_what_is_settled_only_ever_turns_out_to_be_placed() -> None:
    """A late sighting is the one thing that can come after the end."""
    settled = set(OrderState) - OPEN_STATES
    assert {to for (state, _), to in TRANSITIONS.items() if state in settled} == {OrderState.PLACED}


def test_told_and_left_move_nothing() -> None:
    """They concern the caller, not the order."""
    assert all(next_state(state, what) is state for state in OrderState for what in NON_TRANSITIONS)
    with pytest.raises(ImpossibleTransition):
        next_state(None, OrderEvent.TOLD)


def test_a_journal_as_it_was_written_has_no_flaw() -> None:
    """However many orders."""
    assert list(verify(journal("a", "b", "c"))) == []
    assert list(verify([])) == []


@given(at=st.integers(0, 9), kind=st.sampled_from(["fact", "state", "order", "at", "seal", "cut", "swap", "twice"]))
def test_whatever_is_done_to_a_journal_shows(at: int, kind: str) -> None:
    """Changed, removed, moved, repeated."""
    rows = journal("a", "b")
    number, entry, sealed = rows[at]
    if kind == "cut":
        del rows[at if at < len(rows) - 1 else at - 1]
    elif kind == "swap":
        other = (at + 1) % len(rows)
        rows[at], rows[other] = (number, rows[other][1], rows[other][2]), (rows[other][0], entry, sealed)
    elif kind == "twice":
        rows.insert(at, rows[at])
    elif kind == "seal":
        rows[at] = (number, entry, seal(sealed, entry))
    else:
        changed = {
            "fact": {"facts": {}},
            "state": {"state": OrderState.UNKNOWN},
            "order": {"order_id": "z"},
            "at": {"at": "x"},
        }
        rows[at] = (number, replace(entry, **changed[kind]), sealed)  # type: ignore[arg-type]

    assert list(verify(rows)) != []


def test_a_journal_written_anew_with_an_impossible_story_shows() -> None:
    """Seals can be made by whoever has the file; the story must fit too."""
    first = JournalEntry("a", AT, OrderEvent.SENT, OrderState.SENDING)
    second = JournalEntry("a", AT, OrderEvent.FOUND, OrderState.PLACED)
    one, two = seal(FIRST_SEAL, first), seal(seal(FIRST_SEAL, first), second)

    assert [flaw.number for flaw in verify([(1, first, one), (2, second, two)])] == [2]


SENT, TAKEN = (OrderEvent.SENT, OrderState.SENDING), (OrderEvent.TAKEN, OrderState.PLACED)
REFUSED = (OrderEvent.REFUSED, OrderState.REFUSED)


@pytest.mark.parametrize(
    "story",
    [[SENT, TAKEN, TAKEN], [SENT, TAKEN, (OrderEvent.SENT, OrderState.PLACED)], [SENT, SENT], [REFUSED, REFUSED]],
)
def test_an_event_that_changes_no_state_must_be_possible_too(story: list[tuple[OrderEvent, OrderState]]) -> None:
    """Two placements in one order's story are a flaw, even if its state stays what it was."""
    rows, before = [], FIRST_SEAL
    for number, (what, state) in enumerate(story, start=1):
        entry = JournalEntry("a", AT, what, state)
        before = seal(before, entry)
        rows.append((number, entry, before))

    assert [flaw.number for flaw in verify(rows)] == [len(story)]
