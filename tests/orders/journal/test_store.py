"""The journal on disk: whole after a kill, closed to other eyes, and honest about a disk that fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge.errors import JournalDown
from ibkr_bridge.events import Bus, Fact, StateTrouble
from ibkr_bridge.orders.journal import store as module
from ibkr_bridge.orders.journal.store import MIGRATIONS, OURS, Journal, opened_to_read, prepared, read_rows
from ibkr_bridge.orders.journal.transitions import FIRST, Entry, State, What, prove, seal

ROOT = Path(__file__).resolve().parents[3]


def utc() -> datetime:
    """The wall's time."""
    return datetime.now(UTC)


@pytest.fixture
def told() -> list[Fact]:
    """What was announced."""
    return []


@pytest.fixture
def bus(told: list[Fact]) -> Bus:
    """A bus that is listened to."""
    bus = Bus()
    bus.listen(told.append)
    return bus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "main.orders.db"


@pytest.fixture
def journal(path: Path, bus: Bus) -> Journal:
    """A fresh journal."""
    return Journal(path, bus, utc)


def sent(journal: Journal, order: str) -> Entry:
    """An order that leaves."""
    return journal.entry(order, What.SENT, State.SENDING, {"kind": "place"})


def flaws(path: Path) -> list[str]:
    """What is wrong with a file."""
    with closing(opened_to_read(path)) as file:
        return [flaw.why for flaw in prove(read_rows(file))]


def test_what_was_written_is_there(journal: Journal, path: Path, bus: Bus) -> None:
    """In order, sealed, over a restart."""
    entries = [
        sent(journal, "a"),
        journal.entry("a", What.TAKEN, State.PLACED, {"order_ids": ["1"]}),
        sent(journal, "b"),
    ]
    for entry in entries:
        journal.write(entry)
    journal.close()
    again = Journal(path, bus, utc)
    again.write(sent(again, "c"))

    assert [entry for _, entry, _ in again.rows()][:3] == entries
    assert [entry.order for _, entry, _ in again.rows("a")] == ["a", "a"]
    assert flaws(path) == []


def test_every_commit_reaches_the_disk(journal: Journal, path: Path) -> None:
    """WAL, and FULL on the connection that writes."""
    journal.write(sent(journal, "a"))
    file = journal._file  # the pragma is the connection's own
    assert file is not None

    assert file.execute("PRAGMA synchronous").fetchone() == (2,)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nobody_else_can_read_it(journal: Journal, path: Path) -> None:
    """Nor its two companions, whatever the umask; an open file of an earlier day is closed."""
    journal.write(sent(journal, "a"))

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    journal.close()
    path.chmod(0o644)
    journal.rows()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change", ["UPDATE entry SET facts = '{}'", "DELETE FROM entry", "REPLACE INTO entry SELECT * FROM entry"]
)
def test_entries_are_only_ever_added(journal: Journal, path: Path, change: str) -> None:
    """The file itself refuses anything else, also to somebody with a shell."""
    journal.write(sent(journal, "a"))

    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("PRAGMA recursive_triggers = ON")
        other.execute(change)


def test_a_full_disk_refuses_what_has_not_left_and_keeps_what_has(
    journal: Journal, path: Path, told: list[Fact]
) -> None:
    """Orders wait for room; facts wait in memory, and are written first when there is some."""
    journal.write(sent(journal, "a"))
    file = journal._file  # as a disk that has no room for another page
    assert file is not None
    file.execute(f"PRAGMA max_page_count = {file.execute('PRAGMA page_count').fetchone()[0]}")
    large = {"error": "x" * 100_000}

    journal.note(journal.entry("a", What.LOST, State.UNKNOWN, large))
    assert journal.trouble is not None
    assert [type(fact) for fact in told] == [StateTrouble]
    room = Journal._connect

    def no_room(self: Journal, where: Path) -> sqlite3.Connection:
        found = room(self, where)
        found.execute(f"PRAGMA max_page_count = {found.execute('PRAGMA page_count').fetchone()[0]}")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "_connect", no_room)
        with pytest.raises(JournalDown) as refused:
            journal.write(sent(journal, "b"))
    journal.close()
    journal.write(sent(journal, "c"))

    assert "full" in refused.value.detail
    assert [(entry.order, entry.what) for _, entry, _ in journal.rows()] == [
        ("a", What.SENT),
        ("a", What.LOST),
        ("c", What.SENT),
    ]
    assert journal.trouble is None
    assert flaws(path) == []


def test_no_state_directory_is_no_journal(bus: Bus) -> None:
    """And so no order."""
    journal = Journal(None, bus, utc)

    with pytest.raises(JournalDown):
        journal.write(sent(journal, "a"))
    with pytest.raises(JournalDown):
        journal.rows()


def test_a_directory_that_is_not_there_yet(tmp_path: Path, bus: Bus) -> None:
    """Is tried again at the next order."""
    journal = Journal(tmp_path / "later" / "main.orders.db", bus, utc)
    with pytest.raises(JournalDown):
        journal.rows()
    assert journal.trouble is not None

    (tmp_path / "later").mkdir()
    journal.write(sent(journal, "a"))

    assert journal.trouble is None


def test_garbage_is_left_as_it_is(path: Path, bus: Bus) -> None:
    """A file that is no journal is neither written to nor moved: a person has to look."""
    path.write_bytes(b"not a database at all" * 100)
    journal = Journal(path, bus, utc)

    with pytest.raises(JournalDown):
        journal.write(sent(journal, "a"))
    assert path.read_bytes() == b"not a database at all" * 100


def test_a_database_of_something_else_is_left_as_it_is(path: Path, bus: Bus) -> None:
    """However much it looks like one of ours."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE entry (number INTEGER)")
    journal = Journal(path, bus, utc)

    with pytest.raises(JournalDown, match="something else"):
        journal.write(sent(journal, "a"))


def test_a_link_is_not_written_through(path: Path, tmp_path: Path, bus: Bus) -> None:
    """Whatever it points at is not ours."""
    path.symlink_to(tmp_path / "elsewhere")
    journal = Journal(path, bus, utc)

    with pytest.raises(JournalDown):
        journal.write(sent(journal, "a"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_journal_of_a_later_bridge_is_left_as_it_is(journal: Journal, path: Path, bus: Bus) -> None:
    """After a step back to an older version, orders are refused rather than written wrongly."""
    journal.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    later = Journal(path, bus, utc)

    with pytest.raises(JournalDown, match="later version"):
        later.write(sent(later, "a"))


def test_a_journal_of_an_earlier_bridge_is_brought_up_to_date(
    path: Path, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version of the file leads to the next, and what stands in it stays."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", MIGRATIONS[:1])
        first = Journal(path, bus, utc)
        first.write(sent(first, "a"))
        first.close()
    journal = Journal(path, bus, utc)
    journal.write(sent(journal, "b"))

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert file.execute("PRAGMA application_id").fetchone() == (OURS,)
        assert file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entry_of'").fetchone() == (1,)
    assert flaws(path) == []


def test_two_bridges_cannot_share_a_file(journal: Journal, path: Path, bus: Bus) -> None:
    """Each would be blind to the other's orders. The second may when the first has ended, however it ended."""
    other = Journal(path, bus, utc)
    journal.write(sent(journal, "a"))

    with pytest.raises(JournalDown, match="another bridge"):
        other.write(sent(other, "b"))
    journal.close()
    other.write(sent(other, "c"))

    assert [entry.order for _, entry, _ in other.rows()] == ["a", "c"]
    assert flaws(path) == []


def test_an_entry_the_disk_took_and_denied_is_not_written_twice(journal: Journal, path: Path) -> None:
    """An error after the commit leaves it there; it is looked for before it is written again."""
    journal.write(sent(journal, "a"))
    taken = journal.entry("a", What.TAKEN, State.PLACED, {})
    journal.write(taken)
    journal._waiting.append(taken)  # as the error left it
    journal._let_go()

    journal.write(sent(journal, "b"))

    assert [entry.what for _, entry, _ in journal.rows()] == [What.SENT, What.TAKEN, What.SENT]


def test_the_recent_ones_and_the_open_ones_are_taken_up(journal: Journal) -> None:
    """Whole stories only; what ended long ago stays on disk."""
    old = Entry("old", "2020-01-01T00:00:00.000000+00:00", What.SENT, State.SENDING, {})
    for entry in (
        old,
        Entry("old", old.at, What.TAKEN, State.PLACED, {}),
        Entry("open", old.at, What.SENT, State.SENDING, {}),
        sent(journal, "new"),
    ):
        journal.write(entry)

    assert [entry.order for _, entry, _ in journal.recent("2026-01-01")] == ["open", "new"]


def test_what_is_refused_does_not_wait_for_a_disk(bus: Bus) -> None:
    """A caller in a loop must not fill the memory while the journal cannot be written."""
    journal = Journal(None, bus, utc)

    journal.note(journal.entry("a", What.REFUSED, State.REFUSED, {}))
    journal.note(journal.entry("b", What.TAKEN, State.PLACED, {}))

    assert [entry.order for entry in journal._waiting] == ["b"]


def test_a_spoilt_entry_stops_orders_and_nothing_else(journal: Journal, path: Path) -> None:
    """What is not understood is no reason to begin as if nothing had been."""
    journal.write(sent(journal, "a"))
    journal.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DROP TRIGGER entry_stays")
        file.execute("UPDATE entry SET what = 'nonsense'")

    with pytest.raises(JournalDown):
        journal.recent("2026-01-01")
    assert "nonsense" in str(journal.trouble)


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from ibkr_bridge.events import Bus
from ibkr_bridge.orders.journal.store import Journal
from ibkr_bridge.orders.journal.transitions import State, What

journal = Journal(Path(sys.argv[1]), Bus(), lambda: datetime.now(UTC))
for number in range(100_000):
    journal.write(journal.entry(f"o{number}", What.SENT, State.SENDING, {"n": number, "x": "y" * 500}))
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

    with closing(opened_to_read(path)) as file:
        written = [entry.facts["n"] for _, entry, _ in read_rows(file)]
    assert written[: last + 1] == list(range(last + 1))
    assert len(written) <= last + 2
    assert flaws(path) == []


def test_the_first_seal_is_known() -> None:
    """So that others can check a journal without this program."""
    entry = Entry("a", "2026-06-17T16:00:00.000000+00:00", What.SENT, State.SENDING, {"kind": "place"})

    assert entry.text == '["a","2026-06-17T16:00:00.000000+00:00","sent","sending",{"kind":"place"}]'
    assert seal(FIRST, entry) == "ab07aa85be4214f469b31faf1debc069ba7da5765f562c17eb8f1ec595da41f1"


def test_a_file_that_cannot_be_prepared_is_closed(tmp_path: Path) -> None:
    """Nothing is left open behind an error."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 5000)
    file = sqlite3.connect(path)

    with pytest.raises(sqlite3.DatabaseError):
        prepared(file)
    with pytest.raises(sqlite3.ProgrammingError):
        file.execute("SELECT 1")
