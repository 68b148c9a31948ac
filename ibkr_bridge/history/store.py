"""The history on disk: one SQLite file with two small tables. Calls here block; a thread makes them.

A file that cannot be read as a history is renamed, and a new one begins: unlike the journal of orders, no order depends
on it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ibkr_bridge.history.records import ConditionRecord, StateSpan

APPLICATION_ID = 0x49424B48  # "IBKH": SQLite's mark of the application that owns a file
KEEP = timedelta(days=90)
MAX_ROWS = 50_000  # of each table, about 15 MB; a session that flaps every second fills it in half a day
BUSY_TIMEOUT_S = 2.0  # seconds that another process, such as a backup, may hold the file
IN_MEMORY = ":memory:"
SCHEMA = """
    CREATE TABLE IF NOT EXISTS condition (
        number INTEGER PRIMARY KEY, revision INTEGER NOT NULL, id TEXT NOT NULL, profile TEXT, severity TEXT NOT NULL,
        text TEXT NOT NULL, do TEXT NOT NULL, url TEXT, began REAL NOT NULL, ended REAL);
    CREATE INDEX IF NOT EXISTS condition_revision ON condition (revision);
    CREATE TABLE IF NOT EXISTS span (
        number INTEGER PRIMARY KEY, profile TEXT NOT NULL, state TEXT NOT NULL, began REAL NOT NULL,
        ended REAL NOT NULL);
    CREATE INDEX IF NOT EXISTS span_ended ON span (ended);
    CREATE TABLE IF NOT EXISTS counter (revision INTEGER NOT NULL);
    INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
"""
INSERT_CONDITION = """
    INSERT INTO condition (revision, id, profile, severity, text, do, url, began, ended)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)
"""
SELECT_CONDITIONS = "SELECT revision, id, profile, severity, text, do, url, began, ended FROM condition"
UNUSABLE = """
    SELECT (SELECT COUNT(*) <> 1 OR MAX(typeof(revision)) <> 'integer' FROM counter)
        OR EXISTS (SELECT 1 FROM span WHERE typeof(profile) || typeof(state) <> 'texttext'
            OR typeof(began) || typeof(ended) <> 'realreal' OR MAX(ABS(began), ABS(ended)) > :latest)
        OR EXISTS (SELECT 1 FROM condition WHERE typeof(id) || typeof(severity) || typeof(text) <> 'texttexttext'
            OR typeof(do) || typeof(revision) || typeof(began) <> 'textintegerreal'
            OR typeof(profile) NOT IN ('text', 'null') OR typeof(url) NOT IN ('text', 'null')
            OR typeof(ended) NOT IN ('real', 'null') OR MAX(ABS(began), ABS(COALESCE(ended, 0))) > :latest)
"""
"""Whether a table has a value that no history has: SQLite stores any value in any column."""
LATEST = 2e11  # in the year 8307; Python has no later time than that of 9999
TOO_OLD = "DELETE FROM {0} WHERE ended < ?"
TOO_MANY = "DELETE FROM {0} WHERE number <= (SELECT MAX(number) FROM {0}) - ? AND ended IS NOT NULL"


class HistoryStore:
    """The history of all profiles; `path` is None to keep it in memory only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<HistoryStore {'in memory' if self._path is None else 'on disk'}>"

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def begin_condition(self, record: ConditionRecord) -> None:
        """Add a condition that has begun; its revision is assigned here.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        with self._transaction() as file:
            values = (_next_revision(file), record.id, record.profile, record.severity, record.text, record.do)
            storable = [_storable(each) if isinstance(each, str) else each for each in (*values, record.url)]
            file.execute(INSERT_CONDITION, (*storable, record.began.timestamp()))

    def end_condition(self, condition_id: str, profile: str | None, at: datetime) -> None:
        """Note that a condition has ended.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        with self._transaction() as file:
            file.execute(
                "UPDATE condition SET ended = MAX(?, began), revision = ?"
                " WHERE id = ? AND profile IS ? AND ended IS NULL",
                (at.timestamp(), _next_revision(file), _storable(condition_id), profile),
            )

    def open_conditions(self) -> list[ConditionRecord]:
        """The conditions that have not ended, as far as the file knows."""
        return self._conditions("ended IS NULL", (), -1)

    def conditions(self, profile: str | None, since: datetime, limit: int) -> list[ConditionRecord]:
        """The latest conditions that lasted at some time after `since`, of the bridge and one profile or of all."""
        where = "(profile IS NULL OR profile = ? OR ? IS NULL) AND (ended IS NULL OR ended >= ?)"
        found = self._conditions(where, (profile, profile, since.timestamp()), limit, "began DESC, number DESC")
        return found[::-1]

    def changes(self, profile: str | None, after: int, limit: int) -> list[ConditionRecord]:
        """The conditions that began or ended after a revision, the earliest change first."""
        where = "(profile IS NULL OR profile = ? OR ? IS NULL) AND revision > ?"
        return self._conditions(where, (profile, profile, after), limit)

    def revision(self) -> int:
        """The revision of the latest change."""
        return int(self._open().execute("SELECT revision FROM counter").fetchone()[0])

    def begin_span(self, profile: str, state: str, at: datetime) -> int:
        """Note that a session came into a state. Returns the number of the span.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        with self._transaction() as file:
            values = (profile, state, at.timestamp(), at.timestamp())
            cursor = file.execute("INSERT INTO span (profile, state, began, ended) VALUES (?, ?, ?, ?)", values)
            return int(cursor.lastrowid or 0)

    def extend_span(self, number: int, at: datetime) -> None:
        """Note that a state lasted until now.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        with self._transaction() as file:
            file.execute("UPDATE span SET ended = MAX(?, began) WHERE number = ?", (at.timestamp(), number))

    def spans(self, profile: str, since: datetime) -> list[StateSpan]:
        """The states of a session after `since`, in their order."""
        rows = self._open().execute(
            "SELECT profile, state, began, ended FROM span WHERE profile = ? AND ended >= ? ORDER BY number",
            (profile, since.timestamp()),
        )
        return [StateSpan(profile, state, _time(began), _time(ended)) for profile, state, began, ended in rows]

    def remove_old(self, now: datetime) -> None:
        """Remove what ended 90 days ago, and the earliest rows of a table that has too many.

        Raises:
            sqlite3.Error, OSError: it cannot be written.
        """
        with self._transaction() as file:
            for table in ("condition", "span"):
                file.execute(TOO_OLD.format(table), ((now - KEEP).timestamp(),))
                file.execute(TOO_MANY.format(table), (MAX_ROWS,))

    def _conditions(
        self, where: str, values: Sequence[object], limit: int, order: str = "revision"
    ) -> list[ConditionRecord]:
        query = f"{SELECT_CONDITIONS} WHERE {where} ORDER BY {order} LIMIT ?"
        return [_record(*row) for row in self._open().execute(query, (*values, limit))]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        file = self._open()
        with file:
            yield file

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            try:
                self._file = _open_file(self._path)
            except sqlite3.DatabaseError as exc:
                if self._path is None or isinstance(exc, sqlite3.OperationalError):
                    raise
                self._path.replace(self._path.with_name(f"{self._path.name}-damaged"))
                self._file = _open_file(self._path)
        return self._file


def _open_file(path: Path | None) -> sqlite3.Connection:
    """Open or make the file, which only its owner may read.

    Raises:
        sqlite3.DatabaseError: it is no history, or damaged.
        sqlite3.OperationalError, OSError: it cannot be used now.
    """
    if path is not None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    # Calls come from one thread at a time, though not from the same one.
    file = sqlite3.connect(path or IN_MEMORY, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    file.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        _check_owner(file)
        file.execute("PRAGMA synchronous = NORMAL")
        _prepare_tables(file)
    except BaseException:
        file.close()
        raise
    return file


def _check_owner(file: sqlite3.Connection) -> None:
    (owner,) = file.execute("PRAGMA application_id").fetchone()
    (tables,) = file.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and tables:
        raise sqlite3.DatabaseError("the file belongs to another program")
    file.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _prepare_tables(file: sqlite3.Connection) -> None:
    """Make the tables, or check those that are there: one value that cannot be read would end the bridge.

    Raises:
        sqlite3.DatabaseError: they are damaged, or have another form.
    """
    try:
        file.executescript(SCHEMA)
        (whole,) = file.execute("PRAGMA quick_check(1)").fetchone()
        (is_unusable,) = file.execute(UNUSABLE, {"latest": LATEST}).fetchone()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # the file is locked, or the disk fails
            raise
        raise sqlite3.DatabaseError("the tables have another form") from exc
    if whole != "ok" or is_unusable:
        raise sqlite3.DatabaseError("a table has a value that no history has")


def _storable(text: str) -> str:
    # JSON can contain half of a pair of surrogates, which SQLite does not store.
    return text.encode("utf-8", "replace").decode()


def _next_revision(file: sqlite3.Connection) -> int:
    (revision,) = file.execute("UPDATE counter SET revision = revision + 1 RETURNING revision").fetchone()
    return int(revision)


def _record(
    revision: int,
    condition_id: str,
    profile: str | None,
    severity: str,
    text: str,
    do: str,
    url: str | None,
    began: float,
    ended: float | None,
) -> ConditionRecord:
    end = None if ended is None else _time(ended)
    return ConditionRecord(revision, condition_id, profile, severity, text, do, url, _time(began), end)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
