"""Where orders are written down: the journal on disk, the register in memory, and a word to everybody, always together.

Nothing else writes to the journal. What must stand before a byte leaves changes the memory when the disk has it; what
has happened changes it at once, and the disk follows in the same order. A fact that cannot follow what an order is
already is dropped here with an alarm rather than written: the journal tells no impossible story.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from ibkr_bridge import events
from ibkr_bridge.clock import utc_ms
from ibkr_bridge.orders.journal.index import IDENTITY_TTL_S, OrderIndex
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import NON_TRANSITIONS, ImpossibleTransition, OrderEvent, OrderState
from ibkr_bridge.orders.journal.writer import JournalWriter, wait_until_done

COID_PREFIX = "brdg-"  # of the cOIDs we give
BRIDGE_ENDED = "the bridge ended before the answer came"
BRIDGE_RESTARTED = "the bridge was started anew before it was answered"
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
    """The orders of one line, on disk and in memory."""

    def __init__(self, journal: JournalWriter, bus: events.Bus, utc: Callable[[], datetime]) -> None:
        self.journal = journal
        self.index = OrderIndex(utc)
        self._bus = bus
        self.utc = utc
        self._watchers: list[Callable[[OrderRecord], None]] = []
        self._is_loaded = False
        self._behind: dict[str, list[tuple[OrderEvent, Mapping[str, object]]]] = {}
        """By order whose entry is being written: what happened to it meanwhile, and follows that entry."""
        self._written = asyncio.Event()

    def subscribe(self, watcher: Callable[[OrderRecord], None]) -> None:
        """Be told of every order that moves."""
        self._watchers.append(watcher)

    def new_id(self) -> str:
        """An id nobody has: the time in milliseconds and chance, 20 hexadecimal digits."""
        return f"{utc_ms(self.utc()):011x}{random.getrandbits(36):09x}"  # it names and guards nothing

    async def load(self) -> list[str]:
        """Take up what earlier runs wrote; what was under way then is unknown from now on. Once it has, no more.

        Returns:
            Ids of questions that hung: they are to be declined.

        Raises:
            JournalDown: it cannot be read; without it nobody knows which orders there are, so none may leave.
        """
        if self._is_loaded:
            return []
        since = (self.utc() - timedelta(seconds=IDENTITY_TTL_S)).isoformat(timespec="microseconds")
        rows = await self.journal.read_recent(since)
        if self._is_loaded:  # by somebody who asked at the same time
            return []
        self.index.load(entry for _, entry, _ in rows)
        self._is_loaded = True
        asking = [record for record in self.index.open_records() if record.state is OrderState.QUESTION]
        for record in list(self.index.newest_first()):
            self._restore(record)
            self._notify(record)
        return [reply for record in asking for reply in record.reply_ids]

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

    def end_question(self, record: OrderRecord, what: OrderEvent, facts: Mapping[str, object]) -> bool:
        """A question ends unconfirmed: nothing is placed by it. What was placed beside it has to be looked for."""
        return self.append_eventually(
            record, OrderEvent.LOST if record.order_ids else what, {**facts, "request": record.request_id}
        )

    async def append(self, record: OrderRecord, what: OrderEvent, facts: Mapping[str, object]) -> None:
        """Have a fact on disk before anything else happens.

        A caller that is cancelled waits for the disk all the same: only then it is known whether the fact stands, and
        whoever wrote it has to say what became of it.

        Raises:
            JournalDown: it cannot be; nothing must leave.
        """
        entry = self.journal.new_entry(record.id, what, record.next_state(what), facts)
        self._behind[record.id] = []
        writing = self.journal.append(entry)
        is_cancelled = await wait_until_done(writing)
        behind, failure = self._behind.pop(record.id), writing.exception()
        self._written.set()
        if failure is None:
            record.apply(entry)
            self._publish(record, what, None)
        for later in behind:
            self.append_eventually(record, *later)
        if is_cancelled:
            raise asyncio.CancelledError
        writing.result()

    async def close(self) -> None:
        """Wait for what is being written, and for what is said of it then; let go of the journal."""
        while self._behind:
            self._written.clear()
            await self._written.wait()
        await self.journal.close()

    def is_writing(self, record: OrderRecord) -> bool:
        """Whether an entry of this order is on its way to the disk."""
        return record.id in self._behind

    def append_eventually(self, record: OrderRecord, what: OrderEvent, facts: Mapping[str, object]) -> bool:
        """Keep something that has happened; says whether it could follow what the order is.

        While an entry of the same order is being written nobody knows what it will be: it follows then, if it can.
        """
        if record.id in self._behind:
            self._behind[record.id].append((what, facts))
            return True
        was = record.state
        try:
            entry = self.journal.new_entry(record.id, what, record.next_state(what), facts)
        except ImpossibleTransition:
            return False
        self.journal.append_eventually(entry)
        record.apply(entry)
        self._publish(record, what, was)
        return True

    def _publish(self, record: OrderRecord, what: OrderEvent, was: OrderState | None) -> None:
        self.index.add_names(record)
        late = was in NOT_PLACED_STATES and record.state is OrderState.PLACED
        kind = events.OrderPlacedLate if late else EVENT_CLASSES.get(what)
        if kind is not None and not (what is OrderEvent.LEFT and record.error == BRIDGE_ENDED):
            order_id = record.order_ids[0] if record.order_ids else None
            state = record.state.value if record.state else ""
            self._bus.publish(kind(record.id, record.request_id, record.operation.value, state, order_id, record.error))
        if what not in NON_TRANSITIONS:
            self._notify(record)

    def _notify(self, record: OrderRecord) -> None:
        for watcher in self._watchers:
            watcher(record)
