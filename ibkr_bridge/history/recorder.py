"""Writes the history while the bridge runs, off the event loop, and reads it for those who ask.

Changes are queued and written by a thread, one batch at a time. While the disk fails they wait in memory, the latest
thousand of them; nothing else of the bridge waits for the history.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeVar

from ibkr_bridge.clock import Clock
from ibkr_bridge.conditions.condition import Condition
from ibkr_bridge.events import Bus, StateUnavailable
from ibkr_bridge.history.records import ConditionRecord, StateSpan
from ibkr_bridge.history.store import HistoryStore

HEARTBEAT_S = 60.0  # a time in which the bridge did not run is known to the minute
MAX_QUEUED = 1000  # changes that wait for the disk
MAX_CONDITIONS = 1000  # in one answer
STARTING = "starting"
OF_THE_PROCESS = frozenset({STARTING, "shutting_down"})
"""Conditions that end with the process at the latest."""
T = TypeVar("T")
Key = tuple[str | None, str]
"""Profile and id of a condition."""
Job = Callable[[HistoryStore], None]


@dataclass(frozen=True)
class Past:
    """What was recorded of one profile since a time."""

    conditions: list[ConditionRecord]
    spans: list[StateSpan]
    revision: int
    """Of the latest change."""
    problem: str | None = None
    """Why it is missing or not complete; None if it is complete."""


class HistoryRecorder:
    """The history of the bridge and its profiles.

    Args:
        path: the file; None to keep the history in memory only.
        clock: the time.
        bus: gets an event when the history cannot be written.
    """

    def __init__(self, path: Path | None, clock: Clock, bus: Bus) -> None:
        self._store = HistoryStore(path)
        self._clock = clock
        self._bus = bus
        self._thread = ThreadPoolExecutor(1, "history")  # starts with the first use
        self._wake = asyncio.Event()
        self._queue: deque[Job] = deque(maxlen=MAX_QUEUED)
        self._open: set[Key] | None = None  # conditions that the file shows as lasting; None until it was read
        self._inherited: set[Key] = set()  # those of an earlier run, until it is known whether they still hold
        self._present: tuple[Condition, ...] | None = None  # None until the first report
        self._states: dict[str, str] = {}
        self._span_numbers: dict[str, int] = {}  # only jobs use it
        self.problem: str | None = None
        """Why the history cannot be written; None while it can."""

    def __repr__(self) -> str:
        return f"<HistoryRecorder of {self._store!r}, {len(self._queue)} queued>"

    def on_conditions(self, present: tuple[Condition, ...]) -> None:
        """Some condition has begun or ended; these hold now."""
        self._present = present
        if self._open is not None:
            self._compare(self._open)
        self._wake.set()

    def on_state(self, profile: str, state: str) -> None:
        """The session of a profile is in this state now."""
        if self._states.get(profile) == state:
            return
        self._states[profile] = state
        now = self._clock.utc()

        def change(store: HistoryStore) -> None:
            self._extend(store, profile, now)
            self._span_numbers[profile] = store.begin_span(profile, state, now)

        self._queue.append(change)
        self._wake.set()

    def on_removed(self, profile: str) -> None:
        """A profile is gone: its last state ends now."""
        self._states.pop(profile, None)
        now = self._clock.utc()

        def end(store: HistoryStore) -> None:
            self._extend(store, profile, now)
            self._span_numbers.pop(profile, None)

        self._queue.append(end)
        self._wake.set()

    async def run_loop(self) -> NoReturn:
        """Write what changes, and once a minute that the bridge runs."""
        while True:
            self._wake.clear()
            await self._write()
            if not await self._clock.wait(self._wake, HEARTBEAT_S):
                self._queue.append(self._beat_at(self._clock.utc()))

    async def read(self, profile: str, since: datetime) -> Past:
        """What was recorded of the bridge and one profile since a time."""
        await self._write()
        now = self._clock.utc()

        def read(store: HistoryStore) -> Past:
            conditions = store.conditions(profile, since, MAX_CONDITIONS)
            return Past(conditions, store.spans(profile, since), store.revision())

        past = await self._read(read, Past([], [], 0))
        spans = _until_now(past.spans, self._states.get(profile), now)
        return Past(past.conditions, spans, past.revision, self.problem)

    async def changes(self, profile: str, after: int, limit: int) -> tuple[list[ConditionRecord], int]:
        """The conditions that began or ended after a revision, the earliest change first; and the latest revision.

        If the history cannot be read, there is no change, and the latest revision is that of the caller.
        """
        await self._write()
        return await self._read(lambda store: (store.changes(profile, after, limit), store.revision()), ([], after))

    async def close(self) -> None:
        """Write what is left. The next run continues the conditions that still hold then."""
        now = self._clock.utc()
        for profile, name in self._open or ():
            if name in OF_THE_PROCESS:
                self._queue.append(_ending(profile, name, now))
        self._queue.append(self._beat_at(now))
        await self._write()
        await self._read(HistoryStore.close, None)
        self._thread.shutdown(wait=False)

    def _compare(self, recorded: set[Key]) -> None:
        if self._present is None:
            return
        now, present = self._clock.utc(), {(each.profile, each.id): each for each in self._present}
        for key in present.keys() - recorded:
            self._queue.append(_beginning(present[key]))
        is_starting = any(name == STARTING for _, name in present)
        doubtful = self._inherited if is_starting else set[Key]()
        ended = recorded - present.keys() - doubtful
        self._queue.extend(_ending(*key, now) for key in ended)
        recorded.update(present)
        recorded.difference_update(ended)
        self._inherited = self._inherited & recorded if is_starting else set()

    async def _write(self) -> None:
        """Write what is queued. A change that cannot be written stays first in the queue."""
        try:
            await self._load()
            await self._on_thread(self._work_off)
        except (sqlite3.Error, OSError) as exc:
            self._report(exc)
        else:
            self.problem = None

    async def _load(self) -> None:
        if self._open is not None:
            return

        def load(store: HistoryStore) -> list[ConditionRecord]:
            store.remove_old(self._clock.utc())
            return store.open_conditions()

        records = await self._on_thread(load)
        self._open = {(each.profile, each.id) for each in records}
        self._inherited = set(self._open)
        self._compare(self._open)

    def _work_off(self, store: HistoryStore) -> None:
        while self._queue:
            job = self._queue[0]
            job(store)
            if self._queue and self._queue[0] is job:  # the event loop may have pushed it out of a full queue
                self._queue.popleft()

    async def _on_thread(self, work: Callable[[HistoryStore], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._store)

    def _beat_at(self, now: datetime) -> Job:
        def beat(store: HistoryStore) -> None:
            for profile in self._span_numbers:
                self._extend(store, profile, now)
            store.remove_old(now)

        return beat

    def _extend(self, store: HistoryStore, profile: str, now: datetime) -> None:
        if profile in self._span_numbers:
            store.extend_span(self._span_numbers[profile], now)

    async def _read(self, work: Callable[[HistoryStore], T], otherwise: T) -> T:
        try:
            return await self._on_thread(work)
        except (sqlite3.Error, OSError) as exc:
            self._report(exc)
            return otherwise

    def _report(self, error: Exception) -> None:
        """Publish a problem once, until the history can be written again."""
        is_new = self.problem is None
        strerror = error.strerror if isinstance(error, OSError) else str(error)
        self.problem = strerror or type(error).__name__
        if is_new:
            self._bus.publish(StateUnavailable("the history", self.problem, "what happens now may be missing from it"))


def _beginning(condition: Condition) -> Job:
    c = condition
    record = ConditionRecord(0, c.id, c.profile, c.severity, c.text, c.do, c.url, c.since, None)
    return lambda store: store.begin_condition(record)


def _ending(profile: str | None, condition_id: str, at: datetime) -> Job:
    return lambda store: store.end_condition(condition_id, profile, at)


def _until_now(spans: Iterable[StateSpan], state: str | None, now: datetime) -> list[StateSpan]:
    """The spans, the last of which lasts until now: the file knows it to the minute."""
    listed = list(spans)
    if listed and state is not None:
        last = listed[-1]
        listed[-1] = StateSpan(last.profile, last.state, last.began, max(last.ended, now))
    return listed
