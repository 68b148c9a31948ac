"""One order as the bridge knows it, computed from its journal entries. Pure.

Everything here follows from the entries alone, so that the bridge knows the same after a restart. What exists only
while the bridge runs, such as the callers that wait for the response, is in `InFlightOrder`.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ibkr_bridge.calls.messages import Response, noop
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.transitions import OPEN_STATES, JournalEntry, OrderEvent, OrderState, next_state

MAX_VALUE_LENGTH = 64  # characters of a caller's value that are kept; no value of a real order is longer
SETTLES = frozenset({OrderEvent.TAKEN, OrderEvent.ASKED, OrderEvent.TURNED_DOWN, OrderEvent.DROPPED, OrderEvent.LOST})
"""The events that end an exchange with IBKR."""

SENDINGS = frozenset({OrderEvent.SENT, OrderEvent.CONFIRMED})
"""The events of calls that can place an order."""


@dataclass(frozen=True)
class StoredResponse:
    """A response of IBKR as it was sent to the caller, for a replay byte for byte."""

    ibkr_status: int
    content_type: str
    body: str
    """Its bytes, as Latin-1."""

    @classmethod
    def from_response(cls, response: Response) -> StoredResponse:
        """The stored form of a response."""
        return cls(response.status, response.headers.get("Content-Type", ""), response.body.decode("latin-1"))

    @property
    def as_response(self) -> Response:
        """The response again."""
        headers = {"Content-Type": self.content_type} if self.content_type else {}
        return Response(self.ibkr_status, headers, self.body.encode("latin-1"))

    @property
    def facts(self) -> dict[str, object]:
        """As the journal stores it."""
        return {"status": self.ibkr_status, "content_type": self.content_type, "body": self.body}


@dataclass(eq=False)
class InFlightOrder:
    """An exchange with IBKR that is running, and all callers that wait for it."""

    fingerprint: str
    waiters: list[Callable[[], bool]]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    result: Response | BridgeError | None = None

    def is_wanted(self) -> bool:
        """Whether any caller still waits."""
        return any(is_connected() for is_connected in self.waiters)

    async def run(self, work: Awaitable[Response]) -> Response:
        """Await the exchange and pass its result to all waiting callers."""
        try:
            self.result = await work
            return self.result
        except BridgeError as exc:
            self.result = copy.copy(exc)
            raise
        finally:
            self.done.set()


@dataclass(eq=False)
class OrderRecord:
    """One order call: a placement, a modification, a cancel or an answered notice."""

    id: str
    operation: OrderOperation
    account: str | None = None
    owner: str = ""
    """Fingerprint of the key that it came with."""
    request_id: str = ""
    """The request's id."""
    fingerprint: str = ""
    """Of method, target and body as the caller sent them."""
    idempotency_digest: str | None = None
    """Of its Idempotency-Key."""
    coids: tuple[str, ...] = ()
    """cOIDs."""
    has_own_identity: bool = False
    """Whether the caller supplied an identity: a cOID, or an Idempotency-Key."""
    tickets: tuple[Mapping[str, Any], ...] = ()
    """What people see of its tickets; nothing is decided by it."""
    match_criteria: Mapping[str, Any] = field(default_factory=dict)
    """How a modification, a cancel or an answer to a notice is recognised at IBKR."""
    state: OrderState | None = None
    created: str = ""
    updated: str = ""
    order_ids: tuple[str, ...] = ()
    error: str | None = None
    latest_response: StoredResponse | None = None
    """IBKR's latest response."""
    first_response: StoredResponse | None = None
    """The response to its own call; it may be a question that was replied to later."""
    is_delivered: bool = False
    """Whether the latest response was delivered to its caller."""
    was_undelivered: bool = False
    """Whether a delivery was once recorded and then turned out not to have happened."""
    disconnected_at: str | None = None
    """When its caller disconnected without the response."""
    lost_at: str | None = None
    """When its response was lost."""
    lost_reason: str = ""
    lost_request_id: str = ""
    """The request whose response was lost: that of the order, or of a reply."""
    unknown_delivered: bool = False
    """Whether `order_unknown` was delivered to its caller."""
    ibkr_status: str | None = None
    """IBKR's latest word for its state."""
    settled_by_reconciliation: bool = False
    interrupted_by_restart: bool = False
    """Whether it was running when an earlier run of the bridge ended."""
    may_be_sent_again: bool = False
    """Whether the same call may be sent again: nothing was sent, or IBKR did not process it."""
    reply_ids: tuple[str, ...] = ()
    """Reply ids of its latest question."""
    sent_replies: dict[str, tuple[str, StoredResponse | None]] = field(default_factory=dict)
    """Replies that were sent: by reply id, the fingerprint of the reply and IBKR's response."""
    in_flight: InFlightOrder | None = None
    sent_at: str = ""
    """When the last call was sent that could place it: its own, or the confirmation of a question."""
    place: int = 0
    """Its place among all orders of the index: a later order has a larger one."""
    created_mark: float | None = None
    sent_mark: float | None = None
    updated_mark: float | None = None
    disconnected_mark: float | None = None
    """The marks of these four times (see `RunAges`); None if an earlier run has written them."""
    was_unread: Callable[[], bool] = lambda: False
    """Returns whether the client closed the connection without reading the response."""

    @classmethod
    def from_entries(cls, entries: Iterable[JournalEntry]) -> OrderRecord | None:
        """Compute the record from the entries of one order; None if there are none."""
        record = None
        for entry in entries:
            record = record or cls(entry.order_id, OrderOperation.PLACE)
            record.apply(entry)
        return record

    def __repr__(self) -> str:
        return f"<OrderRecord {self.id} {self.operation.value} {self.state.value if self.state else 'new'}>"

    @property
    def is_open(self) -> bool:
        """Whether it is not settled."""
        return self.state in OPEN_STATES

    @property
    def is_finished(self) -> bool:
        """Whether nothing more is expected: it is settled, its caller has or does not want the response, and no list
        of IBKR can change that.
        """
        may_be_late = bool(self.lost_at) and self.state is not OrderState.PLACED
        is_over = self.is_delivered or self.disconnected_at is not None
        return self.state is not None and not self.is_open and self.in_flight is None and is_over and not may_be_late

    @property
    def may_exist(self) -> bool:
        """Whether IBKR has it, or may have it."""
        return self.state in (None, OrderState.SENDING, OrderState.QUESTION, OrderState.PLACED, OrderState.UNKNOWN)

    def next_state(self, what: OrderEvent) -> OrderState:
        """See `transitions.next_state`."""
        return next_state(self.state, what)

    def apply(self, entry: JournalEntry, mark: float | None = None) -> None:
        """Apply an entry; entries come in the journal's order. `mark` is that of its time; None for an earlier run."""
        facts = entry.facts
        self.created_mark = self.created_mark if self.created else mark
        self.created = self.created or entry.at
        self.updated, self.state, self.updated_mark = entry.at, entry.state, mark
        self.disconnected_mark = mark if entry.what is OrderEvent.LEFT else self.disconnected_mark
        if entry.what in SENDINGS:
            self.sent_at, self.sent_mark = entry.at, mark
        APPLY.get(entry.what, noop)(self, entry)  # an event without a row changes only the state
        if isinstance(ids := facts.get("order_ids"), list) and ids:
            self.order_ids = tuple(map(str, ids))
        self.ibkr_status = _text_or_none(facts.get("status")) or self.ibkr_status
        if isinstance(answer := facts.get("answer"), dict):
            self._on_response(StoredResponse(int(answer["status"]), str(answer["content_type"]), str(answer["body"])))
            self.first_response = self.latest_response if facts.get("own") is True else self.first_response

    def _on_response(self, latest_response: StoredResponse) -> None:
        self.latest_response, self.is_delivered, self.disconnected_at = latest_response, False, None
        for reply, (fingerprint, stored) in self.sent_replies.items():
            if stored is None:
                self.sent_replies[reply] = (fingerprint, latest_response)


def _on_sent(record: OrderRecord, entry: JournalEntry) -> None:
    facts = entry.facts
    record.operation = OrderOperation(facts["kind"])
    record.account = _text_or_none(facts.get("account"))
    record.owner, record.request_id = str(facts.get("owner", "")), str(facts.get("request", ""))
    record.fingerprint, record.idempotency_digest = (
        str(facts.get("fingerprint", "")),
        _text_or_none(facts.get("idempotency")),
    )
    record.has_own_identity = facts.get("own_name") is True
    coids, match_criteria, tickets = facts.get("coids"), facts.get("wanted"), facts.get("tickets")
    record.tickets = tuple(each for each in tickets if isinstance(each, dict)) if isinstance(tickets, list) else ()
    record.coids = tuple(map(str, coids)) if isinstance(coids, list) else ()
    record.match_criteria = match_criteria if isinstance(match_criteria, dict) else {}


def _on_refused(record: OrderRecord, entry: JournalEntry) -> None:
    if not record.fingerprint:
        _on_sent(record, entry)
    record.error, record.may_be_sent_again = _text_or_none(entry.facts.get("error")), True


def _on_turned_down(record: OrderRecord, entry: JournalEntry) -> None:
    record.error, record.may_be_sent_again = _text_or_none(entry.facts.get("error")), entry.facts.get("again") is True


def _on_reply(record: OrderRecord, entry: JournalEntry) -> None:
    reply = _text_or_none(entry.facts.get("reply"))
    if reply is not None:
        record.sent_replies[reply] = (str(entry.facts.get("fingerprint", "")), None)


def _on_held_back(record: OrderRecord, entry: JournalEntry) -> None:
    """The caller may reply once more."""
    record.sent_replies.pop(str(entry.facts.get("reply")), None)
    record.error = _text_or_none(entry.facts.get("error"))


def _on_declined(record: OrderRecord, entry: JournalEntry) -> None:
    _on_reply(record, entry)
    record.error = _text_or_none(entry.facts.get("error"))


def _on_question(record: OrderRecord, entry: JournalEntry) -> None:
    replies = entry.facts.get("replies")
    record.reply_ids = tuple(map(str, replies)) if isinstance(replies, list) else ()


def _on_lost(record: OrderRecord, entry: JournalEntry) -> None:
    record.lost_at, record.error = entry.at, _text_or_none(entry.facts.get("error"))
    record.lost_reason, record.lost_request_id = record.error or "", str(entry.facts.get("request", ""))
    record.interrupted_by_restart = entry.facts.get("restart") is True
    record.latest_response, record.is_delivered, record.disconnected_at = None, False, None


def _on_delivered(record: OrderRecord, entry: JournalEntry) -> None:
    record.is_delivered, record.disconnected_at = True, None
    record.unknown_delivered = record.unknown_delivered or (
        record.latest_response is None and record.state is OrderState.UNKNOWN
    )


def _on_disconnected(record: OrderRecord, entry: JournalEntry) -> None:
    record.is_delivered, record.disconnected_at, record.unknown_delivered = False, entry.at, False


def _on_found(record: OrderRecord, entry: JournalEntry) -> None:
    record.settled_by_reconciliation, record.error = True, None


def _on_missed(record: OrderRecord, entry: JournalEntry) -> None:
    record.settled_by_reconciliation, record.error = True, _text_or_none(entry.facts.get("error"))


APPLY: Mapping[OrderEvent, Callable[[OrderRecord, JournalEntry], None]] = {
    OrderEvent.SENT: _on_sent,
    OrderEvent.REFUSED: _on_refused,
    OrderEvent.TAKEN: lambda record, entry: setattr(record, "error", None),
    OrderEvent.TURNED_DOWN: _on_turned_down,
    OrderEvent.DROPPED: _on_turned_down,
    OrderEvent.ASKED: _on_question,
    OrderEvent.CONFIRMED: _on_reply,
    OrderEvent.HELD_BACK: _on_held_back,
    OrderEvent.DECLINED: _on_declined,
    OrderEvent.LOST: _on_lost,
    OrderEvent.FOUND: _on_found,
    OrderEvent.MISSED: _on_missed,
    OrderEvent.TOLD: _on_delivered,
    OrderEvent.LEFT: _on_disconnected,
}


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def cut(value: object) -> str:
    """A caller's value as it is kept."""
    return str(value)[:MAX_VALUE_LENGTH]


def digest_of_key(idempotency_key: str | None) -> str | None:
    """What the journal keeps of an Idempotency-Key; None if the call has none."""
    return digest(b"key", idempotency_key.encode()) if idempotency_key else None


def digest(*parts: bytes) -> str:
    """A digest that is equal for two calls if, and only if, all parts are equal."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.hexdigest()


def seconds_since(at: str, now: datetime) -> float:
    """Seconds since a time of the journal."""
    return (now - datetime.fromisoformat(at)).total_seconds()
