"""The life of an order: which fact may follow which state, and how a journal that was changed gives itself away."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.orders.journal.transitions import (
    ASIDE,
    FIRST,
    MOVES,
    OPEN,
    Entry,
    ImpossibleError,
    State,
    What,
    move,
    prove,
    seal,
)

AT = "2026-06-17T16:00:00.000000+00:00"
PLAIN = [(What.SENT, State.SENDING), (What.ASKED, State.QUESTION), (What.CONFIRMED, State.SENDING)]
PLAIN += [(What.TAKEN, State.PLACED), (What.TOLD, State.PLACED)]


def journal(*orders: str) -> list[tuple[int, Entry, str]]:
    """Some orders, one after the other, each through the whole of a plain life."""
    rows: list[tuple[int, Entry, str]] = []
    before = FIRST
    for order in orders:
        for what, state in PLAIN:
            entry = Entry(order, AT, what, state, {"n": len(rows)})
            before = seal(before, entry)
            rows.append((len(rows) + 1, entry, before))
    return rows


def test_every_state_can_be_reached_and_only_by_the_table() -> None:
    """And whoever tells what cannot be is stopped."""
    assert set(MOVES.values()) == set(State)
    for state in (None, *State):
        for what in set(What) - ASIDE:
            if (state, what) in MOVES:
                assert move(state, what) is MOVES[state, what]
            else:
                with pytest.raises(ImpossibleError):
                    move(state, what)


def test_nothing_leaves_what_was_never_sent() -> None:
    """An order that was refused stays refused; one that is placed stays placed."""
    assert [what for state, what in MOVES if state in (State.REFUSED, State.PLACED)] == []


def test_what_is_settled_only_ever_turns_out_to_be_placed() -> None:
    """A late sighting is the one thing that can come after the end."""
    settled = set(State) - OPEN
    assert {to for (state, _), to in MOVES.items() if state in settled} == {State.PLACED}


def test_told_and_left_move_nothing() -> None:
    """They concern the caller, not the order."""
    assert all(move(state, what) is state for state in State for what in ASIDE)
    with pytest.raises(ImpossibleError):
        move(None, What.TOLD)


def test_a_journal_as_it_was_written_has_no_flaw() -> None:
    """However many orders."""
    assert list(prove(journal("a", "b", "c"))) == []
    assert list(prove([])) == []


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
        changed = {"fact": {"facts": {}}, "state": {"state": State.UNKNOWN}, "order": {"order": "z"}, "at": {"at": "x"}}
        rows[at] = (number, replace(entry, **changed[kind]), sealed)  # type: ignore[arg-type]

    assert list(prove(rows)) != []


def test_a_journal_written_anew_with_an_impossible_story_shows() -> None:
    """Seals can be made by whoever has the file; the story must fit too."""
    first = Entry("a", AT, What.SENT, State.SENDING)
    second = Entry("a", AT, What.FOUND, State.PLACED)
    one, two = seal(FIRST, first), seal(seal(FIRST, first), second)

    assert [flaw.number for flaw in prove([(1, first, one), (2, second, two)])] == [2]
