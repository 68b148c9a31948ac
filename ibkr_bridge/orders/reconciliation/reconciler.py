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
from ibkr_bridge.errors import OrderInProgress
from ibkr_bridge.ibkr.endpoint import Order
from ibkr_bridge.orders.journal.index import REMEMBERED
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.journal.repository import Book
from ibkr_bridge.orders.journal.transitions import State, What
from ibkr_bridge.orders.reconciliation.ibkr_rows import Finding, Seen
from ibkr_bridge.orders.reconciliation.matching import find, is_like
from ibkr_bridge.orders.reconciliation.modify_matching import differs, stands
from ibkr_bridge.orders.reconciliation.schedule import Search
from ibkr_bridge.orders.request import Wish
from ibkr_bridge.orders.submission import UNKNOWN_OPEN

NOT_THERE = "looked for, and neither among IBKR's orders nor its trades"
UNNAMED = "it has no cOID to be known by, and orders like it exist: look at IBKR's own list of orders"
UNSEEN = "IBKR's list does not show what it was to change: look at the order itself"
IDLE = 3600.0  # seconds; whatever moves wakes the loop
BREATH = 0.05  # seconds between two rounds at least
LATE = frozenset({State.NOT_PLACED, State.REJECTED})
"""States of a lost order that may turn up in a list all the same."""
REGISTERED = "already registered"  # IBKR's words for a cOID it has
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
        self._since: dict[str, float] = {}
        """By order: when this run learned that it was lost, by the clock: a wall that jumps proves nothing."""
        self._looked: dict[str, tuple[int, float]] = {}
        """By order: how many looks found nothing, and when the last of them was, by the clock."""
        self._hopeless: set[str] = set()
        """Those that cannot be told however often one looks."""
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
            if finding is not None and finding.is_done and record.kind is not Order.MODIFY:
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
        is_late = record.state in LATE and record.kind is Order.PLACE  # a change or cancel is not found late: another
        if record.lost and (record.state is State.UNKNOWN or is_late):  # one may have done the same since
            self._sought[record.id] = record
            self._since.setdefault(record.id, self._clock.now())
            self._wake.set()
        else:
            self._forget(record)
        if record.state is State.REJECTED and REGISTERED in (record.error or ""):
            self._look_at_once(record)

    def _look_at_once(self, record: Record) -> None:
        """IBKR has its name already: an earlier one that was taken for not placed stands there."""
        for earlier in self._book.register.before(record):
            if earlier.id in self._sought:
                self._looked.pop(earlier.id, None)
                self._since[earlier.id] = self._clock.now() - self._search.later[0]
                self._wake.set()

    def _forget(self, record: Record) -> None:
        self._sought.pop(record.id, None)
        self._looked.pop(record.id, None)
        self._since.pop(record.id, None)
        self._hopeless.discard(record.id)

    def _forget_old(self) -> None:
        """What was settled a day ago does not turn up any more: IBKR lists the orders of the day."""
        for record in list(self._sought.values()):
            if record.state is not State.UNKNOWN and self._age(record) > REMEMBERED:
                self._forget(record)

    def _age(self, record: Record) -> float:
        """Seconds since this run learned that it was lost."""
        return self._clock.now() - self._since[record.id]

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
        age = self._age(record)
        looks, last = self._looked.get(record.id, (0, float("-inf")))
        since_last = self._clock.now() - last
        if record.state is State.UNKNOWN and record.id not in self._hopeless:
            return self._search.again - since_last if looks else self._search.first - age
        return min((at - age for at in self._search.later if at > age - since_last), default=IDLE)

    async def _look_for(self, due: list[Record]) -> None:
        for account in dict.fromkeys(record.account for record in due):
            began = self._clock.now()
            seen = await self.look(account)
            for record in due:
                if record.account == account and record.id in self._sought:
                    looks, _ = self._looked.get(record.id, (0, 0.0))
                    self._looked[record.id] = (looks + 1, self._clock.now())
                    if seen is not None:
                        self._judge(record, seen, began - self._since[record.id])

    def _judge(self, record: Record, seen: Seen, age: float) -> None:
        """Settle what a look shows; `age`: seconds from its loss to the look."""
        finding = find(record, seen) if self._book.register.has_name(record) else None
        if finding is not None:
            self._settle(record, finding)
        elif record.state is State.UNKNOWN and age >= self._search.within and seen.is_whole:
            self._given_up(record, seen)

    def _settle(self, record: Record, finding: Finding) -> None:
        self._book.note(record, What.FOUND if finding.is_done else What.MISSED, finding.facts)

    def _given_up(self, record: Record, seen: Seen) -> None:
        """Judge what can be on its way no longer."""
        if record.kind is Order.MODIFY and not differs(record):
            finding = stands(record, seen)
            return self._hope_no_more(record, UNSEEN) if finding is None else self._settle(record, finding)
        if record.kind is Order.PLACE and not record.names and is_like(record, seen):
            return self._hope_no_more(record, UNNAMED)
        looks, _ = self._looked.get(record.id, (0, 0.0))
        counted = {"orders": len(seen.orders), "trades": len(seen.trades), "looks": looks}
        return self._settle(record, Finding(False, {"error": NOT_THERE, **counted}))

    def _hope_no_more(self, record: Record, why: str) -> None:
        record.error, record.over_restart = why, False  # it holds nobody up any more
        self._hopeless.add(record.id)


async def _nowhere(_: str | None) -> Seen | None:
    return None
