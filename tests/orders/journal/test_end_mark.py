"""The end mark: a journal that was cut off at its end is noticed, and a crash is no false alarm."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.cli.orders import verify_file
from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event
from ibkr_bridge.orders.journal.end_mark import EndMark, mark_path, read_mark
from ibkr_bridge.orders.journal.store import JournalStore, last_entry
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState


def at_noon() -> datetime:
    """The time of all entries."""
    return datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def write(path: Path, *orders: str, bus: Bus | None = None) -> None:
    """Append one refused order for each name, as one run of the bridge."""
    with closing(JournalStore(path, bus or Bus(), at_noon)) as journal:
        for order in orders:
            journal.append(journal.new_entry(order, OrderEvent.REFUSED, OrderState.REFUSED, {"kind": "place"}))


def cut(path: Path, count: int) -> None:
    """Remove the last entries, as somebody with an editor for SQLite would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_is_kept")
        file.execute("DELETE FROM entry WHERE number > (SELECT MAX(number) FROM entry) - ?", (count,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three entries."""
    path = tmp_path / "main.orders.db"
    write(path, "a", "b", "c")
    return path


def test_the_mark_is_the_last_entry(path: Path) -> None:
    """It is written beside the journal, for its owner alone."""
    assert (read_mark(path) or (0, ""))[0] == 3
    assert stat.S_IMODE(mark_path(path).stat().st_mode) == 0o600

    write(path, "d", "e")

    assert (read_mark(path) or (0, ""))[0] == 5
    assert verify_file(path) == (5, [])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_journal_that_was_cut_off_is_refused_and_found(path: Path, count: int) -> None:
    """Every seal in it is right, so only the mark shows it. It stays refused until somebody acts."""
    cut(path, count)

    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="entries are missing at its end"):
            write(path, "x")
    found, flaws = verify_file(path)
    assert (found, len(flaws)) == (3 - count, 1)
    assert f"ends with entry {3 - count}, and entry 3 was written" in flaws[0]


def test_an_empty_file_is_refused(path: Path) -> None:
    """An empty journal forgets orders that may still exist."""
    path.write_bytes(b"")

    with pytest.raises(JournalUnavailable, match="it ends with entry 0"):
        write(path, "x")


def test_where_the_journal_is_gone_a_new_one_begins_and_says_so(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """Moving it away is how one begins a new journal; the orders in the old one are not known any more."""
    path.unlink()

    write(path, "x", bus=bus)

    assert verify_file(path) == (1, [])
    assert "the file with 3 entries is gone" in repr(events_seen)


def test_an_older_copy_that_grew_again_is_found(path: Path, tmp_path: Path) -> None:
    """Its numbers go on where the mark is, but the seals are others."""
    shutil.copy(path, tmp_path / "old.db")
    write(path, "d", "e")
    shutil.copy(tmp_path / "old.db", tmp_path / "other.db")
    write(tmp_path / "other.db", "x", "y", "z")
    shutil.copy(tmp_path / "other.db", path)

    with pytest.raises(JournalUnavailable, match="entry 5 is not the one that was written"):
        write(path, "more")
    assert "entry 5" in verify_file(path)[1][0]


def test_a_journal_that_was_moved_away_with_its_mark_can_still_be_verified(path: Path, tmp_path: Path) -> None:
    """The names begin alike, so one command moves them together."""
    (tmp_path / "old").mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        each.rename(tmp_path / "old" / each.name)

    write(path, "x")

    assert verify_file(path) == (1, [])
    assert verify_file(tmp_path / "old" / path.name) == (3, [])


@pytest.mark.parametrize("state", ["behind", "missing", "empty", "torn"])
def test_a_mark_that_is_behind_or_unreadable_is_no_alarm(path: Path, state: str) -> None:
    """So it is after a kill between the two writes, after a power cut, and after an upgrade."""
    mark = mark_path(path)
    older = mark.read_bytes()
    write(path, "d", "e")
    if state == "missing":
        mark.unlink()
    else:
        mark.write_bytes({"behind": older, "empty": b"", "torn": older[:30]}[state])

    assert verify_file(path)[1] == []
    write(path, "f")

    assert (read_mark(path) or (0, ""))[0] == 6
    assert verify_file(path) == (6, [])


def test_a_mark_that_cannot_be_written_stops_no_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then behind."""

    def fail(*_: object) -> int:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "pwrite", fail)
    write(path, "d")
    monkeypatch.undo()

    assert (read_mark(path) or (0, ""))[0] == 3
    assert verify_file(path) == (4, [])


def test_the_mark_is_written_after_the_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it, a kill would leave a mark that is ahead, and the next start would refuse every order."""
    counts: list[int] = []

    def count(*_: object) -> int:
        with closing(sqlite3.connect(path)) as file:
            counts.append(file.execute("SELECT count(*) FROM entry").fetchone()[0])
        return 0

    monkeypatch.setattr(os, "pwrite", count)
    write(path, "d")

    assert counts == [3, 4]


def test_a_mark_that_is_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """The journal is not followed through a link either."""
    mark_path(path).unlink()
    (tmp_path / "mine").write_text("mine")
    mark_path(path).symlink_to(tmp_path / "mine")

    with pytest.raises(JournalUnavailable):
        write(path, "d")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_pipe_in_place_of_the_mark_is_not_waited_for(tmp_path: Path) -> None:
    """`orders verify` and the start must end."""
    path = tmp_path / "orders.db"
    write(path, "a")
    mark_path(path).unlink()
    os.mkfifo(mark_path(path))

    assert read_mark(path) is None
    with pytest.raises(JournalUnavailable):
        write(path, "b")


def test_a_closed_mark_holds_no_file(path: Path) -> None:
    """Each attempt to open a damaged journal opens the mark too; a leak would end in a bridge without files."""
    mark = EndMark(path)
    with closing(sqlite3.connect(path)) as journal:
        mark.check(journal, last_entry(journal))
        descriptor = mark._file
        assert descriptor is not None
    os.fstat(descriptor)

    mark.close()
    mark.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
