"""The table of an order's states, and the verification that finds changes in a journal."""

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


def journal_rows(*orders: str) -> list[tuple[int, JournalEntry, str]]:
    """The rows of a valid journal, in which each order passes all events of `PLAIN`."""
    rows: list[tuple[int, JournalEntry, str]] = []
    before = FIRST_SEAL
    for order in orders:
        for what, state in PLAIN:
            entry = JournalEntry(order, AT, what, state, {"n": len(rows)})
            before = seal(before, entry)
            rows.append((len(rows) + 1, entry, before))
    return rows


def test_every_state_can_be_reached_and_only_through_the_table() -> None:
    """An event that is not in the table is an error of the bridge, and must not change an order."""
    assert set(TRANSITIONS.values()) == set(OrderState)
    for state in (None, *OrderState):
        for what in set(OrderEvent) - NON_TRANSITIONS:
            if (state, what) in TRANSITIONS:
                assert next_state(state, what) is TRANSITIONS[state, what]
            else:
                with pytest.raises(ImpossibleTransition):
                    next_state(state, what)


def test_a_refused_order_and_a_placed_one_keep_their_states() -> None:
    """Both outcomes are certain, so no event can change them."""
    assert [what for state, what in TRANSITIONS if state in (OrderState.REFUSED, OrderState.PLACED)] == []


def test_a_settled_order_can_only_become_placed() -> None:
    """A late response, or a late row in IBKR's lists, can show that the order exists after all."""
    settled = set(OrderState) - OPEN_STATES
    assert {to for (state, _), to in TRANSITIONS.items() if state in settled} == {OrderState.PLACED}


def test_the_events_told_and_left_do_not_change_the_state() -> None:
    """They are about the caller and not about the order."""
    assert all(next_state(state, what) is state for state in OrderState for what in NON_TRANSITIONS)
    with pytest.raises(ImpossibleTransition):
        next_state(None, OrderEvent.TOLD)


def test_a_journal_that_was_not_changed_has_no_flaw() -> None:
    """A false alarm would make an operator doubt a correct journal."""
    assert list(verify(journal_rows("a", "b", "c"))) == []
    assert list(verify([])) == []


@given(at=st.integers(0, 9), kind=st.sampled_from(["fact", "state", "order", "at", "seal", "cut", "swap", "twice"]))
def test_every_change_of_a_journal_is_found(at: int, kind: str) -> None:
    """An entry may have been altered, removed, reordered or repeated."""
    rows = journal_rows("a", "b")
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


def test_an_impossible_transition_with_valid_seals_is_found() -> None:
    """A person with the file can compute new seals, so the order of the events is verified too."""
    first = JournalEntry("a", AT, OrderEvent.SENT, OrderState.SENDING)
    second = JournalEntry("a", AT, OrderEvent.FOUND, OrderState.PLACED)
    one, two = seal(FIRST_SEAL, first), seal(seal(FIRST_SEAL, first), second)

    assert [flaw.number for flaw in verify([(1, first, one), (2, second, two)])] == [2]


SENT, TAKEN = (OrderEvent.SENT, OrderState.SENDING), (OrderEvent.TAKEN, OrderState.PLACED)
REFUSED = (OrderEvent.REFUSED, OrderState.REFUSED)


@pytest.mark.parametrize(
    "events",
    [[SENT, TAKEN, TAKEN], [SENT, TAKEN, (OrderEvent.SENT, OrderState.PLACED)], [SENT, SENT], [REFUSED, REFUSED]],
)
def test_an_impossible_event_is_found_even_if_the_state_stays_the_same(
    events: list[tuple[OrderEvent, OrderState]],
) -> None:
    """An order that was placed twice according to its entries is a flaw."""
    rows, before = [], FIRST_SEAL
    for number, (what, state) in enumerate(events, start=1):
        entry = JournalEntry("a", AT, what, state)
        before = seal(before, entry)
        rows.append((number, entry, before))

    assert [flaw.number for flaw in verify(rows)] == [len(events)]
