"""The repository of orders: it keeps the journal on disk, the index in memory and the published events in step.

Nothing else writes to the journal. An entry that must be on disk before a byte is sent changes the index when it is on
disk. An entry about something that has happened changes the index at once, and the disk follows in the same order. An
entry that cannot follow the state of its order is not written, so that the journal has no impossible transition.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from ibkr_bridge import events
from ibkr_bridge.clock import utc_ms
from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.index import IDENTITY_TTL_S, OrderIndex
from ibkr_bridge.orders.journal.order_record import OrderRecord, digest_of_key
from ibkr_bridge.orders.journal.recent_orders import RecentOrders
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow
from ibkr_bridge.orders.journal.transitions import (
    NON_TRANSITIONS,
    ImpossibleTransition,
    JournalEntry,
    OrderEvent,
    OrderState,
)
from ibkr_bridge.orders.journal.writer import JournalWriter, wait_until_done

BRIDGE_ENDED = "the bridge ended before the response came"
BRIDGE_RESTARTED = "the bridge was restarted before the question was answered"
EVENT_CLASSES: Mapping[OrderEvent, type[events.OrderChanged]] = {
    OrderEvent.SENT: events.OrderSent,
    OrderEvent.REFUSED: events.OrderRefused,
    OrderEvent.ASKED: events.OrderQuestioned,
    OrderEvent.CONFIRMED: events.OrderConfirmed,
    OrderEvent.HELD_BACK: events.OrderRefused,
    OrderEvent.DECLINED: events.OrderDeclined,
    OrderEvent.DROPPED: events.OrderSettledNotPlaced,
    OrderEvent.TAKEN: events.OrderPlaced,
    OrderEvent.TURNED_DOWN: events.OrderRejected,
    OrderEvent.LOST: events.OrderLost,
    OrderEvent.FOUND: events.OrderPlaced,
    OrderEvent.MISSED: events.OrderSettledNotPlaced,
    OrderEvent.LEFT: events.OrderResponseUndelivered,
}
NOT_PLACED_STATES = frozenset({OrderState.NOT_PLACED, OrderState.REJECTED})


class OrderRepository:
    """The orders of one profile, on disk and in memory."""

    def __init__(
        self,
        journal: JournalWriter,
        bus: events.Bus,
        utc: Callable[[], datetime],
        now: Callable[[], float] | None = None,
    ) -> None:
        self.journal = journal
        self.index = OrderIndex(utc, now)
        self._bus = bus
        self.utc = utc
        self._on_change: events.Subscribers[OrderRecord] = events.Subscribers("order", bus)
        self._is_loaded = False
        self._recent = RecentOrders(utc(), self.index.ages.born, is_read=True)
        self._reading_rows: asyncio.Task[None] | None = None
        self._behind: dict[str, list[tuple[OrderEvent, Mapping[str, object]]]] = {}
        """By id of an order whose entry is being written: the events since then, which follow that entry."""
        self._written = asyncio.Event()

    def subscribe(self, subscriber: Callable[[OrderRecord], None]) -> None:
        """Call a function whenever an order changes its state. One that raises is reported and stops no other."""
        self._on_change.subscribe(subscriber)

    def new_id(self) -> str:
        """An unused id: the time in milliseconds and a random number, 20 hexadecimal digits."""
        return f"{utc_ms(self.utc()):011x}{random.getrandbits(36):09x}"  # an id, not a secret

    async def load(self) -> list[str]:
        """Read the entries of earlier runs; an order that was being sent is unknown from now on. Later calls do
        nothing.

        Returns:
            Reply ids of open questions: they have to be declined.

        Raises:
            JournalUnavailable: it cannot be read; the existing orders are then not known, so no order may be sent.
        """
        if self._is_loaded:
            return []
        recent = RecentOrders(self.utc() - timedelta(seconds=IDENTITY_TTL_S), self.index.ages.born)
        rows = await self.journal.read_recent(recent)
        if self._is_loaded:  # by another call at the same time
            return []
        self.index.load((number, entry) for number, entry, _ in rows)
        self.index.begin_after(recent.last_number)
        self._recent, self._is_loaded = recent, True
        with_question = [record for record in self.index.open_records() if record.state is OrderState.QUESTION]
        for record in list(self.index.newest_first()):
            self._restore(record)
            self._on_change.notify(record)
        self._read_rows_later()
        return [reply for record in with_question for reply in record.reply_ids]

    def _read_rows_later(self) -> asyncio.Task[None]:
        """Read the rows of the earlier runs, unless that is being done."""
        if self._reading_rows is None or self._reading_rows.done():
            self._reading_rows = asyncio.create_task(self._read_rows())  # outlives each call that waits for the rows
        return self._reading_rows

    async def _read_rows(self) -> None:
        with suppress(JournalUnavailable):  # reported already; the next call that needs the rows reads on
            while not self._recent.is_read:
                self.index.rows.add(await self.journal.read_settled(self._recent))

    @property
    def knows_all_orders(self) -> bool:
        """Whether the orders of the earlier runs have been read."""
        return self._recent.is_read

    async def wait_for_rows(self) -> None:
        """Wait until all orders of the earlier runs are known.

        Raises:
            JournalUnavailable: they cannot be read.
        """
        if not self._recent.is_read:
            await asyncio.shield(self._read_rows_later())
        if not self._recent.is_read:
            raise JournalUnavailable("the orders of the last day cannot be read from the journal")

    def _restore(self, record: OrderRecord) -> None:
        if record.state is OrderState.SENDING:
            self.append_eventually(
                record, OrderEvent.LOST, {"error": BRIDGE_ENDED, "request": record.request_id, "restart": True}
            )
        elif record.state is OrderState.QUESTION:
            self.end_question(record, OrderEvent.DECLINED, {"error": BRIDGE_RESTARTED})
        elif record.state is OrderState.UNKNOWN:
            record.interrupted_by_restart = True
        if not record.is_delivered and record.disconnected_at is None and record.state is not OrderState.REFUSED:
            self.append_eventually(record, OrderEvent.LEFT, {"error": BRIDGE_ENDED})

    async def find_duplicate(self, record: OrderRecord, *, unknown_open: bool) -> OrderRecord | None:
        """See `OrderIndex.find_duplicate`; orders that must be compared are read from the journal.

        Raises:
            JournalUnavailable: it cannot be read, so it is not known whether the order is new.
        """
        if record.operation is OrderOperation.PLACE or record.idempotency_digest:
            await self.wait_for_rows()
        while rows := self.index.missing(record):
            await self._restore_rows(rows)
        return self.index.find_duplicate(record, unknown_open=unknown_open)

    async def restore_named(self, names: Names) -> None:
        """Read the latest orders with these names from the journal, if they are only rows.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        await self.wait_for_rows()
        while rows := self.index.rows.named(names, 1):
            await self._restore_rows(rows)

    async def find_by_identity(self, idempotency_key: str | None, coid: str | None) -> OrderRecord | None:
        """The order of the last day that a call with this Idempotency-Key or this cOID repeats.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        key = digest_of_key(idempotency_key)
        await self.restore_named(Names(idempotency_digest=key))
        await self.restore_named(Names(coids=(coid,) if coid else ()))
        return self.index.find_by_identity(key, coid)

    async def newest(self, state: OrderState | None, limit: int) -> list[OrderRecord]:
        """The latest orders, of one state or of all, the latest first.

        Raises:
            JournalUnavailable: some of them must be read from the journal, and it cannot be read.
        """
        records = (each for each in self.index.newest_first() if each.state is not None and state in (None, each.state))
        newest: list[OrderRecord | SettledRow] = list(islice(records, limit))
        if len(newest) < limit:
            await self.wait_for_rows()
        newest += self.index.rows.newest_first(state, limit)
        newest = sorted(newest, key=lambda each: each.place, reverse=True)[:limit]
        rows = {each.id for each in newest if isinstance(each, SettledRow)}
        entries = await self._entries_of(list(rows)) if rows else {}
        found = (OrderRecord.from_entries(entries.get(each.id, ())) if each.id in rows else each for each in newest)
        return [each for each in found if isinstance(each, OrderRecord)]

    async def _restore_rows(self, rows: list[SettledRow]) -> None:
        entries = await self._entries_of([row.id for row in rows])
        for row in rows:
            if not self.index.restore(row, entries.get(row.id, ())):
                raise JournalUnavailable("the journal of orders does not have an earlier order as it was written")

    async def _entries_of(self, orders: list[str]) -> dict[str, list[JournalEntry]]:
        entries: dict[str, list[JournalEntry]] = {}
        for _, entry, _ in await self.journal.read_orders(orders):
            entries.setdefault(entry.order_id, []).append(entry)
        return entries

    def end_question(self, record: OrderRecord, what: OrderEvent, facts: Mapping[str, object]) -> bool:
        """End a question that was not confirmed: it places nothing. If a part was placed already, the reconciler
        searches for it.
        """
        return self.append_eventually(
            record, OrderEvent.LOST if record.order_ids else what, {**facts, "request": record.request_id}
        )

    async def append(self, record: OrderRecord, what: OrderEvent, facts: Mapping[str, object]) -> None:
        """Write an entry and wait until it is on disk.

        A caller that is cancelled still waits for the disk: only then is it known whether the entry is written, and the
        caller has to record the outcome.

        Raises:
            JournalUnavailable: it cannot be written; nothing may be sent.
        """
        entry = self.journal.new_entry(record.id, what, record.next_state(what), facts)
        self._behind[record.id] = []
        writing = self.journal.append(entry)
        is_cancelled = await wait_until_done(writing)
        queued, failure = self._behind.pop(record.id), writing.exception()
        self._written.set()
        if failure is None:
            record.apply(entry, self.index.ages.mark())
            self._publish(record, what, None)
        for later in queued:
            self.append_eventually(record, *later)
        if is_cancelled:
            raise asyncio.CancelledError
        writing.result()

    async def close(self) -> None:
        """Stop reading rows, wait for the entries that are being written and those that follow them, and close the
        journal.
        """
        if self._reading_rows is not None:
            self._reading_rows.cancel()
            await asyncio.wait((self._reading_rows,))
        while self._behind:
            self._written.clear()
            await self._written.wait()
        await self.journal.close()

    def is_writing(self, record: OrderRecord) -> bool:
        """Whether an entry of this order is being written."""
        return record.id in self._behind

    def append_eventually(self, record: OrderRecord, what: OrderEvent, facts: Mapping[str, object]) -> bool:
        """Write an entry about something that has happened. Returns whether it could follow the order's state.

        While another entry of the same order is being written, its next state is not known: the new entry follows
        later, if it can.
        """
        if record.id in self._behind:
            self._behind[record.id].append((what, facts))
            return True
        previous_state = record.state
        try:
            entry = self.journal.new_entry(record.id, what, record.next_state(what), facts)
        except ImpossibleTransition:
            return False
        self.journal.append_eventually(entry)
        record.apply(entry, self.index.ages.mark())
        self._publish(record, what, previous_state)
        return True

    def _publish(self, record: OrderRecord, what: OrderEvent, previous_state: OrderState | None) -> None:
        self.index.add_names(record)
        is_late = previous_state in NOT_PLACED_STATES and record.state is OrderState.PLACED
        kind = events.OrderPlacedLate if is_late else EVENT_CLASSES.get(what)
        if kind is not None and not (what is OrderEvent.LEFT and record.error == BRIDGE_ENDED):
            order_id = record.order_ids[0] if record.order_ids else None
            state = record.state.value if record.state else ""
            self._bus.publish(kind(record.id, record.request_id, record.operation.value, state, order_id, record.error))
        if what not in NON_TRANSITIONS:
            self._on_change.notify(record)
        if self.journal.problem is None:  # else the entries of finished orders may be in memory only
            self.index.compact()
