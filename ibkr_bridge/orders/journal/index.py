"""What is known of the orders of the last day, and which of them a new call is. Pure: told the time.

An order has an identity where its caller gave it one, an `Idempotency-Key` or a `cOID`; it keeps it for 24 hours, over
restarts too. A placement without either is its own twin for as long as nobody has had its answer: clients that send a
call again on a time-out mean the same order, those that had an answer mean another one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Generic, TypeVar

from ibkr_bridge.errors import DuplicateOrder, IdempotencyMismatch, OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord, seconds_since
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderState

IDENTITY_TTL_S = 24 * 3600.0  # seconds an identity holds; IBKR keeps a cOID unique for as long
MAX_REFUSED = 1000  # orders that never left, in memory; the journal has them all
ANONYMOUS_DUPLICATE_TTL_S = (
    600.0  # seconds after which a caller who went away is not taken to send the same order again
)


class OrderIndex:
    """The orders of one line.

    Args:
        utc: the wall's time.
    """

    def __init__(self, utc: Callable[[], datetime]) -> None:
        self._utc = utc
        self._records: OrderedDict[str, OrderRecord] = OrderedDict()
        self._by_key: NameIndex[str] = NameIndex()
        self._by_name: NameIndex[str] = NameIndex()
        self._by_reply: NameIndex[str] = NameIndex()
        self._anonymous: NameIndex[tuple[str, str]] = NameIndex()
        self._refused: deque[OrderRecord] = deque()

    def __repr__(self) -> str:
        return f"<OrderIndex {len(self._records)} orders>"

    def load(self, entries: Iterable[JournalEntry]) -> None:
        """Take up what earlier runs wrote."""
        for entry in entries:
            record = self._records.get(entry.order_id)
            if record is None:
                record = self._records[entry.order_id] = OrderRecord(entry.order_id, OrderOperation.PLACE)
            record.apply(entry)
            self.add_names(record)

    def add(self, record: OrderRecord) -> None:
        """An order begins; it can be found by its names from now on."""
        self._evict_old()
        self._records[record.id] = record
        self.add_names(record)

    def add_refused(self, record: OrderRecord) -> None:
        """One that never left: it is listed for a while, and lets older ones go, as a loop makes thousands of them."""
        self.add(record)
        self._refused.append(record)
        while len(self._refused) > MAX_REFUSED:
            self.remove(self._refused.popleft())

    def remove(self, record: OrderRecord) -> None:
        """It never was."""
        self._records.pop(record.id, None)
        self._remove_names(record)

    def add_names(self, record: OrderRecord) -> None:
        """Find it by whatever names it has now; one that never left keeps none of them."""
        if record.may_be_sent_again:
            self._remove_names(record)
            return
        if record.idempotency_digest:
            self._by_key.add(record.idempotency_digest, record)
        for name in record.coids if record.operation is OrderOperation.PLACE else ():
            self._by_name.add(name, record)
        for reply in record.sent_replies:
            self._by_reply.add(reply, record)
        if record.operation is OrderOperation.PLACE and not record.has_own_identity:
            self._anonymous.add((record.owner, record.fingerprint), record)

    def find(self, order: str) -> OrderRecord | None:
        """An order by its id."""
        return self._records.get(order)

    def owns_names(self, record: OrderRecord) -> bool:
        """Whether what is found under its names is its own: it may have been sent anew under them, with success."""
        return not any(each.may_exist for name in record.coids for each in self._by_name.later_than(name, record))

    def earlier_with_coid(self, record: OrderRecord) -> Iterator[OrderRecord]:
        """Earlier orders of the same names."""
        for name in record.coids:
            yield from (each for each in self._by_name.all_named(name) if each is not record)

    def figures_of(self, order: str) -> Mapping[str, str]:
        """The figures an order of IBKR's number has, as far as it was placed and changed here; none where unknown."""
        for record in self.newest_first():
            about = (
                order in record.order_ids
                if record.operation is OrderOperation.PLACE
                else record.match_criteria.get("order") == order
            )
            figures = record.match_criteria.get("figures")
            if about and record.state is OrderState.PLACED and isinstance(figures, dict):
                return figures
        return {}

    def find_by_reply(self, reply: str) -> OrderRecord | None:
        """The order a reply was sent for."""
        return self._by_reply.latest(reply)

    def newest_first(self) -> Iterator[OrderRecord]:
        """All of them, the latest first."""
        return reversed(self._records.values())

    def open_records(self) -> list[OrderRecord]:
        """Those that are not settled."""
        return [record for record in self._records.values() if record.is_open]

    def unknown_records(self) -> list[OrderRecord]:
        """Those that are being looked for."""
        return [record for record in self._records.values() if record.state is OrderState.UNKNOWN]

    def counts(self) -> Counter[str]:
        """How many are in which state."""
        return Counter(record.state.value for record in self._records.values() if record.state is not None)

    def find_duplicate(self, record: OrderRecord, *, unknown_open: bool) -> OrderRecord | None:
        """The earlier order that a new call is, if it is one.

        Args:
            record: the new call.
            unknown_open: whether the caller wants another one although its twin is being looked for.

        Raises:
            IdempotencyMismatch, DuplicateOrder: its identity belongs to another call.
            OrderInProgress: the same call is under way, or its twin is being looked for.
        """
        earlier = self._if_recent(self._by_key.latest(record.idempotency_digest)) if record.idempotency_digest else None
        if earlier is not None:
            return _check_same_key(earlier, record)
        if record.operation is not OrderOperation.PLACE:
            return None
        named = [found for name in record.coids for found in self._by_name.all_named(name) if self._if_recent(found)]
        if named:
            return _check_same_coid(named, record)
        return None if record.has_own_identity else self._anonymous_duplicate(record, unknown_open=unknown_open)

    def _anonymous_duplicate(self, record: OrderRecord, *, unknown_open: bool) -> OrderRecord | None:
        twin = self._if_recent(self._anonymous.latest((record.owner, record.fingerprint)))
        if twin is None or not (twin.may_exist or twin.state is OrderState.REJECTED):
            return None
        if (
            twin.in_flight is not None
            and not twin.in_flight.done.is_set()
            and twin.in_flight.fingerprint == twin.fingerprint
        ):
            return twin
        if twin.was_unread() or (not twin.is_delivered and twin.disconnected_at is None):
            return twin
        if not twin.is_delivered and (
            twin.disconnected_at is None
            or seconds_since(twin.disconnected_at, self._utc()) <= ANONYMOUS_DUPLICATE_TTL_S
        ):
            return twin
        if twin.state is OrderState.UNKNOWN and not unknown_open:
            raise OrderInProgress(f"the same order, {twin.id}, is being looked for", retry_after=5.0)
        return None

    def _if_recent(self, record: OrderRecord | None) -> OrderRecord | None:
        return record if record and (record.is_open or self._is_recent(record)) else None

    def _is_recent(self, record: OrderRecord) -> bool:
        return not record.created or seconds_since(record.created, self._utc()) <= IDENTITY_TTL_S

    def _evict_old(self) -> None:
        """Let go of what is settled and older than a day."""
        old = []
        for record in self._records.values():  # the oldest first; what is open stays, and there is little of it
            if self._is_recent(record):
                break
            old += [] if record.is_open else [record]
        for record in old:
            self.remove(record)

    def _remove_names(self, record: OrderRecord) -> None:
        self._by_key.remove((record.idempotency_digest or "",), record)
        self._by_name.remove(record.coids, record)
        self._by_reply.remove(record.sent_replies, record)
        self._anonymous.remove(((record.owner, record.fingerprint),), record)


N = TypeVar("N")


class NameIndex(Generic[N]):
    """Orders by a name several of them may have had, one after the other: one that goes leaves those before it."""

    def __init__(self) -> None:
        self._known: dict[N, list[OrderRecord]] = {}

    def add(self, name: N, record: OrderRecord) -> None:
        """It has this name, too."""
        known = self._known.setdefault(name, [])
        if record not in known:
            known.append(record)

    def all_named(self, name: N) -> list[OrderRecord]:
        """All that have it, the latest last."""
        return self._known.get(name, [])

    def later_than(self, name: N, record: OrderRecord) -> list[OrderRecord]:
        """Those that had it later than another one did."""
        known = self.all_named(name)
        return known[known.index(record) + 1 :] if record in known else []

    def latest(self, name: N) -> OrderRecord | None:
        """The latest that has it."""
        known = self._known.get(name)
        return known[-1] if known else None

    def remove(self, names: Iterable[N], record: OrderRecord) -> None:
        """It has none of these names any more."""
        for name in names:
            known = self._known.get(name, [])
            if record in known:
                known.remove(record)
            if not known:
                self._known.pop(name, None)


def _check_same_key(earlier: OrderRecord, record: OrderRecord) -> OrderRecord:
    if earlier.fingerprint != record.fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used for another call")
    if earlier.in_flight is not None and not earlier.in_flight.done.is_set():
        raise OrderInProgress("the call with this Idempotency-Key is still running", retry_after=1.0)
    return earlier


def _check_same_coid(named: list[OrderRecord], record: OrderRecord) -> OrderRecord | None:
    """Names of orders that IBKR turned down, or that were never confirmed, are free again."""
    taken = [each for each in named if each.may_exist or each.settled_by_reconciliation]
    if any(each.fingerprint != record.fingerprint for each in taken):
        raise DuplicateOrder("an order of this cOID was sent within 24 hours, with another content")
    return next((each for each in reversed(taken) if each.may_exist), None)
