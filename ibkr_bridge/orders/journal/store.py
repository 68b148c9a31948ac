"""The journal of orders on disk: SQLite, append-only, sealed; it survives a kill at any instruction.

An entry that must stand before a byte leaves is written with `write`, which refuses where the disk does. What has
happened already is told with `note`: it cannot be undone by a full disk, so it waits in memory until there is room, and
nothing new leaves before it stands. How a fact may follow another stands in `ledger.py`. All of this takes the disk's
time: while the bridge serves, it is done on a thread of its own (`writer.py`).
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.journal.transitions import FIRST_SEAL, JournalEntry, OrderEvent, OrderState, seal
from ibkr_bridge.state_file import WRITE_HINT

APPLICATION_ID = 0x49424B4F  # "IBKO": SQLite's mark for whose file it is
BUSY_TIMEOUT_S = 0.2  # seconds somebody else may hold the file, such as a backup
NO_STATE_DIR = "there is no state directory"
ORDERS_REFUSED_HINT = "orders are refused until the journal can be written"
MIGRATIONS = (  # from each version of the file to the next; what was written is never changed
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
JournalRow = tuple[int, JournalEntry, str]
"""Number, entry and seal."""


class JournalStore:
    """One line's journal.

    Args:
        path: the file; None where there is no state directory, and so no order.
        utc: the wall's time.
    """

    def __init__(self, path: Path | None, bus: Bus, utc: Callable[[], datetime]) -> None:
        self._path = path
        self.publish: Callable[[Event], None] = bus.publish
        """Tells of trouble; set anew by whoever uses the journal on another thread."""
        self._utc = utc
        self._file: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._last: tuple[int, str] = (0, FIRST_SEAL)
        self._pending: list[JournalEntry] = []
        self.problem: str | None = None
        """Why it cannot be written; None while it can."""

    def __repr__(self) -> str:
        return f"<JournalStore {self._last[0]} entries{', ' + self.problem if self.problem else ''}>"

    def close(self) -> None:
        """Let go of the file; what waits for room is tried once more."""
        with suppress(JournalUnavailable):
            self._append(())
        self._close_file()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new_entry(self, order: str, what: OrderEvent, state: OrderState, facts: Mapping[str, object]) -> JournalEntry:
        """A fact of this moment."""
        return JournalEntry(order, self._utc().isoformat(timespec="microseconds"), what, state, dict(facts))

    def append(self, *entries: JournalEntry) -> None:
        """Have entries on disk, all or none, before anything else happens.

        Raises:
            JournalDown: they cannot be; nothing must leave.
        """
        self._append(entries)

    def append_eventually(self, new_entry: JournalEntry) -> None:
        """Keep what has happened: on disk, or in memory until the disk takes it."""
        try:
            self._append((new_entry,))
        except JournalUnavailable:
            self.keep_pending(new_entry)

    def keep_pending(self, new_entry: JournalEntry) -> None:
        """Keep what has happened in memory until the disk takes it.

        What was refused changes nothing: where it cannot be written it stands in the log alone, so that a loop of
        refusals does not fill the memory. One that stands on disk as `sent` already, and was stopped, is kept.
        """
        if new_entry.what is not OrderEvent.REFUSED or "stopped" in new_entry.facts:
            self._pending.append(new_entry)

    def read_all(self, order: str | None = None) -> list[JournalRow]:
        """All entries, or those of one order, the oldest first; what still waits for room is not among them.

        Raises:
            JournalDown: it cannot be read.
        """
        where, named = (" WHERE id = ?", (order,)) if order is not None else ("", ())
        return self._read(f"{where} ORDER BY number", named)

    def read_recent(self, since: str) -> list[JournalRow]:
        """All entries of orders that left and began since then, or are not settled; the oldest first.

        Raises:
            JournalDown: it cannot be read.
        """
        chosen = (
            " WHERE id IN (SELECT id FROM entry GROUP BY id HAVING MIN(at) >= ? AND MAX(what = 'refused') = 0"
            " UNION SELECT id FROM (SELECT id, state, MAX(number) FROM entry GROUP BY id)"
            " WHERE state IN ('sending', 'question', 'unknown')) ORDER BY number"
        )
        return self._read(chosen, (since,))

    # -- within

    def _read(self, chosen: str, named: tuple[object, ...]) -> list[JournalRow]:
        file = self._open_file()
        try:
            return list(read_rows(file, chosen, named))
        except (
            sqlite3.Error,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as exc:  # a page that is spoilt, an odd entry
            raise self._on_failure(exc) from exc

    def _append(self, entries: tuple[JournalEntry, ...]) -> None:
        if not entries and not self._pending:
            return
        file = self._open_file()
        told = [*self._pending, *entries]
        try:
            last = _insert(file, self._last, told)
        except Exception as exc:  # whatever it is, nothing must leave, and nobody else would hear of it
            raise self._on_failure(exc) from exc
        self._last, self._pending = last, []
        self.problem = None

    def _open_file(self) -> sqlite3.Connection:
        if self._file is None:
            if self._path is None:
                raise self._refuse(NO_STATE_DIR)
            try:
                self._file = self._connect(self._path)
                self._last = last_entry(self._file)
                self._pending = [entry for entry in self._pending if not _is_written(self._file, entry)]
            except (sqlite3.Error, OSError, ValueError) as exc:
                self._close_file()
                raise self._on_failure(exc) from exc
            self.problem = None
        return self._file

    def _connect(self, path: Path) -> sqlite3.Connection:
        """The file, ready to be written; made where there is none, and for nobody else's eyes."""
        if self._lock is None:
            self._lock = acquire_lock(path.with_suffix(".lock"))
        os.close(_open_private(path))
        path.chmod(0o600)  # its two companions are made with the same mode
        return prepare_schema(
            sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _on_failure(self, exc: Exception) -> JournalUnavailable:
        """The file is opened anew next time: it may have been mended, or written by another bridge."""
        self._close_file()
        return self._refuse((os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else "") or str(exc))

    def _refuse(self, reason: str) -> JournalUnavailable:
        if self.problem != reason:
            self.problem = reason
            self.publish(StateUnavailable("the journal of orders", reason, f"{ORDERS_REFUSED_HINT}; {WRITE_HINT}"))
        return JournalUnavailable(f"the journal of orders cannot be written: {reason}")


def _open_private(path: Path) -> int:
    """A file made for nobody else's eyes, and never through a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def acquire_lock(path: Path) -> int:
    """Hold a lock for as long as this process, or the file it returns, lives. Not the journal itself: closing any file
    of it would give up SQLite's own locks.

    Raises:
        ValueError: another bridge holds it.
    """
    lock = _open_private(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise ValueError("another bridge writes it: each needs a state directory of its own") from exc
    return lock


def prepare_schema(file: sqlite3.Connection) -> sqlite3.Connection:
    """A file with the schema of this version, every commit of which is on the disk when it returns.

    Raises:
        ValueError: it is not a journal of ours, or of a later version.
        sqlite3.Error: it is no database, or cannot be written.
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
    """A journal that is looked at while its bridge may be writing; nothing in it is changed, not even its schema.

    Raises:
        FileNotFoundError: there is none.
        ValueError, sqlite3.Error: see `prepared`.
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
    """Which version of the schema a file has; 0 for an empty one."""
    mark, version = (int(file.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version"))
    if mark not in (0, APPLICATION_ID) or (
        mark == 0 and file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    ):
        raise ValueError("the file is a database of something else")
    if version > len(MIGRATIONS):
        raise ValueError(f"it was written by a later version of the bridge (schema {version})")
    return version


def read_rows(
    file: sqlite3.Connection, chosen: str = " ORDER BY number", named: tuple[object, ...] = ()
) -> Iterator[JournalRow]:
    """The entries that are chosen, as they stand there.

    Raises:
        ValueError: one is not what this bridge writes.
    """
    with closing(file.execute(f"SELECT {COLUMNS} FROM entry{chosen}", named)) as found:  # noqa: S608  # our own words
        for number, order, at, what, state, facts, sealed in found:
            yield number, JournalEntry(order, at, OrderEvent(what), OrderState(state), json.loads(facts)), sealed


def last_entry(file: sqlite3.Connection) -> tuple[int, str]:
    """Number and seal of the last entry."""
    found = file.execute("SELECT number, seal FROM entry ORDER BY number DESC LIMIT 1").fetchone()
    return (int(found[0]), str(found[1])) if found else (0, FIRST_SEAL)


def _is_written(file: sqlite3.Connection, new_entry: JournalEntry) -> bool:
    """Whether an entry is there although its writing failed, as when the disk took it and then reported an error."""
    same = "SELECT 1 FROM entry WHERE id = ? AND at = ? AND what = ?"
    return file.execute(same, (new_entry.order_id, new_entry.at, new_entry.what.value)).fetchone() is not None


def _insert(file: sqlite3.Connection, last: tuple[int, str], entries: list[JournalEntry]) -> tuple[int, str]:
    """Append entries, all or none. A number that is taken means that somebody else writes here: it is refused."""
    number, before = last
    file.execute("BEGIN IMMEDIATE")
    try:
        for entry in entries:
            number, before = number + 1, seal(before, entry)
            facts = json.dumps(entry.facts, separators=(",", ":"), sort_keys=True)
            row = (number, entry.order_id, entry.at, entry.what.value, entry.state.value, facts, before)
            file.execute(f"INSERT INTO entry ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608  # our own words
        commit(file)
    except BaseException:
        with suppress(sqlite3.Error):
            file.execute("ROLLBACK")
        raise
    return number, before


def commit(file: sqlite3.Connection) -> None:
    """End a transaction; it is on the disk when this returns, however long the disk takes."""
    file.execute("COMMIT")
