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
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.journal.order_record import Record, seconds_since
from ibkr_bridge.orders.journal.transitions import Entry, State

REMEMBERED = 24 * 3600.0  # seconds an identity holds; IBKR keeps a cOID unique for as long
REFUSED_KEPT = 1000  # orders that never left, in memory; the journal has them all
TWIN_FOR = 600.0  # seconds after which a caller who went away is not taken to send the same order again


class Register:
    """The orders of one line.

    Args:
        utc: the wall's time.
    """

    def __init__(self, utc: Callable[[], datetime]) -> None:
        self._utc = utc
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._by_key: Index[str] = Index()
        self._by_name: Index[str] = Index()
        self._by_reply: Index[str] = Index()
        self._twins: Index[tuple[str, str]] = Index()
        self._refused: deque[Record] = deque()

    def __repr__(self) -> str:
        return f"<Register {len(self._records)} orders>"

    def load(self, entries: Iterable[Entry]) -> None:
        """Take up what earlier runs wrote."""
        for entry in entries:
            record = self._records.get(entry.order)
            if record is None:
                record = self._records[entry.order] = Record(entry.order, Order.PLACE)
            record.apply(entry)
            self.index(record)

    def add(self, record: Record) -> None:
        """An order begins; it can be found by its names from now on."""
        self._forget_old()
        self._records[record.id] = record
        self.index(record)

    def refused(self, record: Record) -> None:
        """One that never left: it is listed for a while, and lets older ones go, as a loop makes thousands of them."""
        self.add(record)
        self._refused.append(record)
        while len(self._refused) > REFUSED_KEPT:
            self.drop(self._refused.popleft())

    def drop(self, record: Record) -> None:
        """It never was."""
        self._records.pop(record.id, None)
        self._unname(record)

    def index(self, record: Record) -> None:
        """Find it by whatever names it has now; one that never left keeps none of them."""
        if record.is_new_again:
            self._unname(record)
            return
        if record.idempotency:
            self._by_key.add(record.idempotency, record)
        for name in record.names if record.kind is Order.PLACE else ():
            self._by_name.add(name, record)
        for reply in record.replied:
            self._by_reply.add(reply, record)
        if record.kind is Order.PLACE and not record.own_name:
            self._twins.add((record.owner, record.fingerprint), record)

    def find(self, order: str) -> Record | None:
        """An order by its id."""
        return self._records.get(order)

    def has_name(self, record: Record) -> bool:
        """Whether what is found under its names is its own: it may have been sent anew under them, with success."""
        return not any(each.may_exist for name in record.names for each in self._by_name.after(name, record))

    def before(self, record: Record) -> Iterator[Record]:
        """Earlier orders of the same names."""
        for name in record.names:
            yield from (each for each in self._by_name.all(name) if each is not record)

    def figures_of(self, order: str) -> Mapping[str, str]:
        """The figures an order of IBKR's number has, as far as it was placed and changed here; none where unknown."""
        for record in self.newest():
            about = order in record.order_ids if record.kind is Order.PLACE else record.wanted.get("order") == order
            figures = record.wanted.get("figures")
            if about and record.state is State.PLACED and isinstance(figures, dict):
                return figures
        return {}

    def by_reply(self, reply: str) -> Record | None:
        """The order a reply was sent for."""
        return self._by_reply.last(reply)

    def newest(self) -> Iterator[Record]:
        """All of them, the latest first."""
        return reversed(self._records.values())

    def open_ones(self) -> list[Record]:
        """Those that are not settled."""
        return [record for record in self._records.values() if record.is_open]

    def unknown(self) -> list[Record]:
        """Those that are being looked for."""
        return [record for record in self._records.values() if record.state is State.UNKNOWN]

    def counts(self) -> Counter[str]:
        """How many are in which state."""
        return Counter(record.state.value for record in self._records.values() if record.state is not None)

    def same(self, record: Record, *, unknown_open: bool) -> Record | None:
        """The earlier order that a new call is, if it is one.

        Args:
            record: the new call.
            unknown_open: whether the caller wants another one although its twin is being looked for.

        Raises:
            IdempotencyMismatch, DuplicateOrder: its identity belongs to another call.
            OrderInProgress: the same call is under way, or its twin is being looked for.
        """
        earlier = self._fresh(self._by_key.last(record.idempotency)) if record.idempotency else None
        if earlier is not None:
            return _same_key(earlier, record)
        if record.kind is not Order.PLACE:
            return None
        named = [found for name in record.names for found in self._by_name.all(name) if self._fresh(found)]
        if named:
            return _same_name(named, record)
        return None if record.own_name else self._twin(record, unknown_open=unknown_open)

    def _twin(self, record: Record, *, unknown_open: bool) -> Record | None:
        twin = self._fresh(self._twins.last((record.owner, record.fingerprint)))
        if twin is None or not (twin.may_exist or twin.state is State.REJECTED):
            return None
        if twin.flight is not None and not twin.flight.done.is_set() and twin.flight.fingerprint == twin.fingerprint:
            return twin
        if twin.unread() or (not twin.heard and twin.left is None):
            return twin
        if not twin.heard and (twin.left is None or seconds_since(twin.left, self._utc()) <= TWIN_FOR):
            return twin
        if twin.state is State.UNKNOWN and not unknown_open:
            raise OrderInProgress(f"the same order, {twin.id}, is being looked for", retry_after=5.0)
        return None

    def _fresh(self, record: Record | None) -> Record | None:
        return record if record and (record.is_open or self._is_recent(record)) else None

    def _is_recent(self, record: Record) -> bool:
        return not record.created or seconds_since(record.created, self._utc()) <= REMEMBERED

    def _forget_old(self) -> None:
        """Let go of what is settled and older than a day."""
        old = []
        for record in self._records.values():  # the oldest first; what is open stays, and there is little of it
            if self._is_recent(record):
                break
            old += [] if record.is_open else [record]
        for record in old:
            self.drop(record)

    def _unname(self, record: Record) -> None:
        self._by_key.drop((record.idempotency or "",), record)
        self._by_name.drop(record.names, record)
        self._by_reply.drop(record.replied, record)
        self._twins.drop(((record.owner, record.fingerprint),), record)


N = TypeVar("N")


class Index(Generic[N]):
    """Orders by a name several of them may have had, one after the other: one that goes leaves those before it."""

    def __init__(self) -> None:
        self._known: dict[N, list[Record]] = {}

    def add(self, name: N, record: Record) -> None:
        """It has this name, too."""
        known = self._known.setdefault(name, [])
        if record not in known:
            known.append(record)

    def all(self, name: N) -> list[Record]:
        """All that have it, the latest last."""
        return self._known.get(name, [])

    def after(self, name: N, record: Record) -> list[Record]:
        """Those that had it later than another one did."""
        known = self.all(name)
        return known[known.index(record) + 1 :] if record in known else []

    def last(self, name: N) -> Record | None:
        """The latest that has it."""
        known = self._known.get(name)
        return known[-1] if known else None

    def drop(self, names: Iterable[N], record: Record) -> None:
        """It has none of these names any more."""
        for name in names:
            known = self._known.get(name, [])
            if record in known:
                known.remove(record)
            if not known:
                self._known.pop(name, None)


def _same_key(earlier: Record, record: Record) -> Record:
    if earlier.fingerprint != record.fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used for another call")
    if earlier.flight is not None and not earlier.flight.done.is_set():
        raise OrderInProgress("the call with this Idempotency-Key is still running", retry_after=1.0)
    return earlier


def _same_name(named: list[Record], record: Record) -> Record | None:
    """Names of orders that IBKR turned down, or that were never confirmed, are free again."""
    taken = [each for each in named if each.may_exist or each.settled_by_search]
    if any(each.fingerprint != record.fingerprint for each in taken):
        raise DuplicateOrder("an order of this cOID was sent within 24 hours, with another content")
    return next((each for each in reversed(taken) if each.may_exist), None)
