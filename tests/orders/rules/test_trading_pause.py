"""The pause of trading: it is on disk, and in doubt it applies."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.events import Bus, Event, PauseCleared, PauseSet, StateUnavailable
from ibkr_bridge.orders.rules.trading_pause import PauseStatus, TradingPause
from tests.clocks import NOON


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the pause."""
    return tmp_path / "pause.json"


def load_again(path: Path | None) -> TradingPause:
    """The pause as the next run loads it."""
    trading_pause = TradingPause(path, Bus())
    trading_pause.load()
    return trading_pause


def test_a_new_bridge_is_not_paused(path: Path) -> None:
    """A new bridge trades."""
    trading_pause = load_again(path)

    assert (trading_pause.is_on, trading_pause.by, trading_pause.since) == (False, None, None)
    assert trading_pause.status() is None


def test_a_pause_outlives_a_restart(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """systemd restarts the bridge by itself, and that must not resume trading."""
    is_saved = TradingPause(path, bus).set("full", NOON)

    found = load_again(path)

    assert is_saved
    assert (found.is_on, found.by, found.since) == (True, "full", "2026-06-17T16:00:00+00:00")
    assert found.status() == PauseStatus("full", "2026-06-17T16:00:00+00:00")
    assert events_seen == [PauseSet("full")]


def test_a_resumption_outlives_a_restart(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """A person who resumed trading must not have to repeat it."""
    trading_pause = TradingPause(path, bus)
    trading_pause.set("full", NOON)

    is_saved = trading_pause.clear("previous")

    assert is_saved
    assert not trading_pause.is_on
    assert not load_again(path).is_on
    assert events_seen[-1] == PauseCleared("previous")


def test_the_first_pause_is_remembered(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """The status shows which key paused trading first, and when."""
    trading_pause = TradingPause(path, bus)
    trading_pause.set("full", NOON)

    trading_pause.set("previous", NOON.replace(hour=23))

    assert (trading_pause.by, load_again(path).since) == ("full", "2026-06-17T16:00:00+00:00")
    assert events_seen == [PauseSet("full")]


def test_resuming_without_a_pause_does_no_harm(path: Path, bus: Bus) -> None:
    """A second resumption has no effect."""
    assert TradingPause(path, bus).clear("full")


def test_only_the_user_of_the_bridge_can_read_the_file(path: Path, bus: Bus) -> None:
    """No other user can read the file, and no temporary file is left."""
    TradingPause(path, bus).set("full", NOON)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_without_a_state_directory_the_pause_is_in_memory(bus: Bus) -> None:
    """The result tells the caller that a restart will end the pause."""
    trading_pause = TradingPause(None, bus)
    trading_pause.load()

    is_saved = trading_pause.set("full", NOON)

    assert (is_saved, trading_pause.is_on) == (False, True)
    assert trading_pause.clear("full") is False
    assert not trading_pause.is_on


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[]", b"1", b'"x"', b'{"by":"x"}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_counts_as_a_pause(content: bytes, path: Path) -> None:
    """A full disk may have damaged the file, and that must not resume trading."""
    path.write_bytes(content)

    assert load_again(path).is_on


@pytest.mark.parametrize("kind", ["a directory", "a link to itself"])
def test_an_unreadable_file_counts_as_a_pause(kind: str, path: Path) -> None:
    """The file may be a pause, so trading is paused."""
    if kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to(path)

    assert load_again(path).is_on


@given(st.one_of(st.binary(), st.builds(lambda by: json.dumps({"by": by, "since": by}).encode(), st.text())))
def test_no_file_crashes_the_start(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """A file with any bytes counts as a pause."""
    path = tmp_path_factory.getbasetemp() / "any-pause.json"
    path.write_bytes(content)

    found = load_again(path)

    assert found.is_on
    assert len(found.by or "") <= 40


@pytest.fixture
def unwritable_path(tmp_path: Path) -> Path:
    """A path whose directory cannot exist."""
    (tmp_path / "state").write_text("a file stands here")
    return tmp_path / "state" / "pause.json"


def test_a_pause_that_cannot_be_written_applies_and_is_reported(
    unwritable_path: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """A full disk must not keep trading running; an event says that the pause ends with the process."""
    trading_pause = TradingPause(unwritable_path, bus)

    is_saved = trading_pause.set("full", NOON)

    assert (is_saved, trading_pause.is_on) == (False, True)
    (event,) = (each for each in events_seen if isinstance(each, StateUnavailable))
    assert "will not survive a restart" in event.hint


def test_a_resumption_that_cannot_be_written_is_reported(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """The file of the pause is still there, so the hint must not say that a restart ends the pause."""
    path.mkdir()
    (path / "something").write_text("so the directory cannot be removed")
    trading_pause = TradingPause(path, bus)
    trading_pause.load()

    is_saved = trading_pause.clear("full")

    assert (is_saved, trading_pause.is_on) == (False, False)
    (event,) = (each for each in events_seen if isinstance(each, StateUnavailable))
    assert "will not survive" not in event.hint
