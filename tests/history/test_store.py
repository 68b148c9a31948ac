"""The history on disk."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from ibkr_bridge.history import store as stores
from ibkr_bridge.history.records import ConditionRecord
from ibkr_bridge.history.store import HistoryStore
from tests.clocks import NOON

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def condition(name: str = "disk_low", profile: str | None = None, began: timedelta = timedelta()) -> ConditionRecord:
    """A condition that has begun."""
    return ConditionRecord(0, name, profile, "warning", "text", "do", None, NOON + began, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a file that does not exist yet."""
    return tmp_path / "bridge.history.db"


def test_a_condition_begins_and_ends(path: Path) -> None:
    """A reader that remembers the revision is told of both, also after a restart."""
    store = HistoryStore(path)
    store.begin_condition(condition())
    first = store.changes(None, 0, 10)
    store.end_condition("disk_low", None, NOON + MINUTE)
    store.close()

    again = HistoryStore(path)

    assert [(each.id, each.ended) for each in first] == [("disk_low", None)]
    assert [(each.id, each.ended) for each in again.changes(None, first[0].revision, 10)] == [
        ("disk_low", NOON + MINUTE)
    ]
    assert again.changes(None, again.revision(), 10) == []
    again.close()


def test_a_profile_sees_its_own_conditions_and_those_of_the_bridge(path: Path) -> None:
    """Not those of another profile."""
    store = HistoryStore(path)
    for profile in (None, "main", "other"):
        store.begin_condition(condition(profile=profile))

    assert [each.profile for each in store.conditions("main", NOON, 10)] == [None, "main"]
    assert [each.profile for each in store.changes("main", 0, 10)] == [None, "main"]
    assert len(store.conditions(None, NOON, 10)) == 3
    store.close()


def test_what_ended_before_is_not_listed_and_what_lasts_is(path: Path) -> None:
    """However early it began."""
    store = HistoryStore(path)
    store.begin_condition(condition("disk_low"))
    store.begin_condition(condition("mode_differs"))
    store.end_condition("disk_low", None, NOON + MINUTE)

    assert [each.id for each in store.conditions("main", NOON + DAY, 10)] == ["mode_differs"]
    store.close()


def test_the_latest_are_listed_if_there_are_too_many(path: Path) -> None:
    """In the order of their beginnings."""
    store = HistoryStore(path)
    for number in range(5):
        store.begin_condition(condition(began=number * MINUTE))
        store.end_condition("disk_low", None, NOON + number * MINUTE)

    assert [each.began for each in store.conditions("main", NOON, 2)] == [NOON + 3 * MINUTE, NOON + 4 * MINUTE]
    store.close()


def test_an_end_is_not_before_its_beginning(path: Path) -> None:
    """As after a clock that was set back."""
    store = HistoryStore(path)
    store.begin_condition(condition(began=MINUTE))
    store.end_condition("disk_low", None, NOON)

    (ended,) = store.conditions("main", NOON, 10)
    assert ended.ended == NOON + MINUTE
    store.close()


def test_old_rows_and_surplus_rows_are_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that lasts is never removed."""
    monkeypatch.setattr(stores, "MAX_ROWS", 2)
    store = HistoryStore(path)
    store.begin_condition(condition("mode_differs"))
    for number in range(4):
        store.extend_span(store.begin_span("main", f"state{number}", NOON), NOON + MINUTE)

    store.remove_old(NOON + 2 * MINUTE)
    assert [each.state for each in store.spans("main", NOON)] == ["state2", "state3"]

    store.remove_old(NOON + 91 * DAY)
    assert store.spans("main", NOON) == []
    assert [each.id for each in store.open_conditions()] == ["mode_differs"]
    store.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_a_file_that_is_no_history_is_set_aside(path: Path, content: bytes) -> None:
    """And a new one begins; nothing is lost that could have been read."""
    path.write_bytes(content)
    store = HistoryStore(path)
    store.begin_condition(condition())

    assert len(store.open_conditions()) == 1
    assert path.with_name("bridge.history.db-damaged").exists() == bool(content)
    store.close()


def test_a_file_of_another_program_is_set_aside(path: Path) -> None:
    """A database with tables, and without our mark."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE precious (value)")
    other.close()

    store = HistoryStore(path)
    assert store.revision() == 0
    store.close()
    assert path.with_name("bridge.history.db-damaged").exists()


@pytest.mark.parametrize(
    "damage",
    [
        *(
            "UPDATE condition SET began = 1e300",
            "UPDATE condition SET began = 'noon'",
            "UPDATE condition SET text = x'00'",
        ),
        *("UPDATE span SET ended = 1e300", "UPDATE span SET ended = 'noon'", "UPDATE counter SET revision = 'x'"),
        *("DROP TABLE counter; CREATE TABLE counter (x)", "DROP TABLE span; CREATE TABLE span (ended)"),
        *("DELETE FROM counter; INSERT INTO counter VALUES (1), (2)", "UPDATE condition SET severity = x'ff'"),
    ],
)
def test_a_file_with_a_value_that_no_history_has_is_set_aside(path: Path, damage: str) -> None:
    """A time beyond all times ended the loop that writes the history, and with it the bridge, at each start."""
    store = HistoryStore(path)
    store.begin_condition(condition())
    store.begin_span("main", "ready", NOON)
    store.close()
    with sqlite3.connect(path) as file:
        file.executescript(damage)
    file.close()

    assert not store.open_conditions()
    assert not store.spans("main", NOON - DAY)
    store.begin_condition(condition())
    assert store.revision() == 1
    assert path.with_name("bridge.history.db-damaged").exists()
    store.close()


def test_a_text_that_is_no_text_is_stored_as_far_as_it_is_one(path: Path) -> None:
    """JSON of IBKR's can have half a character, and a damaged file bytes that are no UTF-8."""
    store = HistoryStore(path)
    store.begin_condition(condition("half \ud800"))
    store.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE condition SET text = CAST(x'ff' AS TEXT)")
    file.close()

    assert [(each.id, each.text) for each in store.open_conditions()] == [("half ?", "\ufffd")]
    store.end_condition("half \ud800", None, NOON)
    assert store.open_conditions() == []
    store.close()


def test_only_its_owner_may_read_it_and_no_link_is_followed(path: Path, tmp_path: Path) -> None:
    """It is part of the state directory."""
    store = HistoryStore(path)
    store.revision()
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600

    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        HistoryStore(link).revision()


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """The recorder reports it and tries again."""
    with pytest.raises(OSError, match="No such file"):
        HistoryStore(tmp_path / "missing" / "bridge.history.db").revision()
