"""The life of an order as the journal tells it: which fact may follow which state, and where it leads. Pure.

Every fact is one entry, and entries are never changed. Each is sealed with the seal of the entry before it, so that a
journal that was altered, thinned out or put in another order can be told (`prove`); what is cut off at its end cannot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class OrderState(Enum):
    """Where an order stands."""

    SENDING = "sending"  # on its way, or nobody knows yet that it is not
    QUESTION = "question"  # IBKR asks back; nothing is placed until it is answered
    PLACED = "placed"  # IBKR has it; of a change or a cancel: IBKR did it
    REJECTED = "rejected"  # IBKR said no
    REFUSED = "refused"  # the bridge said no; nothing left it
    UNKNOWN = "unknown"  # it may exist; it is being looked for
    NOT_PLACED = "not_placed"  # looked for, and not there


class OrderEvent(Enum):
    """What happened to an order."""

    SENT = "sent"  # about to leave: on disk before its first byte
    REFUSED = "refused"  # nothing left
    ASKED = "asked"  # IBKR's answer is a question
    CONFIRMED = "confirmed"  # about to say yes to the question
    HELD_BACK = "held_back"  # that yes was stopped before its first byte: the question stands as before
    DECLINED = "declined"  # about to say no to it
    TAKEN = "taken"  # IBKR's answer says that it has it
    TURNED_DOWN = "turned_down"  # IBKR's answer says no
    DROPPED = "dropped"  # IBKR has forgotten its question: what was never confirmed is never placed
    LOST = "lost"  # no answer, or none that says how it went
    FOUND = "found"  # seen among IBKR's orders or trades
    MISSED = "missed"  # looked for long enough, and not seen
    TOLD = "told"  # its caller has had the answer
    LEFT = "left"  # its caller went away without it


S, W = OrderState, OrderEvent
# fmt: off
TRANSITIONS: Mapping[tuple[OrderState | None, OrderEvent], OrderState] = {  # no other pair can happen
    (None,          W.SENT):        S.SENDING,
    (None,          W.REFUSED):     S.REFUSED,
    (S.SENDING,     W.REFUSED):     S.REFUSED,     # `sent` stands on disk, and it was stopped before its first byte
    (S.SENDING,     W.HELD_BACK):   S.QUESTION,
    (S.SENDING,     W.ASKED):       S.QUESTION,
    (S.SENDING,     W.TAKEN):       S.PLACED,
    (S.SENDING,     W.TURNED_DOWN): S.REJECTED,
    (S.SENDING,     W.DROPPED):     S.NOT_PLACED,  # confirmed too late: IBKR had forgotten its question
    (S.SENDING,     W.LOST):        S.UNKNOWN,
    (S.QUESTION,    W.CONFIRMED):   S.SENDING,
    (S.QUESTION,    W.DECLINED):    S.NOT_PLACED,  # whatever comes of saying no: it was never confirmed
    (S.QUESTION,    W.DROPPED):     S.NOT_PLACED,
    (S.QUESTION,    W.LOST):        S.UNKNOWN,     # a part of it was placed before the question ended
    (S.UNKNOWN,     W.FOUND):       S.PLACED,
    (S.UNKNOWN,     W.MISSED):      S.NOT_PLACED,
    (S.UNKNOWN,     W.TAKEN):       S.PLACED,      # this one and the next three: its answer came late
    (S.UNKNOWN,     W.TURNED_DOWN): S.REJECTED,
    (S.UNKNOWN,     W.DROPPED):     S.NOT_PLACED,
    (S.UNKNOWN,     W.DECLINED):    S.NOT_PLACED,  # it was a question, and nobody is left to be asked
    (S.NOT_PLACED,  W.FOUND):       S.PLACED,      # it was only late: an alarm
    (S.NOT_PLACED,  W.TAKEN):       S.PLACED,      # likewise
    (S.REJECTED,    W.FOUND):       S.PLACED,      # likewise
}
# fmt: on
NON_TRANSITIONS = frozenset({OrderEvent.TOLD, OrderEvent.LEFT})
OPEN_STATES = frozenset({OrderState.SENDING, OrderState.QUESTION, OrderState.UNKNOWN})


class ImpossibleTransition(ValueError):
    """A fact that cannot follow the state an order is in."""


def next_state(state: OrderState | None, what: OrderEvent) -> OrderState:
    """Where a fact leads.

    Raises:
        ImpossibleError: it cannot follow.
    """
    if what in NON_TRANSITIONS and state is not None:
        return state
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise ImpossibleTransition(f"{what.value} cannot follow {state.value if state else 'nothing'}") from None


@dataclass(frozen=True)
class JournalEntry:
    """One line of the journal; `facts` are what is known with it, ready for JSON."""

    order_id: str
    at: str
    """UTC, ISO 8601 with microseconds."""
    what: OrderEvent
    state: OrderState
    """Where the order stands after it."""
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All of it, in the one form that is sealed."""
        told = [self.order_id, self.at, self.what.value, self.state.value, dict(self.facts)]
        return json.dumps(told, separators=(",", ":"), sort_keys=True)


FIRST_SEAL = "0" * 64  # the seal before the first entry


def seal(before: str, entry: JournalEntry) -> str:
    """The seal of an entry: SHA-256 over the one before it and the whole text, in hexadecimal."""
    return hashlib.sha256(f"{before}\n{entry.text}".encode()).hexdigest()


@dataclass(frozen=True)
class JournalFlaw:
    """The first place where a journal is not what was written."""

    number: int
    reason: str


def verify(entries: Iterable[tuple[int, JournalEntry, str]]) -> Iterator[JournalFlaw]:
    """The flaws of a journal, read from its beginning: numbers, seals, moves.

    Args:
        entries: number, entry and seal of each, in order.
    """
    before, expected, states = FIRST_SEAL, 1, dict[str, OrderState]()
    for number, entry, sealed in entries:
        if number != expected:
            yield JournalFlaw(number, f"entry {expected} is missing")
        if seal(before, entry) != sealed:
            yield JournalFlaw(number, "its seal does not fit: it, or one before it, was changed")
        if TRANSITIONS.get((states.get(entry.order_id), entry.what), states.get(entry.order_id)) is not entry.state:
            yield JournalFlaw(number, "no such fact can follow what the order was before")
        before, expected, states[entry.order_id] = sealed, number + 1, entry.state
