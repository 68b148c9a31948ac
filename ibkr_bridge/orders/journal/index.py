"""The orders of the last day, and which of them a new call repeats. Pure: the time is passed in.

Orders that are not finished and the latest ones are in memory as records. Of the others there is a small row
(`settled_rows.py`) until a call names one; the repository then reads it from the journal and calls `restore`.

An order has an identity if its caller supplied one, an `Idempotency-Key` or a `cOID`; it is valid for 24 hours, over
restarts too. Without an identity, an identical placement counts as a repeat until the first response was delivered: a
client that sends a call again after a time-out means the same order, one that had a response means another order.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from ibkr_bridge.errors import DuplicateOrder, IdempotencyMismatch, OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.ages import RunAges
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow, SettledRows, names_of
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderState

IDENTITY_TTL_S = 24 * 3600.0  # seconds that an identity is valid; IBKR requires unique cOIDs for as long
MAX_REFUSED = 1000  # orders in memory that were never sent; the journal has them all
MAX_FULL_RECORDS = 2000  # records in memory, and as many more as are not finished; `GET /orders` shows a thousand
SLACK = 100  # records beyond that which become rows together
ANONYMOUS_DUPLICATE_TTL_S = 600.0
"""Seconds after which an identical order of a caller that disconnected is no longer a repeat."""


class OrderIndex:
    """The orders of one profile.

    Args:
        utc: returns the wall-clock time.
        now: returns monotonic seconds; without it, ages come from the wall clock.
    """

    def __init__(self, utc: Callable[[], datetime], now: Callable[[], float] | None = None) -> None:
        self.ages = RunAges(utc, now)
        self._records: OrderedDict[str, OrderRecord] = OrderedDict()
        self.rows = SettledRows()
        self._alive: WeakValueDictionary[str, OrderRecord] = WeakValueDictionary()
        """Records that became rows while other code still uses them: there must be one record of an order."""
        self._last_place = 0
        self._by_key: NameIndex[str] = NameIndex()
        self._by_name: NameIndex[str] = NameIndex()
        self._by_reply: NameIndex[str] = NameIndex()
        self._anonymous: NameIndex[tuple[str, str]] = NameIndex()
        self._refused: deque[OrderRecord] = deque()

    def __repr__(self) -> str:
        return f"<OrderIndex {len(self._records)} orders, {self.rows!r}>"

    def load(self, entries: Iterable[tuple[int, JournalEntry]]) -> None:
        """Apply the entries of earlier runs, each with its number."""
        for number, entry in entries:
            record = self._records.get(entry.order_id)
            if record is None:
                record = self._records[entry.order_id] = OrderRecord(entry.order_id, OrderOperation.PLACE)
                record.place = number
            record.apply(entry)
            self.add_names(record)
        self._refused.extend(each for each in self._records.values() if each.state is OrderState.REFUSED)

    def begin_after(self, number: int) -> None:
        """Give new orders places after those of earlier runs, which have the numbers of their first entries."""
        self._last_place = max(number, self._last_place)

    def add(self, record: OrderRecord) -> None:
        """Add a new order; it can be found by its names from now on."""
        self._evict_old()
        if not record.place:
            self._last_place += 1
            record.place = self._last_place
        self._records[record.id] = record
        self.add_names(record)

    def add_refused(self, record: OrderRecord) -> None:
        """Add an order that was never sent; only the latest `MAX_REFUSED` stay, as a loop can make thousands of
        them.
        """
        self.add(record)
        self._refused.append(record)
        while len(self._refused) > MAX_REFUSED:
            self.remove(self._refused.popleft())

    def remove(self, record: OrderRecord) -> None:
        """Remove an order and its names."""
        self._records.pop(record.id, None)
        self._remove_names(record)
        if (row := self.rows.find(record.place)) is not None and row.id == record.id:
            self.rows.remove(row)

    def compact(self) -> None:
        """Keep only rows of the oldest finished orders, if there are too many records."""
        excess = len(self._records) - MAX_FULL_RECORDS
        if excess < SLACK:
            return
        oldest = list(islice((record for record in self._records.values() if record.is_finished), excess))
        self.rows.add((self._row_of(each, each.state), names_of(each)) for each in oldest if each.state is not None)
        for record in oldest:
            del self._records[record.id]
            self._remove_names(record)
            self._alive[record.id] = record

    def _row_of(self, record: OrderRecord, state: OrderState) -> SettledRow:
        left_at = record.disconnected_at
        return SettledRow(
            *(record.place, record.id, state, self.ages.born(record.created, record.created_mark)),
            self.ages.born(left_at, record.disconnected_mark) if left_at is not None else None,
        )

    def missing(self, record: OrderRecord) -> list[SettledRow]:
        """The rows that must be restored before `find_duplicate` can judge a new call."""
        own, latest = names_of(record), self._anonymous.latest((record.owner, record.fingerprint))
        coids = self.rows.named(Names(coids=record.coids))
        key = self.rows.named(Names(idempotency_digest=own.idempotency_digest), 1)
        anonymous = [] if latest is not None else self.rows.named(Names(anonymous=own.anonymous), 1)
        return [*coids, *key, *anonymous]

    def restore(self, row: SettledRow, entries: Iterable[JournalEntry]) -> bool:
        """Make a record of a row again, of its entries. Returns False if they do not lead to its state."""
        if self.rows.find(row.place) is None:
            return True  # by another call at the same time
        record = self._alive.get(row.id) or OrderRecord.from_entries(entries)
        if record is None or record.state is not row.state:
            return False
        record.place, record.created_mark = row.place, self.ages.mark_of(row.born)
        if row.left_at is not None:
            record.disconnected_mark = self.ages.mark_of(row.left_at)
        if not record.is_delivered and record.disconnected_at is None:
            record.disconnected_at = self.ages.began_at  # the run before ended with its caller connected
        self.rows.remove(row)
        self._records[record.id] = record
        self.add_names(record)
        return True

    def add_names(self, record: OrderRecord) -> None:
        """Index an order by the names it has now; an order that may be sent again gives up its names."""
        is_row = record.id in self._alive and record.id not in self._records
        if is_row and (row := self.rows.find(record.place)) is not None:
            self.rows.remove(row)  # it has changed since: its connection proved to be reset, for example
            self._records[record.id] = record
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
        """Find the record of an order by its id. Of most finished orders there is none."""
        return self._records.get(order)

    def owns_names(self, record: OrderRecord) -> bool:
        """Whether a row with its cOID is its own: a later order may have been placed with the same cOID."""
        if any(each.may_exist for name in record.coids for each in self._by_name.later_than(name, record)):
            return False
        later = (row for row in self.rows.named(Names(coids=record.coids)) if row.place > record.place)
        return not any(row.state is OrderState.PLACED for row in later)

    def earlier_with_coid(self, record: OrderRecord) -> Iterator[OrderRecord]:
        """Other orders with the same cOIDs."""
        for name in record.coids:
            yield from (each for each in self._by_name.all_named(name) if each is not record)

    def figures_of(self, order: str) -> Mapping[str, str]:
        """The figures of the order with this number at IBKR, if it was placed or modified through the bridge; else
        empty.
        """
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

    def find_by_identity(self, idempotency_digest: str | None, coid: str | None) -> OrderRecord | None:
        """Find the order that a call with this Idempotency-Key or this cOID repeats, if it is in memory.

        The cOID of an order that does not exist at IBKR is free again: the call is then a new order.
        """
        by_key = self._if_recent(self._by_key.latest(idempotency_digest)) if idempotency_digest else None
        named = reversed(self._by_name.all_named(coid)) if coid else ()
        return by_key or next((each for each in named if each.may_exist and self._if_recent(each)), None)

    def find_by_reply(self, reply: str) -> OrderRecord | None:
        """Find the order to which a reply was sent."""
        return self._by_reply.latest(reply)

    def newest_first(self) -> Iterator[OrderRecord]:
        """All records, the latest first."""
        return iter(sorted(self._records.values(), key=lambda record: record.place, reverse=True))

    def open_records(self) -> list[OrderRecord]:
        """Orders that are not settled."""
        return [record for record in self._records.values() if record.is_open]

    def unknown_records(self) -> list[OrderRecord]:
        """Orders that the reconciler searches for."""
        return [record for record in self._records.values() if record.state is OrderState.UNKNOWN]

    def counts(self) -> Counter[str]:
        """How many orders are in each state."""
        of_records = Counter(record.state.value for record in self._records.values() if record.state is not None)
        return of_records + Counter({state.value: count for state, count in self.rows.counts.items()})

    def find_duplicate(self, record: OrderRecord, *, unknown_open: bool) -> OrderRecord | None:
        """Find the earlier order that a new call repeats; None if the call is a new order.

        Args:
            record: the new call.
            unknown_open: whether the caller allows another order while an identical one is unknown.

        Raises:
            IdempotencyMismatch, DuplicateOrder: the identity belongs to another call.
            OrderInProgress: the same call is running, or an identical order is unknown.
        """
        earlier = self._if_recent(self._by_key.latest(record.idempotency_digest)) if record.idempotency_digest else None
        if earlier is not None:
            return _check_same_key(earlier, record)
        if record.operation is not OrderOperation.PLACE:
            return None
        same_coid = [
            candidate
            for name in record.coids
            for candidate in self._by_name.all_named(name)
            if self._if_recent(candidate)
        ]
        if same_coid:
            return _check_same_coid(same_coid, record)
        return None if record.has_own_identity else self._anonymous_duplicate(record, unknown_open=unknown_open)

    def _anonymous_duplicate(self, record: OrderRecord, *, unknown_open: bool) -> OrderRecord | None:
        earlier = self._if_recent(self._anonymous.latest((record.owner, record.fingerprint)))
        if earlier is None or not (earlier.may_exist or earlier.state is OrderState.REJECTED):
            return None
        if (
            earlier.in_flight is not None
            and not earlier.in_flight.done.is_set()
            and earlier.in_flight.fingerprint == earlier.fingerprint
        ):
            return earlier
        if earlier.was_unread() or (not earlier.is_delivered and earlier.disconnected_at is None):
            return earlier
        if not earlier.is_delivered and (
            earlier.disconnected_at is None
            or self.ages.seconds_since(earlier.disconnected_at, earlier.disconnected_mark) <= ANONYMOUS_DUPLICATE_TTL_S
        ):
            return earlier
        if earlier.state is OrderState.UNKNOWN and not unknown_open:
            raise OrderInProgress(f"the same order, {earlier.id}, is being searched for", retry_after=5.0)
        return None

    def _if_recent(self, record: OrderRecord | None) -> OrderRecord | None:
        return record if record and (record.is_open or self._is_recent(record)) else None

    def _is_recent(self, record: OrderRecord) -> bool:
        return not record.created or self.ages.seconds_since(record.created, record.created_mark) <= IDENTITY_TTL_S

    def _evict_old(self) -> None:
        """Remove orders that are settled and older than a day."""
        old = []
        for record in self._records.values():  # the oldest first; open orders stay, and there are few of them
            if self._is_recent(record):
                break
            old += [] if record.is_open else [record]
        for record in old:
            self.remove(record)
        self.rows.remove_older(self.ages.elapsed() - IDENTITY_TTL_S)

    def _remove_names(self, record: OrderRecord) -> None:
        self._by_key.remove((record.idempotency_digest or "",), record)
        self._by_name.remove(record.coids, record)
        self._by_reply.remove(record.sent_replies, record)
        self._anonymous.remove(((record.owner, record.fingerprint),), record)


N = TypeVar("N")


class NameIndex(Generic[N]):
    """Orders by a name that several may have had, one after the other; removing one leaves the earlier ones."""

    def __init__(self) -> None:
        self._records: dict[N, list[OrderRecord]] = {}

    def add(self, name: N, record: OrderRecord) -> None:
        """Add an order under a name."""
        records = self._records.setdefault(name, [])
        if record not in records:
            insort(records, record, key=lambda each: each.place)  # a restored order is older than others

    def all_named(self, name: N) -> list[OrderRecord]:
        """All orders of this name, the latest last."""
        return self._records.get(name, [])

    def later_than(self, name: N, record: OrderRecord) -> list[OrderRecord]:
        """The orders that got this name after another order did."""
        records = self.all_named(name)
        return records[records.index(record) + 1 :] if record in records else []

    def latest(self, name: N) -> OrderRecord | None:
        """The latest order of this name."""
        records = self._records.get(name)
        return records[-1] if records else None

    def remove(self, names: Iterable[N], record: OrderRecord) -> None:
        """Remove an order from these names."""
        for name in names:
            records = self._records.get(name, [])
            if record in records:
                records.remove(record)
            if not records:
                self._records.pop(name, None)


def _check_same_key(earlier: OrderRecord, record: OrderRecord) -> OrderRecord:
    if earlier.fingerprint != record.fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used for another call")
    if earlier.in_flight is not None and not earlier.in_flight.done.is_set():
        raise OrderInProgress("the call with this Idempotency-Key is still running", retry_after=1.0)
    return earlier


def _check_same_coid(same_coid: list[OrderRecord], record: OrderRecord) -> OrderRecord | None:
    """The cOID of an order that IBKR refused, or that was never confirmed, can be used again."""
    existing = [each for each in same_coid if each.may_exist or each.settled_by_reconciliation]
    if any(each.fingerprint != record.fingerprint for each in existing):
        raise DuplicateOrder("an order with this cOID but another content was sent within 24 hours")
    return next((each for each in reversed(existing) if each.may_exist), None)
