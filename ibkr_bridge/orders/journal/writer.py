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

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event
from ibkr_bridge.orders.journal.store import JournalRow, JournalStore
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState

T = TypeVar("T")


@dataclass(eq=False)
class _QueuedEntry:
    """An entry on its way to the disk."""

    new_entry: JournalEntry
    must_be_on_disk: bool
    """Whether somebody waits to hear that it stands; else it has happened, and is kept until it does."""
    is_done: bool = False
    problem: str | None = None
    """Why it does not stand; None where it does."""


class JournalWriter:
    """One line's journal, written on a thread of its own, which is started by the first use.

    Args:
        journal: used on that thread alone from then on.
        bus: hears of trouble, on the loop.
    """

    def __init__(self, journal: JournalStore, bus: Bus) -> None:
        self._journal = journal
        self._bus = bus
        self._thread: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running_jobs = 0  # pieces of work the thread has not ended yet, as the loop knows
        self._queue: deque[_QueuedEntry] = deque()  # appended to on the loop, taken from on the thread
        journal.publish = self._publish_on_loop

    def __repr__(self) -> str:
        return f"<JournalWriter of {self._journal!r}, {len(self._queue)} handed in>"

    @property
    def problem(self) -> str | None:
        """See `Journal.trouble`."""
        return self._journal.problem

    def new_entry(self, order: str, what: OrderEvent, state: OrderState, facts: Mapping[str, object]) -> JournalEntry:
        """See `Journal.entry`."""
        return self._journal.new_entry(order, what, state, facts)

    def append(self, new_entry: JournalEntry) -> asyncio.Future[None]:
        """Have an entry on disk before anything else happens: done when it stands, with `JournalDown` where it cannot.

        Whoever waits must wait for its end, also when cancelled: only then is known whether it stands.
        """
        return self._enqueue(_QueuedEntry(new_entry, must_be_on_disk=True))

    def append_eventually(self, new_entry: JournalEntry) -> None:
        """Keep what has happened, behind all that was handed in before. See `Journal.note`."""
        self._enqueue(_QueuedEntry(new_entry, must_be_on_disk=False))

    async def read_all(self, order: str | None = None) -> list[JournalRow]:
        """See `Journal.rows`; whatever was handed in before is among them."""
        return await self._run(lambda: self._journal.read_all(order))

    async def read_recent(self, since: str) -> list[JournalRow]:
        """See `Journal.recent`."""
        return await self._run(lambda: self._journal.read_recent(since))

    async def close(self) -> None:
        """Write what was handed in, let go of the file, end the thread. Another use starts anew."""
        while (thread := self._thread) is not None:
            await self._run(self._journal.close)
            if not self._running_jobs:  # else somebody who was told just now had more to say
                thread.shutdown(wait=False)
                self._thread = None

    # -- on the loop

    def _enqueue(self, handed: _QueuedEntry) -> asyncio.Future[None]:
        self._queue.append(handed)
        return self._run(lambda: self._commit(handed))

    def _run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        self._loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._running_jobs += 1
        done = self._loop.run_in_executor(self._thread, work)
        done.add_done_callback(self._on_job_done)
        return done

    def _on_job_done(self, _: asyncio.Future[T]) -> None:
        self._running_jobs -= 1

    # -- on the thread

    def _commit(self, mine: _QueuedEntry) -> None:
        """Commit all that waits, unless an earlier turn of this thread took this entry along."""
        if not mine.is_done:
            self._commit_all()
        if mine.must_be_on_disk and mine.problem is not None:
            raise JournalUnavailable(mine.problem)

    def _commit_all(self) -> None:
        group = [self._queue.popleft() for _ in range(len(self._queue))]
        trouble = None
        try:
            self._journal.append(*(handed.new_entry for handed in group))
        except JournalUnavailable as exc:
            trouble = exc.detail
        for handed in group:
            handed.is_done, handed.problem = True, trouble
            if trouble is not None and not handed.must_be_on_disk:
                self._journal.keep_pending(handed.new_entry)

    def _publish_on_loop(self, event: Event) -> None:
        """Whoever listens does so on the loop."""
        if self._loop is None:
            self._bus.publish(event)
            return
        with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
            self._loop.call_soon_threadsafe(self._bus.publish, event)


async def wait_until_done(work: asyncio.Future[T]) -> bool:
    """Wait for the end of work, also when cancelled; says whether that happened."""
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError:
            is_cancelled = True
    return is_cancelled
