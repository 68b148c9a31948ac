"""One order as the bridge knows it: what the journal's entries of it add up to. Pure.

Everything here follows from the entries alone, so that a restart knows what the run before it knew; what only the
running bridge has, such as who waits for the answer, stands in `Flight`.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ibkr_bridge.calls.messages import Answer
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.journal.transitions import OPEN, Entry, State, What, move

SETTLES = frozenset({What.TAKEN, What.ASKED, What.TURNED_DOWN, What.DROPPED, What.LOST})
"""What ends an exchange with IBKR."""


@dataclass(frozen=True)
class Spoken:
    """An answer of IBKR as it went to the caller, so that it can be told again byte for byte."""

    status: int
    content_type: str
    body: str
    """Its bytes, as Latin-1."""

    @classmethod
    def of(cls, answer: Answer) -> Spoken:
        """What a caller was told."""
        return cls(answer.status, answer.headers.get("Content-Type", ""), answer.body.decode("latin-1"))

    @property
    def answer(self) -> Answer:
        """The same again."""
        headers = {"Content-Type": self.content_type} if self.content_type else {}
        return Answer(self.status, headers, self.body.encode("latin-1"))

    @property
    def facts(self) -> dict[str, object]:
        """As the journal keeps it."""
        return {"status": self.status, "content_type": self.content_type, "body": self.body}


@dataclass(eq=False)
class Flight:
    """An exchange with IBKR that is under way, and all who wait for it."""

    fingerprint: str
    passengers: list[Callable[[], bool]]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    result: Answer | BridgeError | None = None

    def is_wanted(self) -> bool:
        """Whether anybody still waits."""
        return any(is_there() for is_there in self.passengers)

    async def carry(self, work: Awaitable[Answer]) -> Answer:
        """Bring an answer, and tell all who wait for it what came of it."""
        try:
            self.result = await work
            return self.result
        except BridgeError as exc:
            self.result = copy.copy(exc)
            raise
        finally:
            self.done.set()


@dataclass(eq=False)
class Record:
    """One order call: a placement, a change, a cancel or an answered notice."""

    id: str
    kind: Order
    account: str | None = None
    owner: str = ""
    """Whose it is: the key it came with, without telling it."""
    request: str = ""
    """The request's id."""
    fingerprint: str = ""
    """Of method, target and body as the caller sent them."""
    idempotency: str | None = None
    """Of its Idempotency-Key."""
    names: tuple[str, ...] = ()
    """cOIDs."""
    own_name: bool = False
    """Whether the caller gave it an identity: a cOID, or an Idempotency-Key."""
    wanted: Mapping[str, Any] = field(default_factory=dict)
    """By which a change, a cancel or an answer is recognised at IBKR."""
    state: State | None = None
    created: str = ""
    updated: str = ""
    order_ids: tuple[str, ...] = ()
    error: str | None = None
    spoken: Spoken | None = None
    """IBKR's latest answer."""
    own_answer: Spoken | None = None
    """The one its own call was answered with: a question, perhaps, that was replied to later."""
    heard: bool = False
    """Whether its caller has had the latest answer."""
    was_unheard: bool = False
    """Whether it once turned out that its caller had not had it after all."""
    left: str | None = None
    """When its caller went away without it."""
    lost: str | None = None
    """When its answer was lost."""
    lost_why: str = ""
    lost_request: str = ""
    """The request whose answer was lost: the order's own, or a reply's."""
    told_unknown: bool = False
    """Whether its caller was told that nobody knows."""
    status: str | None = None
    """IBKR's latest word for its state."""
    settled_by_search: bool = False
    over_restart: bool = False
    """Whether it was under way when an earlier run of the bridge ended."""
    is_new_again: bool = False
    """Whether the same call may be sent again: nothing left, or IBKR would not even look at it."""
    asked: tuple[str, ...] = ()
    """Reply ids of its latest question."""
    replied: dict[str, tuple[str, Spoken | None]] = field(default_factory=dict)
    """Replies that were sent: by reply id the fingerprint of its body, and IBKR's answer."""
    flight: Flight | None = None
    unread: Callable[[], bool] = lambda: False
    """Whether the connection its answer was written to was closed by a caller who had not read it."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Record | None:
        """What entries of one order add up to; None where there are none."""
        record = None
        for entry in entries:
            record = record or cls(entry.order, Order.PLACE)
            record.apply(entry)
        return record

    def __repr__(self) -> str:
        return f"<Record {self.id} {self.kind.value} {self.state.value if self.state else 'new'}>"

    @property
    def is_open(self) -> bool:
        """Whether it is not settled."""
        return self.state in OPEN

    @property
    def may_exist(self) -> bool:
        """Whether IBKR has it, or could."""
        return self.state in (None, State.SENDING, State.QUESTION, State.PLACED, State.UNKNOWN)

    def next_state(self, what: What) -> State:
        """See `ledger.move`."""
        return move(self.state, what)

    def apply(self, entry: Entry) -> None:
        """Take an entry up; entries come in the journal's order."""
        facts = entry.facts
        self.created = self.created or entry.at
        self.updated, self.state = entry.at, entry.state
        READ.get(entry.what, _nothing)(self, entry)
        if isinstance(ids := facts.get("order_ids"), list) and ids:
            self.order_ids = tuple(map(str, ids))
        self.status = _text(facts.get("status")) or self.status
        if isinstance(answer := facts.get("answer"), dict):
            self._spoke(Spoken(int(answer["status"]), str(answer["content_type"]), str(answer["body"])))
            self.own_answer = self.spoken if facts.get("own") is True else self.own_answer

    def _spoke(self, spoken: Spoken) -> None:
        self.spoken, self.heard, self.left = spoken, False, None
        for reply, (fingerprint, told) in self.replied.items():
            if told is None:
                self.replied[reply] = (fingerprint, spoken)


def _nothing(record: Record, entry: Entry) -> None:
    """Its state says it all."""


def _sent(record: Record, entry: Entry) -> None:
    facts = entry.facts
    record.kind = Order(facts["kind"])
    record.account = _text(facts.get("account"))
    record.owner, record.request = str(facts.get("owner", "")), str(facts.get("request", ""))
    record.fingerprint, record.idempotency = str(facts.get("fingerprint", "")), _text(facts.get("idempotency"))
    record.own_name = facts.get("own_name") is True
    names, wanted = facts.get("coids"), facts.get("wanted")
    record.names = tuple(map(str, names)) if isinstance(names, list) else ()
    record.wanted = wanted if isinstance(wanted, dict) else {}


def _refused(record: Record, entry: Entry) -> None:
    if not record.fingerprint:
        _sent(record, entry)
    record.error, record.is_new_again = _text(entry.facts.get("error")), True


def _turned_down(record: Record, entry: Entry) -> None:
    record.error, record.is_new_again = _text(entry.facts.get("error")), entry.facts.get("again") is True


def _replied(record: Record, entry: Entry) -> None:
    reply = _text(entry.facts.get("reply"))
    if reply is not None:
        record.replied[reply] = (str(entry.facts.get("fingerprint", "")), None)


def _held_back(record: Record, entry: Entry) -> None:
    """Its caller may reply once more."""
    record.replied.pop(str(entry.facts.get("reply")), None)
    record.error = _text(entry.facts.get("error"))


def _declined(record: Record, entry: Entry) -> None:
    _replied(record, entry)
    record.error = _text(entry.facts.get("error"))


def _asked(record: Record, entry: Entry) -> None:
    replies = entry.facts.get("replies")
    record.asked = tuple(map(str, replies)) if isinstance(replies, list) else ()


def _lost(record: Record, entry: Entry) -> None:
    record.lost, record.error = entry.at, _text(entry.facts.get("error"))
    record.lost_why, record.lost_request = record.error or "", str(entry.facts.get("request", ""))
    record.over_restart = entry.facts.get("restart") is True
    record.spoken, record.heard, record.left = None, False, None


def _told(record: Record, entry: Entry) -> None:
    record.heard, record.left = True, None
    record.told_unknown = record.told_unknown or (record.spoken is None and record.state is State.UNKNOWN)


def _left(record: Record, entry: Entry) -> None:
    record.heard, record.left, record.told_unknown = False, entry.at, False


def _found(record: Record, entry: Entry) -> None:
    record.settled_by_search, record.error = True, None


def _missed(record: Record, entry: Entry) -> None:
    record.settled_by_search, record.error = True, _text(entry.facts.get("error"))


READ: Mapping[What, Callable[[Record, Entry], None]] = {
    What.SENT: _sent,
    What.REFUSED: _refused,
    What.TAKEN: lambda record, entry: setattr(record, "error", None),
    What.TURNED_DOWN: _turned_down,
    What.DROPPED: _turned_down,
    What.ASKED: _asked,
    What.CONFIRMED: _replied,
    What.HELD_BACK: _held_back,
    What.DECLINED: _declined,
    What.LOST: _lost,
    What.FOUND: _found,
    What.MISSED: _missed,
    What.TOLD: _told,
    What.LEFT: _left,
}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def digest(*parts: bytes) -> str:
    """What two calls have in common if, and only if, all these parts are the same."""
    told = hashlib.sha256()
    for part in parts:
        told.update(len(part).to_bytes(8, "big") + part)
    return told.hexdigest()


def seconds_since(at: str, now: datetime) -> float:
    """How long ago something of the journal was."""
    return (now - datetime.fromisoformat(at)).total_seconds()
