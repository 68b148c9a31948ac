"""The journal on disk: complete after a kill, readable only by its owner, and correct after an error of the disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.journal import store as module
from ibkr_bridge.orders.journal.end_mark import read_mark
from ibkr_bridge.orders.journal.recent_orders import RecentOrders
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
    """The wall-clock time."""
    return datetime.now(UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the journal."""
    return tmp_path / "main.orders.db"


@pytest.fixture
def journal(path: Path, bus: Bus) -> JournalStore:
    """An empty journal."""
    return JournalStore(path, bus, utc)


def sent_entry(journal: JournalStore, order: str) -> JournalEntry:
    """The entry of an order that is about to be sent."""
    return journal.new_entry(order, OrderEvent.SENT, OrderState.SENDING, {"kind": "place"})


def append_or_keep(journal: JournalStore, entry: JournalEntry) -> None:
    """Write an entry about something that has happened, as the journal's thread does."""
    try:
        journal.append(entry)
    except JournalUnavailable:
        journal.keep_pending(entry)


def flaws(path: Path) -> list[str]:
    """The reasons of all flaws that the verification of a file finds."""
    with closing(open_read_only(path)) as file:
        return [flaw.reason for flaw in verify(read_rows(file))]


def test_entries_are_read_back_in_order_after_a_restart(journal: JournalStore, path: Path, bus: Bus) -> None:
    """A later run has to know all orders of the earlier ones, and its entries continue the chain of seals."""
    entries = [
        sent_entry(journal, "a"),
        journal.new_entry("a", OrderEvent.TAKEN, OrderState.PLACED, {"order_ids": ["1"]}),
        sent_entry(journal, "b"),
    ]
    for entry in entries:
        journal.append(entry)
    journal.close()
    reopened = JournalStore(path, bus, utc)
    reopened.append(sent_entry(reopened, "c"))

    assert [entry for _, entry, _ in reopened.read_all()][:3] == entries
    assert [entry.order_id for _, entry, _ in reopened.read_all("a")] == ["a", "a"]
    assert flaws(path) == []


def test_every_commit_is_synchronous(journal: JournalStore, path: Path) -> None:
    """Only with WAL and `synchronous = FULL` an entry is on disk when `append` returns."""
    journal.append(sent_entry(journal, "a"))
    file = journal._file  # the pragma belongs to one connection
    assert file is not None

    assert file.execute("PRAGMA synchronous").fetchone() == (2,)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_only_the_owner_can_read_the_files(journal: JournalStore, path: Path) -> None:
    """This includes the lock and SQLite's two companion files. The mode of an existing file is corrected."""
    journal.append(sent_entry(journal, "a"))

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    journal.close()
    path.chmod(0o644)
    journal.read_all()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_disk_that_stays_full_is_reported_once(
    journal: JournalStore, monkeypatch: pytest.MonkeyPatch, events_seen: list[Event]
) -> None:
    """Every order tries again. Only an entry that is written shows that the problem is over: the file can be read."""
    commit, problems = module.commit, list[str | None]()
    journal.append(sent_entry(journal, "a"))

    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    for is_full in (True, True, False, True):
        monkeypatch.setattr(module, "commit", fail if is_full else commit)
        append_or_keep(journal, sent_entry(journal, "b"))
        journal.read_all()
        problems.append(journal.problem)
        assert len(events_seen) == (2 if len(problems) == 4 else 1)

    assert problems == ["database or disk is full", "database or disk is full", None, "database or disk is full"]


def test_a_journal_that_can_be_opened_again_has_no_problem(
    journal: JournalStore, tmp_path: Path, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was to be written is missing, whether an earlier entry once failed or not."""
    never_written = JournalStore(tmp_path / "later" / "main.orders.db", bus, utc)
    with monkeypatch.context() as patch:
        patch.setattr(module, "commit", lambda _: (_ for _ in ()).throw(OSError("full")))
        append_or_keep(journal, sent_entry(journal, "a"))
    journal.append(sent_entry(journal, "b"))
    journal._close_file()
    with monkeypatch.context() as patch:
        patch.setattr(JournalStore, "_connect", lambda *_: (_ for _ in ()).throw(OSError("gone")))
        for each in (journal, never_written):
            with pytest.raises(JournalUnavailable):
                each.read_all()
    before = journal.problem, never_written.problem
    (tmp_path / "later").mkdir()

    for each in (journal, never_written):
        each.read_all()

    assert before == ("gone", "gone")
    assert (journal.problem, never_written.problem) == (None, None)


def test_the_end_mark_follows_each_entry(journal: JournalStore, path: Path) -> None:
    """A journal that was cut off after the last start is noticed too."""
    numbers = []
    for order in ("a", "b"):
        journal.append(sent_entry(journal, order))
        mark = read_mark(path)
        numbers.append(mark[0] if mark is not None else 0)

    assert numbers == [1, 2]


def test_a_closed_journal_leaves_no_file_open(journal: JournalStore, path: Path) -> None:
    """Neither the journal nor its lock nor its end mark; a profile that is built anew would leave more and more."""

    def open_files() -> set[str]:
        names = set[str]()
        for link in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # another one that was closed meanwhile
                names.add(str(link.readlink()))
        return {Path(name).name for name in names if name.startswith(str(path))}

    journal.append(sent_entry(journal, "a"))
    before = open_files()

    journal.close()
    journal.close()

    assert {"main.orders.db", "main.orders.db-last"} < before
    assert open_files() == set()


@pytest.mark.parametrize(
    "change", ["UPDATE entry SET facts = '{}'", "DELETE FROM entry", "REPLACE INTO entry SELECT * FROM entry"]
)
def test_entries_cannot_be_changed_or_removed(journal: JournalStore, path: Path, change: str) -> None:
    """Triggers in the file refuse it to other programs too, such as the shell of SQLite."""
    journal.append(sent_entry(journal, "a"))

    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("PRAGMA recursive_triggers = ON")
        other.execute(change)


def test_on_a_full_disk_orders_are_refused_and_entries_about_sent_orders_are_kept(
    journal: JournalStore, path: Path, events_seen: list[Event]
) -> None:
    """What has happened to a sent order cannot be undone: its entry waits in memory, and is written first later."""
    journal.append(sent_entry(journal, "a"))
    file = journal._file  # so the file has no room for another page, as on a full disk
    assert file is not None
    file.execute(f"PRAGMA max_page_count = {file.execute('PRAGMA page_count').fetchone()[0]}")
    large = {"error": "x" * 100_000}

    append_or_keep(journal, journal.new_entry("a", OrderEvent.LOST, OrderState.UNKNOWN, large))
    assert journal.problem is not None
    assert [type(event) for event in events_seen] == [StateUnavailable]
    connect = JournalStore._connect

    def connect_to_full_disk(self: JournalStore, path: Path) -> sqlite3.Connection:
        connection = connect(self, path)
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalStore, "_connect", connect_to_full_disk)
        with pytest.raises(JournalUnavailable) as refused:
            journal.append(sent_entry(journal, "b"))
    journal.close()
    journal.append(sent_entry(journal, "c"))

    assert "full" in refused.value.detail
    assert [(entry.order_id, entry.what) for _, entry, _ in journal.read_all()] == [
        ("a", OrderEvent.SENT),
        ("a", OrderEvent.LOST),
        ("c", OrderEvent.SENT),
    ]
    assert journal.problem is None
    assert flaws(path) == []


def test_without_a_state_directory_the_journal_is_unavailable(bus: Bus) -> None:
    """The bridge then refuses orders, as a lost response could not be searched for after a restart."""
    journal = JournalStore(None, bus, utc)

    with pytest.raises(JournalUnavailable):
        journal.append(sent_entry(journal, "a"))
    with pytest.raises(JournalUnavailable):
        journal.read_all()


def test_a_missing_directory_is_tried_again_at_the_next_order(tmp_path: Path, bus: Bus) -> None:
    """It may be on a disk that is mounted later. No restart is needed."""
    journal = JournalStore(tmp_path / "later" / "main.orders.db", bus, utc)
    with pytest.raises(JournalUnavailable):
        journal.read_all()
    assert journal.problem is not None

    (tmp_path / "later").mkdir()
    journal.append(sent_entry(journal, "a"))

    assert journal.problem is None


def test_a_file_that_is_not_a_database_is_left_unchanged(path: Path, bus: Bus) -> None:
    """It is neither written to nor moved: a person has to find out what it is."""
    path.write_bytes(b"not a database at all" * 100)
    journal = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable):
        journal.append(sent_entry(journal, "a"))
    assert path.read_bytes() == b"not a database at all" * 100


def test_a_database_of_another_program_is_refused(path: Path, bus: Bus) -> None:
    """Even one with a table of the same name has not the mark of the bridge."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE entry (number INTEGER)")
    journal = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable, match="another program"):
        journal.append(sent_entry(journal, "a"))


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path, bus: Bus) -> None:
    """The file to which it points may belong to another program."""
    path.symlink_to(tmp_path / "elsewhere")
    journal = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable):
        journal.append(sent_entry(journal, "a"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_journal_of_a_later_version_is_refused(journal: JournalStore, path: Path, bus: Bus) -> None:
    """After a downgrade orders are refused, as this version could write wrong entries."""
    journal.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    later = JournalStore(path, bus, utc)

    with pytest.raises(JournalUnavailable, match="later version"):
        later.append(sent_entry(later, "a"))


def test_a_journal_of_an_earlier_version_is_migrated(path: Path, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update of the bridge must not lose the orders in the journal: existing entries are not changed."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", MIGRATIONS[:1])
        first = JournalStore(path, bus, utc)
        first.append(sent_entry(first, "a"))
        first.close()
    journal = JournalStore(path, bus, utc)
    journal.append(sent_entry(journal, "b"))

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entry_of'").fetchone() == (1,)
    assert flaws(path) == []


def test_two_bridges_cannot_share_a_journal(journal: JournalStore, path: Path, bus: Bus) -> None:
    """Neither of them would know the orders of the other. When the first one has ended, the second one may write."""
    other = JournalStore(path, bus, utc)
    journal.append(sent_entry(journal, "a"))

    with pytest.raises(JournalUnavailable, match="another bridge"):
        other.append(sent_entry(other, "b"))
    journal.close()
    other.append(sent_entry(other, "c"))

    assert [entry.order_id for _, entry, _ in other.read_all()] == ["a", "c"]
    assert flaws(path) == []


def test_an_entry_that_was_stored_with_an_error_is_not_written_twice(journal: JournalStore, path: Path) -> None:
    """The disk may report an error after the commit, so a pending entry is searched for before it is written."""
    journal.append(sent_entry(journal, "a"))
    entry = journal.new_entry("a", OrderEvent.TAKEN, OrderState.PLACED, {})
    journal.append(entry)
    journal._pending.append(entry)  # as after an error of the disk
    journal._close_file()

    journal.append(sent_entry(journal, "b"))

    assert [entry.what for _, entry, _ in journal.read_all()] == [OrderEvent.SENT, OrderEvent.TAKEN, OrderEvent.SENT]


def test_recent_orders_and_open_orders_are_read_with_all_their_entries(journal: JournalStore) -> None:
    """Orders that were settled long ago are not loaded, so that the memory stays small."""
    old = JournalEntry("old", "2020-01-01T00:00:00.000000+00:00", OrderEvent.SENT, OrderState.SENDING, {})
    for entry in (
        old,
        JournalEntry("old", old.at, OrderEvent.TAKEN, OrderState.PLACED, {}),
        JournalEntry("open", old.at, OrderEvent.SENT, OrderState.SENDING, {}),
        sent_entry(journal, "new"),
    ):
        journal.append(entry)

    assert [
        entry.order_id
        for _, entry, _ in journal.read_recent(RecentOrders(datetime(2026, 1, 1, tzinfo=UTC), lambda _: 0.0))
    ] == ["open", "new"]


def test_a_refusal_is_not_kept_in_memory_while_the_disk_fails(bus: Bus) -> None:
    """A caller that repeats refused orders in a loop must not fill the memory."""
    journal = JournalStore(None, bus, utc)

    append_or_keep(journal, journal.new_entry("a", OrderEvent.REFUSED, OrderState.REFUSED, {}))
    append_or_keep(journal, journal.new_entry("b", OrderEvent.TAKEN, OrderState.PLACED, {}))

    assert [entry.order_id for entry in journal._pending] == ["b"]


def test_an_invalid_entry_makes_the_journal_unavailable(journal: JournalStore, path: Path) -> None:
    """If it were skipped, the bridge would not know an order that may exist."""
    journal.append(sent_entry(journal, "a"))
    journal.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_stays")
        file.execute("UPDATE entry SET what = 'nonsense'")

    with pytest.raises(JournalUnavailable):
        journal.read_recent(RecentOrders(datetime(2026, 1, 1, tzinfo=UTC), lambda _: 0.0))
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
def test_a_kill_at_any_time_loses_no_written_entry(path: Path, after: int) -> None:
    """Every entry that was reported as written is in the file, and the chain of seals is complete."""
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


def test_the_form_of_a_sealed_entry_does_not_change() -> None:
    """Other programs can verify a journal without the bridge, and old journals stay valid."""
    entry = JournalEntry(
        "a", "2026-06-17T16:00:00.000000+00:00", OrderEvent.SENT, OrderState.SENDING, {"kind": "place"}
    )

    assert entry.text == '["a","2026-06-17T16:00:00.000000+00:00","sent","sending",{"kind":"place"}]'
    assert seal(FIRST_SEAL, entry) == "ab07aa85be4214f469b31faf1debc069ba7da5765f562c17eb8f1ec595da41f1"


def test_a_file_that_cannot_be_prepared_is_closed(tmp_path: Path) -> None:
    """After an error no connection to the file stays open."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 5000)
    file = sqlite3.connect(path)

    with pytest.raises(sqlite3.DatabaseError):
        prepare_schema(file)
    with pytest.raises(sqlite3.ProgrammingError):
        file.execute("SELECT 1")


@pytest.mark.parametrize(
    ("what", "state", "withdrawal"),
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
    withdrawal: object,
) -> None:
    """Nothing was sent for it. The next entry in the file records that, before any other entry."""
    if what is OrderEvent.CONFIRMED:
        journal.append(sent_entry(journal, "a"), journal.new_entry("a", OrderEvent.ASKED, OrderState.QUESTION, {}))
    commit = module.commit
    monkeypatch.setattr(module, "commit", lambda file: _commit_and_fail(commit, file))
    entry = journal.new_entry("a", what, state, {})
    with pytest.raises(JournalUnavailable):
        journal.append(entry)
    journal.withdraw_if_written(entry)
    monkeypatch.setattr(module, "commit", commit)

    journal.append(sent_entry(journal, "b"))

    rows = journal.read_all()
    assert [(row[1].what, row[1].state) for row in rows][-2] == withdrawal
    assert rows[-2][1].facts["stopped"] is True
    assert flaws(path) == []


def test_a_withdrawn_order_has_one_refusal_in_the_file(
    journal: JournalStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store writes the refusal itself, and the submitter appends a second one, which would be a flaw."""
    commit, entry = module.commit, sent_entry(journal, "a")
    monkeypatch.setattr(module, "commit", lambda file: _commit_and_fail(commit, file))
    with pytest.raises(JournalUnavailable):
        journal.append(entry)
    journal.withdraw_if_written(entry)
    monkeypatch.setattr(module, "commit", commit)

    append_or_keep(journal, journal.new_entry("a", OrderEvent.REFUSED, OrderState.REFUSED, {}))

    assert [row[1].what for row in journal.read_all()] == [OrderEvent.SENT, OrderEvent.REFUSED]
    assert flaws(path) == []


def test_an_entry_that_never_reached_the_file_is_not_withdrawn(journal: JournalStore, path: Path) -> None:
    """The file could not be opened, so it cannot have the entry. A loop of refusals must not fill the memory."""
    path.mkdir()
    entry = sent_entry(journal, "a")
    with pytest.raises(JournalUnavailable):
        journal.append(entry)
    journal.withdraw_if_written(entry)
    path.rmdir()

    journal.append(sent_entry(journal, "b"))

    assert [row[1].order_id for row in journal.read_all()] == ["b"]
    assert journal._doubtful == []


def _commit_and_fail(commit: Callable[[sqlite3.Connection], None], file: sqlite3.Connection) -> None:
    commit(file)
    raise sqlite3.OperationalError("disk I/O error")


def test_a_database_of_another_program_is_not_read_as_a_journal(tmp_path: Path) -> None:
    """`orders verify` says so, in place of an error of SQLite."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE entry (number INTEGER)")

    with pytest.raises(ValueError, match="another program"):
        open_read_only(path)
