"""The states of an order, and the events of the journal: which event may follow which state, and where it leads. Pure.

Each event is one entry, and entries are never changed. Each entry is sealed with the seal of the one before it, so that
`verify` finds entries that were altered, removed or reordered; it cannot find entries that were cut off at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class OrderState(Enum):
    """The state of an order."""

    SENDING = "sending"  # being sent, or not yet known to have stopped before its first byte
    QUESTION = "question"  # IBKR wants a confirmation; nothing is placed until it is answered
    PLACED = "placed"  # IBKR has it; a modification or a cancel: IBKR carried it out
    REJECTED = "rejected"  # IBKR refused it
    REFUSED = "refused"  # the bridge refused it; nothing was sent
    UNKNOWN = "unknown"  # it may exist; the reconciler searches for it
    NOT_PLACED = "not_placed"  # it does not exist at IBKR


class OrderEvent(Enum):
    """What happened to an order."""

    SENT = "sent"  # about to be sent: on disk before its first byte
    REFUSED = "refused"  # nothing was sent
    ASKED = "asked"  # IBKR's response is a question
    CONFIRMED = "confirmed"  # about to confirm the question
    HELD_BACK = "held_back"  # the confirmation was stopped before its first byte: the question is open as before
    DECLINED = "declined"  # about to decline the question
    TAKEN = "taken"  # IBKR's response says that it has the order
    TURNED_DOWN = "turned_down"  # IBKR's response is a refusal
    DROPPED = "dropped"  # IBKR has dropped its question: an order that was never confirmed is never placed
    LOST = "lost"  # no response, or one that does not show the outcome
    FOUND = "found"  # seen among IBKR's orders or trades
    MISSED = "missed"  # searched for long enough, and not seen
    TOLD = "told"  # the response was delivered to its caller
    LEFT = "left"  # its caller disconnected without the response


S, W = OrderState, OrderEvent
# fmt: off
TRANSITIONS: Mapping[tuple[OrderState | None, OrderEvent], OrderState] = {  # no other pair can happen
    (None,          W.SENT):        S.SENDING,
    (None,          W.REFUSED):     S.REFUSED,
    (S.SENDING,     W.REFUSED):     S.REFUSED,     # `sent` is on disk, and it was stopped before its first byte
    (S.SENDING,     W.HELD_BACK):   S.QUESTION,
    (S.SENDING,     W.ASKED):       S.QUESTION,
    (S.SENDING,     W.TAKEN):       S.PLACED,
    (S.SENDING,     W.TURNED_DOWN): S.REJECTED,
    (S.SENDING,     W.DROPPED):     S.NOT_PLACED,  # confirmed too late: IBKR had dropped its question
    (S.SENDING,     W.LOST):        S.UNKNOWN,
    (S.QUESTION,    W.CONFIRMED):   S.SENDING,
    (S.QUESTION,    W.DECLINED):    S.NOT_PLACED,  # whatever the response to the decline: it was never confirmed
    (S.QUESTION,    W.DROPPED):     S.NOT_PLACED,
    (S.QUESTION,    W.LOST):        S.UNKNOWN,     # a part of it was placed before the question ended
    (S.UNKNOWN,     W.FOUND):       S.PLACED,
    (S.UNKNOWN,     W.MISSED):      S.NOT_PLACED,
    (S.UNKNOWN,     W.TAKEN):       S.PLACED,      # this one and the next three: the response came late
    (S.UNKNOWN,     W.TURNED_DOWN): S.REJECTED,
    (S.UNKNOWN,     W.DROPPED):     S.NOT_PLACED,
    (S.UNKNOWN,     W.DECLINED):    S.NOT_PLACED,  # the late response is a question, and no caller is left
    (S.NOT_PLACED,  W.FOUND):       S.PLACED,      # it was only late: logged as a warning
    (S.NOT_PLACED,  W.TAKEN):       S.PLACED,      # as above
    (S.REJECTED,    W.FOUND):       S.PLACED,      # as above
}
# fmt: on
NON_TRANSITIONS = frozenset({OrderEvent.TOLD, OrderEvent.LEFT})
OPEN_STATES = frozenset({OrderState.SENDING, OrderState.QUESTION, OrderState.UNKNOWN})


class ImpossibleTransition(ValueError):
    """An event that cannot follow the state of its order."""


def next_state(state: OrderState | None, what: OrderEvent) -> OrderState:
    """The state after an event.

    Raises:
        ImpossibleTransition: the event cannot follow the state.
    """
    if what in NON_TRANSITIONS and state is not None:
        return state
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise ImpossibleTransition(f"{what.value} cannot follow {state.value if state else 'nothing'}") from None


@dataclass(frozen=True)
class JournalEntry:
    """One entry of the journal; `facts` are its details, ready for JSON."""

    order_id: str
    at: str
    """UTC, ISO 8601 with microseconds."""
    what: OrderEvent
    state: OrderState
    """The state of the order after it."""
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole entry in the form that is sealed."""
        parts = [self.order_id, self.at, self.what.value, self.state.value, dict(self.facts)]
        return json.dumps(parts, separators=(",", ":"), sort_keys=True)


WITHDRAWALS: Mapping[OrderEvent, OrderEvent] = {
    OrderEvent.SENT: OrderEvent.REFUSED,
    OrderEvent.CONFIRMED: OrderEvent.HELD_BACK,
}
"""What follows an entry that is on disk although its write was reported as failed, so that nothing was sent."""


def withdrawal_of(entry: JournalEntry, at: str, reason: str) -> JournalEntry:
    """The entry that follows one of `WITHDRAWALS`: nothing was sent.

    Args:
        at: the time, as in `JournalEntry`.
        reason: why nothing was sent.
    """
    what = WITHDRAWALS[entry.what]
    reply = {"reply": entry.facts["reply"]} if "reply" in entry.facts else {}
    facts = {"code": "journal_unavailable", "error": reason, "stopped": True, **reply}
    return JournalEntry(entry.order_id, at, what, next_state(entry.state, what), facts)


FIRST_SEAL = "0" * 64  # the seal before the first entry


def seal(before: str, entry: JournalEntry) -> str:
    """The seal of an entry: SHA-256 over the seal before it and the text of the entry, in hexadecimal."""
    return hashlib.sha256(f"{before}\n{entry.text}".encode()).hexdigest()


@dataclass(frozen=True)
class JournalFlaw:
    """A place where a journal is not what the bridge wrote."""

    number: int
    reason: str


def verify(entries: Iterable[tuple[int, JournalEntry, str]]) -> Iterator[JournalFlaw]:
    """Find the flaws of a journal, read from its beginning: numbers, seals, transitions.

    Args:
        entries: number, entry and seal of each, in order.
    """
    before, expected, states = FIRST_SEAL, 1, dict[str, OrderState]()
    for number, entry, sealed in entries:
        if number != expected:
            yield JournalFlaw(number, f"entry {expected} is missing")
        if seal(before, entry) != sealed:
            yield JournalFlaw(number, "its seal does not match: this entry or an earlier one was changed")
        if not _may_follow(states.get(entry.order_id), entry):
            yield JournalFlaw(number, "this event cannot follow the state of the order")
        before, expected, states[entry.order_id] = sealed, number + 1, entry.state


def _may_follow(state: OrderState | None, entry: JournalEntry) -> bool:
    try:
        return next_state(state, entry.what) is entry.state
    except ImpossibleTransition:
        return False
