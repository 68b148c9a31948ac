"""The end mark: the number and seal of the journal's last entry, in a small file beside it.

The seals show a change inside the journal, but not that entries are missing at its end: a file that was cut off, or
replaced by an older copy, is a valid journal. The mark is written after each commit. If the bridge is killed between
the two writes, or the machine stops before the mark is on disk, the mark is behind the journal and never ahead of it;
so a journal that ends before its mark has lost entries. The mark is written in place, within one sector of the disk.
Where the whole journal is gone, somebody has moved it away, and a new one begins.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import suppress
from pathlib import Path

from ibkr_bridge.file_trust import read_regular

SUFFIX = "-last"  # as SQLite names the files beside a database, so that they are moved together
MARK = re.compile(rb"(?P<number>\d{20}) (?P<seal>[0-9a-f]{64})\n")
REMEDY = "restore the file, or move it away to begin a new one"


class EndMark:
    """The end mark of one journal.

    Args:
        path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        self._path = mark_path(path)
        self._file: int | None = None

    def check(self, journal: sqlite3.Connection, last: tuple[int, str]) -> None:
        """Compare the journal with its mark, and bring the mark up to date.

        Raises:
            ValueError: entries are missing at the journal's end.
            OSError: the mark cannot be opened.
        """
        self.close()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if flaw := missing_end(journal, last[0], _parse(os.pread(self._file, 200, 0))):
            self.close()
            raise ValueError(f"{flaw}; {REMEDY}")
        self.write(last)

    def forget(self) -> tuple[int, str] | None:
        """Remove the mark of a journal that is gone. Returns what it was."""
        mark = read_mark(self._journal)
        self._path.unlink(missing_ok=True)
        return mark

    def write(self, last: tuple[int, str]) -> None:
        """Write the number and seal of the last entry. A failure is no reason to stop: the mark is then behind."""
        if self._file is not None:
            with suppress(OSError):
                os.pwrite(self._file, f"{last[0]:020d} {last[1]}\n".encode(), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def mark_path(journal: Path) -> Path:
    """The file of a journal's end mark."""
    return journal.with_name(journal.name + SUFFIX)


def read_mark(journal: Path) -> tuple[int, str] | None:
    """Number and seal of a journal's end mark; None if there is none, as beside a copy, or if it cannot be read."""
    try:
        return _parse(read_regular(mark_path(journal))[:200])
    except OSError:
        return None


def missing_end(journal: sqlite3.Connection, count: int, mark: tuple[int, str] | None) -> str | None:
    """What the mark shows of a journal with `count` entries, as text; None if nothing is missing."""
    if mark is None or mark[0] == 0:
        return None
    number, seal = mark
    if count < number:
        return f"entries are missing at its end: it ends with entry {count}, and entry {number} was written"
    row = journal.execute("SELECT seal FROM entry WHERE number = ?", (number,)).fetchone()
    if row is None or row[0] != seal:
        return f"entry {number} is not the one that was written: the file was cut off or replaced, and written again"
    return None


def _parse(content: bytes) -> tuple[int, str] | None:
    match = MARK.fullmatch(content)
    return (int(match["number"]), match["seal"].decode()) if match else None
