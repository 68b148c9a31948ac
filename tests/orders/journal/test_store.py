"""The journal on disk: whole after a kill, closed to other eyes, and honest about a disk that fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.journal import store as module
from ibkr_bridge.orders.journal.store import (
    APPLICATION_ID,
    MIGRATIONS,
    JournalStore,
    open_read_only,
    prepare_schema,
    read_rows,
)
from ibkr_bridge.orders.journal.transitions import FIRST_SEAL, JournalEntry, OrderEvent, OrderState, seal, verify

ROOT = Path(__file__).resolve().parents[3]


def utc() -> datetime:
    """The wall's time."""
    return datetime.now(UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "main.orders.db"


@pytest.fixture
def journal(path: Path, bus: Bus) -> JournalStore:
    """A fresh journal."""
    return JournalStore(path, bus, utc)


def sent(journal: JournalStore, order: str) -> JournalEntry:
    """An order that leaves."""
    return journal.new_entry(order, OrderEvent.SENT, OrderState.SENDING, {"kind": "place"})


def append_or_keep(journal: JournalStore, entry: JournalEntry) -> None:
    """Write an entry about something that has happened, as the journal's thread does."""
    try:
        journal.append(entry)
    except JournalUnavailable:
        journal.keep_pending(entry)


def flaws(path: Path) -> list[str]:
    """What is wrong with a file."""
    with closing(open_read_only(path)) as file:
        return [flaw.reason for flaw in verify(read_rows(file))]


def test_what_was_written_is_there(journal: JournalStore, path: Path, bus: Bus) -> None:
    """In order, sealed, over a restart."""
    entries = [
        sent(journal, "a"),
        journal.new_entry("a", OrderEvent.TAKEN, OrderState.PLACED, {"order_ids": ["1"]}),
        sent(journal, "b"),
    ]
    for entry in entries:
        journal.append(entry)
    journal.close()
    again = JournalStore(path, bus, utc)
    again.append(sent(again, "c"))

    assert [entry for _, entry, _ in again.read_all()][:3] == entries
    assert [entry.order_id for _, entry, _ in again.read_all("a")] == ["a", "a"]
    assert flaws(path) == []


def test_every_commit_reaches_the_disk(journal: JournalStore, path: Path) -> None:
    """WAL, and FULL on the connection that writes."""
    journal.append(sent(journal, "a"))
    file = journal._file  # the pragma is the connection's own
    assert file is not None

    assert file.execute("PRAGMA synchronous").fetchone() == (2,)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nobody_else_can_read_it(journal: JournalStore, path: Path) -> None:
    """Nor its two companions, whatever the umask; an open file of an earlier day is closed."""
    journal.append(sent(journal, "a"))

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    journal.close()
    path.chmod(0o644)
    journal.read_all()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change", ["UPDATE entry SET facts = '{}'", "DELETE FROM entry", "REPLACE INTO entry SELECT * FROM entry"]
)
def test_entries_are_only_ever_added(journal: JournalStore, path: Path, change: str) -> None:
    """The file itself refuses anything else, also to somebody with a shell."""
    journal.append(sent(journal, "a"))

    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("PRAGMA recursive_triggers = ON")
        other.execute(change)


def test_a_full_disk_refuses_what_has_not_left_and_keeps_what_has(
    journal: JournalStore, path: Path, events_seen: list[Event]
) -> None:
    """Orders wait for room; facts wait in memory, and are written first when there is some."""
    journal.append(sent(journal, "a"))
    file = journal._file  # as a disk that has no room for another page
    assert file is not None
    file.execute(f"PRAGMA max_page_count = {file.execute('PRAGMA page_count').fetchone()[0]}")
    large = {"error": "x" * 100_000}

    append_or_keep(journal, journal.new_entry("a", OrderEvent.LOST, OrderState.UNKNOWN, large))
    assert journal.problem is not None
    assert [type(event) for event in events_seen] == [StateUnavailable]
    room = JournalStore._connect

    def no_room(self: JournalStore, where: Path) -> sqlite3.Connection:
        found = room(self, where)
        found.execute(f"PRAGMA max_page_count = {found.execute('PRAGMA page_count').fetchone()[0]}")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalStore, "_connect", no_room)
        with pytest.raises(JournalUnavailable) as refused:
            journal.append(sent(journal, "b"))
    journal.close()
    journal.append(sent(journal, "c"))

    assert "full" in refused.value.detail
    assert [(entry.order_id, entry.what) for _, entry, _ in journal.read_all()] == [
        ("a", OrderEvent.SENT),
        ("a", OrderEvent.LOST),
        ("c", OrderEvent.SENT),
    ]
    assert journal.problem is None
    assert flaws(path) == []


def test_no_state_directory_is_no_journal(bus: Bus) -> None:
    """And so no order."""
    journal = JournalStore(None, bus, utc)

    with pytest.raises(JournalUnavailable):
        journal.append(sent(journal, "a"))
    with pytest.raises(JournalUnavailable):
        journal.read_all()


def test_a_directory_that_is_not_there_yet(tmp_path: Path, bus: Bus) -> None:
    """Is tried again at the next order."""
    journal = JournalStore(tmp_path / "later" / "main.orders.db", bus, utc)
    with pytest.raises(JournalUnavailable):
        journal.read_all()
    assert journal.problem is not None

    (tmp_path / "later").mkdir()
    journal.append(sent(journal, "a"))

    assert journal.problem is None


def test_garbage_is_left_as_it_is(path: Path, bus: Bus) -> None:
    """A file that is no journal is neither written to nor moved: a person has to look."""
    path.write_bytes(b"not a database at all" * 100)
    journal = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable):
        journal.append(sent(journal, "a"))
    assert path.read_bytes() == b"not a database at all" * 100


def test_a_database_of_something_else_is_left_as_it_is(path: Path, bus: Bus) -> None:
    """However much it looks like one of ours."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE entry (number INTEGER)")
    journal = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable, match="another program"):
        journal.append(sent(journal, "a"))


def test_a_link_is_not_written_through(path: Path, tmp_path: Path, bus: Bus) -> None:
    """Whatever it points at is not ours."""
    path.symlink_to(tmp_path / "elsewhere")
    journal = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable):
        journal.append(sent(journal, "a"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_journal_of_a_later_bridge_is_left_as_it_is(journal: JournalStore, path: Path, bus: Bus) -> None:
    """After a step back to an older version, orders are refused rather than written wrongly."""
    journal.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    later = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable, match="later version"):
        later.append(sent(later, "a"))


def test_a_journal_of_an_earlier_bridge_is_brought_up_to_date(
    path: Path, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version of the file leads to the next, and what stands in it stays."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", MIGRATIONS[:1])
        first = JournalStore(path, bus, utc)
        first.append(sent(first, "a"))
        first.close()
    journal = JournalStore(path, bus, utc)
    journal.append(sent(journal, "b"))

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entry_of'").fetchone() == (1,)
    assert flaws(path) == []


def test_two_bridges_cannot_share_a_file(journal: JournalStore, path: Path, bus: Bus) -> None:
    """Each would be blind to the other's orders. The second may when the first has ended, however it ended."""
    other = JournalStore(path, bus, utc)
    journal.append(sent(journal, "a"))

    with pytest.raises(JournalUnavailable, match="another bridge"):
        other.append(sent(other, "b"))
    journal.close()
    other.append(sent(other, "c"))

    assert [entry.order_id for _, entry, _ in other.read_all()] == ["a", "c"]
    assert flaws(path) == []


def test_an_entry_the_disk_took_and_denied_is_not_written_twice(journal: JournalStore, path: Path) -> None:
    """An error after the commit leaves it there; it is looked for before it is written again."""
    journal.append(sent(journal, "a"))
    taken = journal.new_entry("a", OrderEvent.TAKEN, OrderState.PLACED, {})
    journal.append(taken)
    journal._pending.append(taken)  # as the error left it
    journal._close_file()

    journal.append(sent(journal, "b"))

    assert [entry.what for _, entry, _ in journal.read_all()] == [OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.SENT]


def test_the_recent_ones_and_the_open_ones_are_taken_up(journal: JournalStore) -> None:
    """Whole stories only; what ended long ago stays on disk."""
    old = JournalEntry("old", "2020-01-01T00:00:00.000000+00:00", OrderEvent.SENT, OrderState.SENDING, {})
    for entry in (
        old,
        JournalEntry("old", old.at, OrderEvent.TAKEN, OrderState.PLACED, {}),
        JournalEntry("open", old.at, OrderEvent.SENT, OrderState.SENDING, {}),
        sent(journal, "new"),
    ):
        journal.append(entry)

    assert [entry.order_id for _, entry, _ in journal.read_recent("2026-01-01")] == ["open", "new"]


def test_what_is_refused_does_not_wait_for_a_disk(bus: Bus) -> None:
    """A caller in a loop must not fill the memory while the journal cannot be written."""
    journal = JournalStore(None, bus, utc)

    append_or_keep(journal, journal.new_entry("a", OrderEvent.REFUSED, OrderState.REFUSED, {}))
    append_or_keep(journal, journal.new_entry("b", OrderEvent.TAKEN, OrderState.PLACED, {}))

    assert [entry.order_id for entry in journal._pending] == ["b"]


def test_a_spoilt_entry_stops_orders_and_nothing_else(journal: JournalStore, path: Path) -> None:
    """What is not understood is no reason to begin as if nothing had been."""
    journal.append(sent(journal, "a"))
    journal.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_stays")
        file.execute("UPDATE entry SET what = 'nonsense'")

    with pytest.raises(JournalUnavailable):
        journal.read_recent("2026-01-01")
    assert "nonsense" in str(journal.problem)


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from ibkr_bridge.events import Bus
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState

journal = JournalStore(Path(sys.argv[1]), Bus(), lambda: datetime.now(UTC))
for number in range(100_000):
    journal.append(journal.new_entry(f"o{number}", OrderEvent.SENT, OrderState.SENDING, {"n": number, "x": "y" * 500}))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [0, 7, 60, 333])
def test_a_kill_at_any_moment_loses_nothing_that_was_written(path: Path, after: int) -> None:
    """Whatever was reported as written is there, and the file is whole."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert writer.stdout is not None
    with writer:
        for line in writer.stdout:
            if int(line) >= after:
                break
        writer.send_signal(signal.SIGKILL)
        reported = [int(line) for line in writer.stdout if line.endswith("\n")]
    last = max([after, *reported])

    with closing(open_read_only(path)) as file:
        written = [entry.facts["n"] for _, entry, _ in read_rows(file)]
    assert written[: last + 1] == list(range(last + 1))
    assert len(written) <= last + 2
    assert flaws(path) == []


def test_the_first_seal_is_known() -> None:
    """So that others can check a journal without this program."""
    entry = JournalEntry(
        "a", "2026-06-17T16:00:00.000000+00:00", OrderEvent.SENT, OrderState.SENDING, {"kind": "place"}
    )

    assert entry.text == '["a","2026-06-17T16:00:00.000000+00:00","sent","sending",{"kind":"place"}]'
    assert seal(FIRST_SEAL, entry) == "ab07aa85be4214f469b31faf1debc069ba7da5765f562c17eb8f1ec595da41f1"


def test_a_file_that_cannot_be_prepared_is_closed(tmp_path: Path) -> None:
    """Nothing is left open behind an error."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 5000)
    file = sqlite3.connect(path)

    with pytest.raises(sqlite3.DatabaseError):
        prepare_schema(file)
    with pytest.raises(sqlite3.ProgrammingError):
        file.execute("SELECT 1")


@pytest.mark.parametrize(
    ("what", "state", "follows"),
    [
        (OrderEvent.SENT, OrderState.SENDING, (OrderEvent.REFUSED, OrderState.REFUSED)),
        (OrderEvent.CONFIRMED, OrderState.SENDING, (OrderEvent.HELD_BACK, OrderState.QUESTION)),
    ],
)
def test_an_entry_that_is_stored_with_an_error_is_withdrawn(
    journal: JournalStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: OrderEvent,
    state: OrderState,
    follows: object,
) -> None:
    """Nothing was sent for it; the next entry in the file says so, before anything else."""
    if what is OrderEvent.CONFIRMED:
        journal.append(sent(journal, "a"), journal.new_entry("a", OrderEvent.ASKED, OrderState.QUESTION, {}))
    commit = module.commit
    monkeypatch.setattr(module, "commit", lambda file: _commit_and_fail(commit, file))
    entry = journal.new_entry("a", what, state, {})
    with pytest.raises(JournalUnavailable):
        journal.append(entry)
    journal.withdraw_if_written(entry)
    monkeypatch.setattr(module, "commit", commit)

    journal.append(sent(journal, "b"))

    rows = journal.read_all()
    assert [(row[1].what, row[1].state) for row in rows][-2] == follows
    assert rows[-2][1].facts["stopped"] is True
    assert flaws(path) == []


def test_an_order_that_is_withdrawn_is_refused_once(
    journal: JournalStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The submitter writes a refusal too; the file has one of them."""
    commit, entry = module.commit, sent(journal, "a")
    monkeypatch.setattr(module, "commit", lambda file: _commit_and_fail(commit, file))
    with pytest.raises(JournalUnavailable):
        journal.append(entry)
    journal.withdraw_if_written(entry)
    monkeypatch.setattr(module, "commit", commit)

    append_or_keep(journal, journal.new_entry("a", OrderEvent.REFUSED, OrderState.REFUSED, {}))

    assert [row[1].what for row in journal.read_all()] == [OrderEvent.SENT, OrderEvent.REFUSED]
    assert flaws(path) == []


def test_an_entry_that_never_reached_the_file_is_not_withdrawn(journal: JournalStore, path: Path) -> None:
    """A disk that cannot be opened has nothing of it, and a loop of refusals must not fill the memory."""
    path.mkdir()
    entry = sent(journal, "a")
    with pytest.raises(JournalUnavailable):
        journal.append(entry)
    journal.withdraw_if_written(entry)
    path.rmdir()

    journal.append(sent(journal, "b"))

    assert [row[1].order_id for row in journal.read_all()] == ["b"]
    assert journal._doubtful == []


def _commit_and_fail(commit: Callable[[sqlite3.Connection], None], file: sqlite3.Connection) -> None:
    commit(file)
    raise sqlite3.OperationalError("disk I/O error")
