"""The journal of orders on disk: an append-only SQLite file with sealed entries; it survives a kill at any instruction.

An entry that must be on disk before a byte is sent is written with `append`, which raises if the disk fails. An entry
about something that has happened is kept with `keep_pending` if `append` raised: a full disk cannot undo it, so it
waits in memory until there is room, and no order is sent before it is written. Which event may follow which state is in
`transitions.py`. Calls here block on the disk: while the bridge serves, they run on a thread of their own
(`writer.py`).
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.journal.end_mark import EndMark
from ibkr_bridge.orders.journal.recent_orders import RecentOrders
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow
from ibkr_bridge.orders.journal.transitions import (
    FIRST_SEAL,
    JournalEntry,
    OrderEvent,
    OrderState,
    seal,
    withdrawal_of,
)
from ibkr_bridge.state_file import WRITE_HINT

APPLICATION_ID = 0x49424B4F  # "IBKO": SQLite's mark of the application that owns a file
BUSY_TIMEOUT_S = 0.2  # seconds that another process, such as a backup, may hold the file
MAX_PARAMETERS = 500  # of one query; SQLite allows 999 at least
NO_STATE_DIR = "there is no state directory"
WRITTEN_LATE = "the disk reported an error for the entry of this order; nothing was sent"
ORDERS_REFUSED_HINT = "orders are refused until the journal can be written"
NEW_JOURNAL_HINT = "orders of earlier runs are not known any more; look for open ones at IBKR"
MIGRATIONS = (  # from each version of the file to the next; existing entries are never changed
    """
    CREATE TABLE entry (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, at TEXT NOT NULL, what TEXT NOT NULL, state TEXT NOT NULL,
        facts TEXT NOT NULL, seal TEXT NOT NULL);
    CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
    CREATE TRIGGER entry_is_kept BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;
    """,
    "CREATE INDEX entry_of ON entry (id, number);",
)
COLUMNS = "number, id, at, what, state, facts, seal"
T = TypeVar("T")
JournalRow = tuple[int, JournalEntry, str]
"""Number, entry and seal."""


class JournalStore:
    """The journal of one profile.

    Args:
        path: the file; None if there is no state directory; orders are then refused.
        utc: returns the wall-clock time.
    """

    def __init__(self, path: Path | None, bus: Bus, utc: Callable[[], datetime]) -> None:
        self._path = path
        self.publish: Callable[[Event], None] = bus.publish
        """Publishes problems; `JournalWriter` replaces it, as it uses the store on another thread."""
        self._utc = utc
        self._file: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._last: tuple[int, str] = (0, FIRST_SEAL)
        self._end_mark = EndMark(path) if path is not None else None
        self._pending: list[JournalEntry] = []
        self._doubtful: list[JournalEntry] = []  # their commit failed; the file may have them all the same
        self._was_attempted = False  # whether the last entries reached the file, so that it may have them
        self._withdrawn: set[str] = set()  # orders whose refusal the store has written by itself
        self._has_failed_write = False  # whether the last write failed: a full disk can be opened and read all the same
        self.problem: str | None = None
        """Why the journal cannot be written; None while it can."""

    def __repr__(self) -> str:
        return f"<JournalStore {self._last[0]} entries{', ' + self.problem if self.problem else ''}>"

    def close(self) -> None:
        """Close the file, after another attempt to write the entries that wait in memory."""
        with suppress(JournalUnavailable):
            self.append()
        self._close_file()
        if self._end_mark is not None:
            self._end_mark.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new_entry(self, order: str, what: OrderEvent, state: OrderState, facts: Mapping[str, object]) -> JournalEntry:
        """An entry with the current time."""
        return JournalEntry(order, self._utc().isoformat(timespec="microseconds"), what, state, dict(facts))

    def append(self, *entries: JournalEntry) -> None:
        """Write entries, all or none; they are on disk when this returns.

        Raises:
            JournalUnavailable: they cannot be written; nothing may be sent.
        """
        if not (entries or self._pending or self._doubtful):
            return
        self._was_attempted = False
        file = self._open_file()
        self._was_attempted = True
        # After a disk that reported an error, the store may have written the refusal of an order already.
        new = (each for each in entries if each.what is not OrderEvent.REFUSED or each.order_id not in self._withdrawn)
        batch = [*self._pending, *new]
        try:
            last = _insert(file, self._last, batch)
        except Exception as exc:  # whatever it is, nothing may be sent, and no other code would report it
            self._has_failed_write = True
            raise self._on_failure(exc) from exc
        self._last, self._pending = last, []
        self.problem, self._has_failed_write = None, False
        if self._end_mark is not None:
            self._end_mark.write(last)

    def withdraw_if_written(self, entry: JournalEntry) -> None:
        """After `append` raised: nothing was sent. If the file has the entry all the same, a further one will say so.

        A disk can store a commit and then report an error. Without the further entry, a later run would take the order
        for one that may have been sent.
        """
        if self._was_attempted:
            self._doubtful.append(entry)

    def keep_pending(self, new_entry: JournalEntry) -> None:
        """Keep an entry in memory until it can be written.

        A refusal changes nothing: if it cannot be written, it is in the log only, so that a loop of refusals does not
        fill the memory. The refusal of an order whose `sent` is on disk already is kept.
        """
        if new_entry.what is not OrderEvent.REFUSED or "stopped" in new_entry.facts:
            self._pending.append(new_entry)

    def read_all(self, order: str | None = None) -> list[JournalRow]:
        """All entries, or those of one order, the oldest first, without those that wait in memory.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        condition, parameters = (" WHERE id = ?", (order,)) if order is not None else ("", ())
        return self._read(f"{condition} ORDER BY number", parameters)

    def read_orders(self, orders: Sequence[str]) -> list[JournalRow]:
        """All entries of some orders, the oldest first; those that wait in memory are written before.

        Raises:
            JournalUnavailable: they cannot be written, or the file cannot be read.
        """
        self.append()
        rows: list[JournalRow] = []
        for start in range(0, len(orders), MAX_PARAMETERS):
            chunk = orders[start : start + MAX_PARAMETERS]
            rows += self._read(f" WHERE id IN ({', '.join('?' * len(chunk))})", tuple(chunk))
        return sorted(rows, key=lambda row: row[0])

    def read_recent(self, recent: RecentOrders) -> list[JournalRow]:
        """All entries of the recent orders that are needed complete, the oldest first.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        return self.read_orders(self._read_by(lambda file: recent.read_complete(file, self._last[0])))

    def read_settled(self, recent: RecentOrders) -> list[tuple[SettledRow, Names]]:
        """The next rows of the other recent orders.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        return self._read_by(recent.read_rows)

    # -- internals

    def _read(self, condition: str, parameters: tuple[object, ...]) -> list[JournalRow]:
        return self._read_by(lambda file: list(read_rows(file, condition, parameters)))

    def _read_by(self, read: Callable[[sqlite3.Connection], T]) -> T:
        file = self._open_file()
        try:
            return read(file)
        # A damaged page, or an invalid entry.
        except (sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError) as exc:
            raise self._on_failure(exc) from exc

    def _open_file(self) -> sqlite3.Connection:
        if self._file is None:
            if self._path is None:
                raise self._refuse(NO_STATE_DIR)
            try:
                self._file = self._connect(self._path)
                self._last = last_entry(self._file)
                if self._end_mark is not None:
                    self._end_mark.check(self._file, self._last)
                self._pending = [entry for entry in self._pending if not _is_written(self._file, entry)]
                self._withdraw(self._file)
            except (sqlite3.Error, OSError, ValueError) as exc:
                raise self._on_failure(exc) from exc
            if not self._has_failed_write:
                self.problem = None
        return self._file

    def _withdraw(self, file: sqlite3.Connection) -> None:
        """Write next, before anything else, that nothing was sent for the doubtful entries that are in the file."""
        at = self._utc().isoformat(timespec="microseconds")
        for entry in self._doubtful:
            if _is_written(file, entry):
                self._pending.append(withdrawal_of(entry, at, WRITTEN_LATE))
                if entry.what is OrderEvent.SENT:
                    self._withdrawn.add(entry.order_id)
        self._doubtful = []

    def _connect(self, path: Path) -> sqlite3.Connection:
        """Open the file for writing; it is created if missing, and only its owner can read it."""
        if self._lock is None:
            self._lock = acquire_lock(path.with_suffix(".lock"))
        if not os.path.lexists(path):
            self._begin_anew()
        os.close(_open_private(path))
        path.chmod(0o600)  # SQLite creates its two companion files with the same mode
        return prepare_schema(
            sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        )

    def _begin_anew(self) -> None:
        """The journal is gone. If it had entries, say that the orders in it are not known any more."""
        mark = self._end_mark.forget() if self._end_mark is not None else None
        if mark is not None and mark[0] > 0:
            reason = f"the file with {mark[0]} entries is gone, and a new one begins"
            self.publish(StateUnavailable("the journal of orders", reason, NEW_JOURNAL_HINT))

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _on_failure(self, exc: Exception) -> JournalUnavailable:
        """The file is opened again next time: it may have been repaired, or written by another bridge."""
        self._close_file()
        return self._refuse((os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else "") or str(exc))

    def _refuse(self, reason: str) -> JournalUnavailable:
        if self.problem != reason:
            self.problem = reason
            self.publish(StateUnavailable("the journal of orders", reason, f"{ORDERS_REFUSED_HINT}; {WRITE_HINT}"))
        return JournalUnavailable(f"the journal of orders cannot be written: {reason}")


def _open_private(path: Path) -> int:
    """Open or create a file that only its owner can read, never through a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def acquire_lock(path: Path) -> int:
    """Take a lock that is held until the returned file is closed or this process ends.

    The lock is not on the journal itself: closing any descriptor of that file would release SQLite's own locks.

    Raises:
        ValueError: another bridge holds the lock.
    """
    lock = _open_private(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise ValueError("another bridge writes it: each bridge needs its own state directory") from exc
    return lock


def prepare_schema(file: sqlite3.Connection) -> sqlite3.Connection:
    """Bring a file to the schema of this version; from then on each commit is on disk when it returns.

    Raises:
        ValueError: it is not a journal of the bridge, or is of a later version.
        sqlite3.Error: it is not a database, or cannot be written.
    """
    try:
        version = schema_version(file)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        for number in range(version, len(MIGRATIONS)):
            marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number + 1};"
            file.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} {marks} COMMIT;")
    except BaseException:
        file.close()
        raise
    return file


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a journal for reading while its bridge may be writing; nothing in it is changed, not even its schema.

    Raises:
        FileNotFoundError: there is no journal.
        ValueError, sqlite3.Error: see `prepare_schema`.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    file = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
    )
    try:
        schema_version(file)
    except BaseException:
        file.close()
        raise
    return file


def schema_version(file: sqlite3.Connection) -> int:
    """The version of a file's schema; 0 for an empty file."""
    mark, version = (int(file.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version"))
    if mark not in (0, APPLICATION_ID) or (
        mark == 0 and file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    ):
        raise ValueError("the file is a database of another program")
    if version > len(MIGRATIONS):
        raise ValueError(f"it was written by a later version of the bridge (schema {version})")
    return version


def read_rows(
    file: sqlite3.Connection, condition: str = " ORDER BY number", parameters: tuple[object, ...] = ()
) -> Iterator[JournalRow]:
    """Read the chosen entries as they are stored.

    Raises:
        ValueError: an entry is not one that this bridge writes.
    """
    query = f"SELECT {COLUMNS} FROM entry{condition}"  # noqa: S608  # constants only
    with closing(file.execute(query, parameters)) as cursor:
        for number, order, at, what, state, facts, sealed in cursor:
            yield number, JournalEntry(order, at, OrderEvent(what), OrderState(state), json.loads(facts)), sealed


def last_entry(file: sqlite3.Connection) -> tuple[int, str]:
    """Number and seal of the last entry."""
    row = file.execute("SELECT number, seal FROM entry ORDER BY number DESC LIMIT 1").fetchone()
    return (int(row[0]), str(row[1])) if row else (0, FIRST_SEAL)


def _is_written(file: sqlite3.Connection, new_entry: JournalEntry) -> bool:
    """Whether an entry is there although writing it raised, as when the disk stored it and then reported an error."""
    same = "SELECT 1 FROM entry WHERE id = ? AND at = ? AND what = ?"
    return file.execute(same, (new_entry.order_id, new_entry.at, new_entry.what.value)).fetchone() is not None


def _insert(file: sqlite3.Connection, last: tuple[int, str], entries: list[JournalEntry]) -> tuple[int, str]:
    """Append entries, all or none. A number that exists already means that another process writes here: this raises."""
    number, before = last
    file.execute("BEGIN IMMEDIATE")
    try:
        for entry in entries:
            number, before = number + 1, seal(before, entry)
            facts = json.dumps(entry.facts, separators=(",", ":"), sort_keys=True)
            row = (number, entry.order_id, entry.at, entry.what.value, entry.state.value, facts, before)
            file.execute(f"INSERT INTO entry ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608  # constants only
        commit(file)
    except BaseException:
        with suppress(sqlite3.Error):
            file.execute("ROLLBACK")
        raise
    return number, before


def commit(file: sqlite3.Connection) -> None:
    """End a transaction; it is on disk when this returns."""
    file.execute("COMMIT")
