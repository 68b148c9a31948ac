"""The journal's own thread: the disk takes its time there, and the event loop goes on.

SQLite and the disk are touched on one thread alone, in the order in which entries were handed in. What was handed in
while the disk was at work is committed together. Nothing here decides what may follow what: that is the book's part.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from ibkr_bridge.errors import JournalDown
from ibkr_bridge.events import Bus, Fact
from ibkr_bridge.orders.journal.store import Journal, Row
from ibkr_bridge.orders.journal.transitions import Entry, State, What

T = TypeVar("T")


@dataclass(eq=False)
class _Handed:
    """An entry on its way to the disk."""

    entry: Entry
    must_stand: bool
    """Whether somebody waits to hear that it stands; else it has happened, and is kept until it does."""
    is_through: bool = False
    trouble: str | None = None
    """Why it does not stand; None where it does."""


class JournalWriter:
    """One line's journal, written on a thread of its own, which is started by the first use.

    Args:
        journal: used on that thread alone from then on.
        bus: hears of trouble, on the loop.
    """

    def __init__(self, journal: Journal, bus: Bus) -> None:
        self._journal = journal
        self._bus = bus
        self._thread: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way = 0  # pieces of work the thread has not ended yet, as the loop knows
        self._handed: deque[_Handed] = deque()  # appended to on the loop, taken from on the thread
        journal.announce = self._announce

    def __repr__(self) -> str:
        return f"<JournalWriter of {self._journal!r}, {len(self._handed)} handed in>"

    @property
    def trouble(self) -> str | None:
        """See `Journal.trouble`."""
        return self._journal.trouble

    def entry(self, order: str, what: What, state: State, facts: Mapping[str, object]) -> Entry:
        """See `Journal.entry`."""
        return self._journal.entry(order, what, state, facts)

    def write(self, entry: Entry) -> asyncio.Future[None]:
        """Have an entry on disk before anything else happens: done when it stands, with `JournalDown` where it cannot.

        Whoever waits must wait for its end, also when cancelled: only then is known whether it stands.
        """
        return self._hand_in(_Handed(entry, must_stand=True))

    def note(self, entry: Entry) -> None:
        """Keep what has happened, behind all that was handed in before. See `Journal.note`."""
        self._hand_in(_Handed(entry, must_stand=False))

    async def rows(self, order: str | None = None) -> list[Row]:
        """See `Journal.rows`; whatever was handed in before is among them."""
        return await self._run(lambda: self._journal.rows(order))

    async def recent(self, since: str) -> list[Row]:
        """See `Journal.recent`."""
        return await self._run(lambda: self._journal.recent(since))

    async def close(self) -> None:
        """Write what was handed in, let go of the file, end the thread. Another use starts anew."""
        while (thread := self._thread) is not None:
            await self._run(self._journal.close)
            if not self._under_way:  # else somebody who was told just now had more to say
                thread.shutdown(wait=False)
                self._thread = None

    # -- on the loop

    def _hand_in(self, handed: _Handed) -> asyncio.Future[None]:
        self._handed.append(handed)
        return self._run(lambda: self._commit(handed))

    def _run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        self._loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._under_way += 1
        done = self._loop.run_in_executor(self._thread, work)
        done.add_done_callback(self._ended)
        return done

    def _ended(self, _: asyncio.Future[T]) -> None:
        self._under_way -= 1

    # -- on the thread

    def _commit(self, mine: _Handed) -> None:
        """Commit all that waits, unless an earlier turn of this thread took this entry along."""
        if not mine.is_through:
            self._commit_all()
        if mine.must_stand and mine.trouble is not None:
            raise JournalDown(mine.trouble)

    def _commit_all(self) -> None:
        group = [self._handed.popleft() for _ in range(len(self._handed))]
        trouble = None
        try:
            self._journal.write(*(handed.entry for handed in group))
        except JournalDown as exc:
            trouble = exc.detail
        for handed in group:
            handed.is_through, handed.trouble = True, trouble
            if trouble is not None and not handed.must_stand:
                self._journal.hold(handed.entry)

    def _announce(self, fact: Fact) -> None:
        """Whoever listens does so on the loop."""
        if self._loop is None:
            self._bus.announce(fact)
            return
        with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
            self._loop.call_soon_threadsafe(self._bus.announce, fact)


async def wait_out(work: asyncio.Future[T]) -> bool:
    """Wait for the end of work, also when cancelled; says whether that happened."""
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError:
            is_cancelled = True
    return is_cancelled
