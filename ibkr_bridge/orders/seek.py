"""Looks for orders whose answer was lost, until IBKR shows what became of them.

Every look is a fresh list of orders and one of trades, asked as politely as anything else, and only while the session
is ready. What is found is settled at once; what is not there is believed only after five minutes, as the Gateway may
still have it in its queue. It is looked for a few times more even then, and every list that callers ask for is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from ibkr_bridge.clock import Clock
from ibkr_bridge.endpoint import Order
from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.orders.book import Book
from ibkr_bridge.orders.desk import UNKNOWN_OPEN
from ibkr_bridge.orders.evidence import Seen, find, is_like
from ibkr_bridge.orders.ledger import State, What
from ibkr_bridge.orders.record import Record, seconds_since
from ibkr_bridge.orders.register import REMEMBERED
from ibkr_bridge.orders.wish import Wish
from ibkr_bridge.search import Search

NOT_THERE = "looked for, and neither among IBKR's orders nor its trades"
UNNAMED = "it has no cOID to be known by, and orders like it exist: look at IBKR's own list of orders"
IDLE = 3600.0  # seconds; whatever moves wakes the loop
BREATH = 0.05  # seconds between two rounds at least
SOUGHT = frozenset({State.UNKNOWN, State.NOT_PLACED, State.REJECTED})
"""States in which a lost order may turn up in a list: it is unknown, or was taken for not placed."""
Look = Callable[[str | None], Awaitable[Seen | None]]
"""Looks at the orders and trades of an account; None where that cannot be done now."""


class Seeker:
    """Looks for the lost orders of one line.

    Args:
        search: when to look.
    """

    def __init__(self, book: Book, clock: Clock, search: Search) -> None:
        self._book = book
        self._clock = clock
        self._search = search
        self._started = clock.now()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._sought: dict[str, Record] = {}
        self._looked: dict[str, tuple[int, float]] = {}
        """By order: how many looks found nothing, and when the last of them was, by the clock."""
        self.look: Look = _nowhere
        book.watch(self._heard)

    def __repr__(self) -> str:
        return f"<Seeker of {len(self._book.register.unknown())} unknown>"

    async def keep(self) -> NoReturn:
        """Look whenever it is time, for ever."""
        while True:
            self._wake.clear()
            self._forget_old()
            due = [record for record in self._sought.values() if self._due_in(record) <= 0]
            if due:
                await self._look_for(due)
            pause = min(map(self._due_in, self._sought.values()), default=IDLE)
            await self._clock.wait(self._wake, max(pause, BREATH))

    def saw(self, seen: Seen) -> None:
        """Somebody was shown a list: what stands in it is as good a proof as one of our own looks."""
        for record in list(self._sought.values()):
            finding = find(record, seen) if self._book.register.has_name(record) else None
            if finding is not None and finding.is_done and record.kind in (Order.PLACE, Order.CANCEL):
                self._book.note(record, What.FOUND, finding.facts)

    @property
    def is_looking(self) -> bool:
        """Whether there is anything that a list could show."""
        return bool(self._sought)

    async def wait_open(self, wish: Wish) -> None:
        """Let a new order wait until those of an earlier run in its account have been found.

        Raises:
            OrderInProgress: they have not been in time.
        """
        left = wish.patience()
        until = self._clock.now() + left
        while blocking := self._blocking(wish):
            left = until - self._clock.now()
            if left <= 0:
                raise OrderInProgress(
                    f"order {blocking.id} of the bridge's last run is being looked for",
                    hint="wait, or send X-Bridge-Confirm: unknown-open a minute after the bridge's start",
                    retry_after=5.0,
                )
            self._moved.clear()
            await self._clock.wait(self._moved, left)

    # -- within

    def _heard(self, record: Record) -> None:
        """An order moved: it may have to be looked for from now on, or no longer."""
        self._moved.set()
        if record.state in SOUGHT and record.lost:
            self._sought[record.id] = record
            self._wake.set()
        elif self._sought.pop(record.id, None) is not None:
            self._looked.pop(record.id, None)

    def _forget_old(self) -> None:
        """What was settled a day ago does not turn up any more: IBKR lists the orders of the day."""
        now = self._book.utc()
        for record in list(self._sought.values()):
            if record.state is not State.UNKNOWN and seconds_since(record.lost or record.updated, now) > REMEMBERED:
                del self._sought[record.id]
                self._looked.pop(record.id, None)

    def _blocking(self, wish: Wish) -> Record | None:
        """An order of the run before that a new one must wait for; a minute after the start its caller may choose."""
        chosen = UNKNOWN_OPEN in wish.confirm
        if chosen and self._clock.now() - self._started >= self._search.restart:
            return None
        unknown = [each for each in self._sought.values() if each.over_restart and each.state is State.UNKNOWN]
        same = (each for each in unknown if None in (wish.account, each.account) or wish.account == each.account)
        return next(same, None)

    def _due_in(self, record: Record) -> float:
        """Seconds until the next look for it; IDLE where none is needed."""
        age = seconds_since(record.lost or record.updated, self._book.utc())
        looks, last = self._looked.get(record.id, (0, float("-inf")))
        since_last = self._clock.now() - last
        if record.state is State.UNKNOWN:
            return self._search.again - since_last if looks else self._search.first - age
        later = [at - age for at in self._search.later if at > age - since_last]
        return min(later, default=IDLE) if record.state is State.NOT_PLACED else IDLE

    async def _look_for(self, due: list[Record]) -> None:
        for account in dict.fromkeys(record.account for record in due):
            began = self._book.utc()
            seen = await self.look(account)
            for record in due:
                if record.account == account and record.id in self._sought:
                    looks, _ = self._looked.get(record.id, (0, 0.0))
                    self._looked[record.id] = (looks + 1, self._clock.now())
                    if seen is not None:
                        self._judge(record, seen, seconds_since(record.lost or record.updated, began))

    def _judge(self, record: Record, seen: Seen, age: float) -> None:
        """Settle what a look shows; `age`: seconds from its loss to the look."""
        finding = find(record, seen) if self._book.register.has_name(record) else None
        if finding is not None:
            self._book.note(record, What.FOUND if finding.is_done else What.MISSED, finding.facts)
        elif record.state is State.UNKNOWN and age >= self._search.within and seen.is_whole:
            self._given_up(record, seen)

    def _given_up(self, record: Record, seen: Seen) -> None:
        if record.kind is Order.PLACE and not record.names and is_like(record, seen):
            record.error, record.over_restart = UNNAMED, False  # looked for as well as it can be: it holds nobody up
            return
        looks, _ = self._looked.get(record.id, (0, 0.0))
        counted = {"orders": len(seen.orders), "trades": len(seen.trades), "looks": looks}
        self._book.note(record, What.MISSED, {"error": NOT_THERE, **counted})


async def _nowhere(_: str | None) -> Seen | None:
    return None
