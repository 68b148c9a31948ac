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

from ibkr_bridge.errors import JournalDown
from ibkr_bridge.events import Bus, Fact, StateTrouble
from ibkr_bridge.orders.journal.transitions import FIRST, Entry, State, What, seal
from ibkr_bridge.state_file import MEND

OURS = 0x49424B4F  # "IBKO": SQLite's mark for whose file it is
BUSY = 0.2  # seconds somebody else may hold the file, such as a backup
NO_PLACE = "there is no state directory"
STOPPED = "orders are refused until the journal can be written"
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
Row = tuple[int, Entry, str]
"""Number, entry and seal."""


class Journal:
    """One line's journal.

    Args:
        path: the file; None where there is no state directory, and so no order.
        utc: the wall's time.
    """

    def __init__(self, path: Path | None, bus: Bus, utc: Callable[[], datetime]) -> None:
        self._path = path
        self.announce: Callable[[Fact], None] = bus.announce
        """Tells of trouble; set anew by whoever uses the journal on another thread."""
        self._utc = utc
        self._file: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._last: tuple[int, str] = (0, FIRST)
        self._waiting: list[Entry] = []
        self.trouble: str | None = None
        """Why it cannot be written; None while it can."""

    def __repr__(self) -> str:
        return f"<Journal {self._last[0]} entries{', ' + self.trouble if self.trouble else ''}>"

    def close(self) -> None:
        """Let go of the file; what waits for room is tried once more."""
        with suppress(JournalDown):
            self._append(())
        self._let_go()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def entry(self, order: str, what: What, state: State, facts: Mapping[str, object]) -> Entry:
        """A fact of this moment."""
        return Entry(order, self._utc().isoformat(timespec="microseconds"), what, state, dict(facts))

    def write(self, *entries: Entry) -> None:
        """Have entries on disk, all or none, before anything else happens.

        Raises:
            JournalDown: they cannot be; nothing must leave.
        """
        self._append(entries)

    def note(self, entry: Entry) -> None:
        """Keep what has happened: on disk, or in memory until the disk takes it."""
        try:
            self._append((entry,))
        except JournalDown:
            self.hold(entry)

    def hold(self, entry: Entry) -> None:
        """Keep what has happened in memory until the disk takes it.

        What was refused changes nothing: where it cannot be written it stands in the log alone, so that a loop of
        refusals does not fill the memory. One that stands on disk as `sent` already, and was stopped, is kept.
        """
        if entry.what is not What.REFUSED or "stopped" in entry.facts:
            self._waiting.append(entry)

    def rows(self, order: str | None = None) -> list[Row]:
        """All entries, or those of one order, the oldest first; what still waits for room is not among them.

        Raises:
            JournalDown: it cannot be read.
        """
        where, named = (" WHERE id = ?", (order,)) if order is not None else ("", ())
        return self._read(f"{where} ORDER BY number", named)

    def recent(self, since: str) -> list[Row]:
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

    def _read(self, chosen: str, named: tuple[object, ...]) -> list[Row]:
        file = self._opened()
        try:
            return list(read_rows(file, chosen, named))
        except (
            sqlite3.Error,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as exc:  # a page that is spoilt, an odd entry
            raise self._down(exc) from exc

    def _append(self, entries: tuple[Entry, ...]) -> None:
        if not entries and not self._waiting:
            return
        file = self._opened()
        told = [*self._waiting, *entries]
        try:
            last = _inserted(file, self._last, told)
        except Exception as exc:  # whatever it is, nothing must leave, and nobody else would hear of it
            raise self._down(exc) from exc
        self._last, self._waiting = last, []
        self.trouble = None

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            if self._path is None:
                raise self._refused(NO_PLACE)
            try:
                self._file = self._connect(self._path)
                self._last = last_of(self._file)
                self._waiting = [entry for entry in self._waiting if not _stands(self._file, entry)]
            except (sqlite3.Error, OSError, ValueError) as exc:
                self._let_go()
                raise self._down(exc) from exc
            self.trouble = None
        return self._file

    def _connect(self, path: Path) -> sqlite3.Connection:
        """The file, ready to be written; made where there is none, and for nobody else's eyes."""
        if self._lock is None:
            self._lock = locked(path.with_suffix(".lock"))
        os.close(_opened_for_us(path))
        path.chmod(0o600)  # its two companions are made with the same mode
        return prepared(sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False))

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _down(self, exc: Exception) -> JournalDown:
        """The file is opened anew next time: it may have been mended, or written by another bridge."""
        self._let_go()
        return self._refused((os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else "") or str(exc))

    def _refused(self, why: str) -> JournalDown:
        if self.trouble != why:
            self.trouble = why
            self.announce(StateTrouble("the journal of orders", why, f"{STOPPED}; {MEND}"))
        return JournalDown(f"the journal of orders cannot be written: {why}")


def _opened_for_us(path: Path) -> int:
    """A file made for nobody else's eyes, and never through a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def locked(path: Path) -> int:
    """Hold a lock for as long as this process, or the file it returns, lives. Not the journal itself: closing any file
    of it would give up SQLite's own locks.

    Raises:
        ValueError: another bridge holds it.
    """
    lock = _opened_for_us(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise ValueError("another bridge writes it: each needs a state directory of its own") from exc
    return lock


def prepared(file: sqlite3.Connection) -> sqlite3.Connection:
    """A file with the schema of this version, every commit of which is on the disk when it returns.

    Raises:
        ValueError: it is not a journal of ours, or of a later version.
        sqlite3.Error: it is no database, or cannot be written.
    """
    try:
        version = version_of(file)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        for number in range(version, len(MIGRATIONS)):
            marks = f"PRAGMA application_id = {OURS}; PRAGMA user_version = {number + 1};"
            file.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} {marks} COMMIT;")
    except BaseException:
        file.close()
        raise
    return file


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A journal that is looked at while its bridge may be writing; nothing in it is changed, not even its schema.

    Raises:
        FileNotFoundError: there is none.
        ValueError, sqlite3.Error: see `prepared`.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY, isolation_level=None)
    try:
        version_of(file)
    except BaseException:
        file.close()
        raise
    return file


def version_of(file: sqlite3.Connection) -> int:
    """Which version of the schema a file has; 0 for an empty one."""
    mark, version = (int(file.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version"))
    if mark not in (0, OURS) or (mark == 0 and file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
        raise ValueError("the file is a database of something else")
    if version > len(MIGRATIONS):
        raise ValueError(f"it was written by a later version of the bridge (schema {version})")
    return version


def read_rows(
    file: sqlite3.Connection, chosen: str = " ORDER BY number", named: tuple[object, ...] = ()
) -> Iterator[Row]:
    """The entries that are chosen, as they stand there.

    Raises:
        ValueError: one is not what this bridge writes.
    """
    with closing(file.execute(f"SELECT {COLUMNS} FROM entry{chosen}", named)) as found:  # noqa: S608  # our own words
        for number, order, at, what, state, facts, sealed in found:
            yield number, Entry(order, at, What(what), State(state), json.loads(facts)), sealed


def last_of(file: sqlite3.Connection) -> tuple[int, str]:
    """Number and seal of the last entry."""
    found = file.execute("SELECT number, seal FROM entry ORDER BY number DESC LIMIT 1").fetchone()
    return (int(found[0]), str(found[1])) if found else (0, FIRST)


def _stands(file: sqlite3.Connection, entry: Entry) -> bool:
    """Whether an entry is there although its writing failed, as when the disk took it and then reported an error."""
    same = "SELECT 1 FROM entry WHERE id = ? AND at = ? AND what = ?"
    return file.execute(same, (entry.order, entry.at, entry.what.value)).fetchone() is not None


def _inserted(file: sqlite3.Connection, last: tuple[int, str], entries: list[Entry]) -> tuple[int, str]:
    """Append entries, all or none. A number that is taken means that somebody else writes here: it is refused."""
    number, before = last
    file.execute("BEGIN IMMEDIATE")
    try:
        for entry in entries:
            number, before = number + 1, seal(before, entry)
            facts = json.dumps(entry.facts, separators=(",", ":"), sort_keys=True)
            row = (number, entry.order, entry.at, entry.what.value, entry.state.value, facts, before)
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
