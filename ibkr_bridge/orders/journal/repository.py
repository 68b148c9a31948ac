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
from ibkr_bridge.orders.journal.index import REMEMBERED, Register
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.journal.transitions import ASIDE, ImpossibleError, State, What
from ibkr_bridge.orders.journal.writer import JournalWriter, wait_out

PREFIX = "brdg-"  # of the cOIDs we give
ENDED = "the bridge ended before the answer came"
RESTARTED = "the bridge was started anew before it was answered"
SAID: Mapping[What, type[events.OrderFact]] = {
    What.SENT: events.OrderSent,
    What.REFUSED: events.OrderRefused,
    What.ASKED: events.OrderQuestioned,
    What.CONFIRMED: events.OrderConfirmed,
    What.HELD_BACK: events.OrderRefused,
    What.DECLINED: events.OrderDeclined,
    What.DROPPED: events.OrderNotPlaced,
    What.TAKEN: events.OrderPlaced,
    What.TURNED_DOWN: events.OrderRejected,
    What.LOST: events.OrderLost,
    What.FOUND: events.OrderPlaced,
    What.MISSED: events.OrderNotPlaced,
    What.LEFT: events.OrderUnheard,
}
SETTLED_OTHERWISE = frozenset({State.NOT_PLACED, State.REJECTED})


class Book:
    """The orders of one line, on disk and in memory."""

    def __init__(self, journal: JournalWriter, bus: events.Bus, utc: Callable[[], datetime]) -> None:
        self.journal = journal
        self.register = Register(utc)
        self._bus = bus
        self.utc = utc
        self._watchers: list[Callable[[Record], None]] = []
        self._is_loaded = False
        self._behind: dict[str, list[tuple[What, Mapping[str, object]]]] = {}
        """By order whose entry is being written: what happened to it meanwhile, and follows that entry."""
        self._written = asyncio.Event()

    def watch(self, watcher: Callable[[Record], None]) -> None:
        """Be told of every order that moves."""
        self._watchers.append(watcher)

    def fresh_id(self) -> str:
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
        since = (self.utc() - timedelta(seconds=REMEMBERED)).isoformat(timespec="microseconds")
        rows = await self.journal.recent(since)
        if self._is_loaded:  # by somebody who asked at the same time
            return []
        self.register.load(entry for _, entry, _ in rows)
        self._is_loaded = True
        asking = [record for record in self.register.open_ones() if record.state is State.QUESTION]
        for record in list(self.register.newest()):
            self._taken_up(record)
            self._moved(record)
        return [reply for record in asking for reply in record.asked]

    def _taken_up(self, record: Record) -> None:
        if record.state is State.SENDING:
            self.note(record, What.LOST, {"error": ENDED, "request": record.request, "restart": True})
        elif record.state is State.QUESTION:
            self.end_question(record, What.DECLINED, {"error": RESTARTED})
        elif record.state is State.UNKNOWN:
            record.over_restart = True
        if not record.heard and record.left is None and record.state is not State.REFUSED:
            self.note(record, What.LEFT, {"error": ENDED})

    def end_question(self, record: Record, what: What, facts: Mapping[str, object]) -> bool:
        """A question ends unconfirmed: nothing is placed by it. What was placed beside it has to be looked for."""
        return self.note(record, What.LOST if record.order_ids else what, {**facts, "request": record.request})

    async def write(self, record: Record, what: What, facts: Mapping[str, object]) -> None:
        """Have a fact on disk before anything else happens.

        A caller that is cancelled waits for the disk all the same: only then it is known whether the fact stands, and
        whoever wrote it has to say what became of it.

        Raises:
            JournalDown: it cannot be; nothing must leave.
        """
        entry = self.journal.entry(record.id, what, record.next_state(what), facts)
        self._behind[record.id] = []
        writing = self.journal.write(entry)
        is_cancelled = await wait_out(writing)
        behind, failure = self._behind.pop(record.id), writing.exception()
        self._written.set()
        if failure is None:
            record.apply(entry)
            self._told(record, what, None)
        for later in behind:
            self.note(record, *later)
        if is_cancelled:
            raise asyncio.CancelledError
        writing.result()

    async def close(self) -> None:
        """Wait for what is being written, and for what is said of it then; let go of the journal."""
        while self._behind:
            self._written.clear()
            await self._written.wait()
        await self.journal.close()

    def is_writing(self, record: Record) -> bool:
        """Whether an entry of this order is on its way to the disk."""
        return record.id in self._behind

    def note(self, record: Record, what: What, facts: Mapping[str, object]) -> bool:
        """Keep something that has happened; says whether it could follow what the order is.

        While an entry of the same order is being written nobody knows what it will be: it follows then, if it can.
        """
        if record.id in self._behind:
            self._behind[record.id].append((what, facts))
            return True
        was = record.state
        try:
            entry = self.journal.entry(record.id, what, record.next_state(what), facts)
        except ImpossibleError:
            return False
        self.journal.note(entry)
        record.apply(entry)
        self._told(record, what, was)
        return True

    def _told(self, record: Record, what: What, was: State | None) -> None:
        self.register.index(record)
        late = was in SETTLED_OTHERWISE and record.state is State.PLACED
        kind = events.OrderPlacedLate if late else SAID.get(what)
        if kind is not None and not (what is What.LEFT and record.error == ENDED):
            order_id = record.order_ids[0] if record.order_ids else None
            state = record.state.value if record.state else ""
            self._bus.announce(kind(record.id, record.request, record.kind.value, state, order_id, record.error))
        if what not in ASIDE:
            self._moved(record)

    def _moved(self, record: Record) -> None:
        for watcher in self._watchers:
            watcher(record)
