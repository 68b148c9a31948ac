"""Writes a journal on a thread: it waits for the disk, so that the event loop does not have to.

One thread at a time uses SQLite, in the order in which entries were enqueued. Entries that were enqueued during a
commit are committed together next. Which event may follow which is decided in `repository.py`, not here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event
from ibkr_bridge.orders.journal.recent_orders import RecentOrders
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow
from ibkr_bridge.orders.journal.store import JournalRow, JournalStore
from ibkr_bridge.orders.journal.threads import JournalThreads
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState

T = TypeVar("T")


@dataclass(eq=False)
class _QueuedEntry:
    """An entry that waits to be written."""

    new_entry: JournalEntry
    must_be_on_disk: bool
    """Whether a caller waits until it is on disk; if not, it has happened and is kept until it is written."""
    is_done: bool = False
    problem: str | None = None
    """Why it was not written; None if it was."""


class JournalWriter:
    """The journal of one profile, written on a thread.

    Args:
        journal: used by one thread at a time from then on.
        bus: gets the events about problems, on the event loop.
        threads: those of all profiles; threads of its own if left out.
    """

    def __init__(self, journal: JournalStore, bus: Bus, threads: JournalThreads | None = None) -> None:
        self._journal = journal
        self._bus = bus
        self._threads = threads or JournalThreads()
        self._lane = self._threads.lane()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running_jobs = 0  # jobs that the thread has not finished, as the event loop knows
        self._queue: deque[_QueuedEntry] = deque()  # appended to on the loop, taken from on the thread
        journal.publish = self._publish_on_loop

    def __repr__(self) -> str:
        return f"<JournalWriter of {self._journal!r}, {len(self._queue)} handed in>"

    @property
    def problem(self) -> str | None:
        """See `JournalStore.problem`."""
        return self._journal.problem

    def new_entry(self, order: str, what: OrderEvent, state: OrderState, facts: Mapping[str, object]) -> JournalEntry:
        """See `JournalStore.new_entry`."""
        return self._journal.new_entry(order, what, state, facts)

    def append(self, new_entry: JournalEntry) -> asyncio.Future[None]:
        """Write an entry; the future is done when it is on disk, or has the exception `JournalUnavailable`.

        The caller must wait for its end, also when cancelled: only then is it known whether the entry is written.
        """
        return self._enqueue(_QueuedEntry(new_entry, must_be_on_disk=True))

    def append_eventually(self, new_entry: JournalEntry) -> None:
        """Write an entry after all that were enqueued before, or keep it in memory until it can be written."""
        self._enqueue(_QueuedEntry(new_entry, must_be_on_disk=False))

    async def read_all(self, order: str | None = None) -> list[JournalRow]:
        """See `JournalStore.read_all`; entries that were enqueued before are included."""
        return await self._run(lambda: self._journal.read_all(order))

    async def read_orders(self, orders: Sequence[str]) -> list[JournalRow]:
        """See `JournalStore.read_orders`; entries that were enqueued before are included."""
        return await self._run(lambda: self._journal.read_orders(orders))

    async def read_recent(self, recent: RecentOrders) -> list[JournalRow]:
        """See `JournalStore.read_recent`."""
        return await self._run(lambda: self._journal.read_recent(recent))

    async def read_settled(self, recent: RecentOrders) -> list[tuple[SettledRow, Names]]:
        """See `JournalStore.read_settled`."""
        return await self._run(lambda: self._journal.read_settled(recent))

    async def close(self) -> None:
        """Write what is enqueued, and close the file. Another use opens it again."""
        await self._run(self._journal.close)
        while self._running_jobs:  # a callback of that job has enqueued more
            await self._run(self._journal.close)

    # -- on the event loop

    def _enqueue(self, queued: _QueuedEntry) -> asyncio.Future[None]:
        self._queue.append(queued)
        return self._run(lambda: self._commit(queued))

    def _run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        self._loop = asyncio.get_running_loop()
        self._running_jobs += 1
        done = self._loop.run_in_executor(self._lane, work)
        done.add_done_callback(self._on_job_done)
        return done

    def _on_job_done(self, _: asyncio.Future[T]) -> None:
        self._running_jobs -= 1

    # -- on the thread

    def _commit(self, mine: _QueuedEntry) -> None:
        """Commit all that waits, unless an earlier job has written this entry already."""
        if not mine.is_done:
            self._commit_all()
        if mine.must_be_on_disk and mine.problem is not None:
            raise JournalUnavailable(mine.problem)

    def _commit_all(self) -> None:
        group = [self._queue.popleft() for _ in range(len(self._queue))]
        problem: str | None = None
        try:
            self._journal.append(*(queued.new_entry for queued in group))
        except JournalUnavailable as exc:
            problem = exc.detail
        except Exception as exc:  # a bug of ours, or no memory: without this, the entries would count as written
            problem = f"the journal of orders cannot be written: {type(exc).__name__}"
        for queued in group:
            queued.is_done, queued.problem = True, problem
            if problem is not None and queued.must_be_on_disk:
                self._journal.withdraw_if_written(queued.new_entry)
            elif problem is not None:
                self._journal.keep_pending(queued.new_entry)

    def _publish_on_loop(self, event: Event) -> None:
        """Publish on the event loop, where the subscribers run."""
        if self._loop is None:
            self._bus.publish(event)
            return
        with suppress(RuntimeError):  # the event loop has ended, and there are no subscribers any more
            self._loop.call_soon_threadsafe(self._bus.publish, event)


async def wait_until_done(work: asyncio.Future[T]) -> bool:
    """Wait for the end of work, also when cancelled. Returns whether the caller was cancelled."""
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError:
            is_cancelled = True
    return is_cancelled
