"""The pause of trading: it is on disk, and in doubt it applies."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.events import Bus, Event, PauseCleared, PauseSet, StateUnavailable
from ibkr_bridge.orders.rules.trading_pause import TradingPause
from tests.clocks import NOON


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the pause is kept."""
    return tmp_path / "pause.json"


def load_again(path: Path | None) -> TradingPause:
    """The pause as the next run finds it."""
    trading_pause = TradingPause(path, Bus())
    trading_pause.load()
    return trading_pause


def test_there_is_no_pause_unless_somebody_set_one(path: Path) -> None:
    """A fresh bridge trades."""
    trading_pause = load_again(path)

    assert (trading_pause.is_on, trading_pause.by, trading_pause.since) == (False, None, None)


def test_a_pause_outlives_a_restart(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """Systemd starts the bridge anew by itself: that must not let orders through again."""
    kept = TradingPause(path, bus).set("full", NOON)

    found = load_again(path)

    assert kept
    assert (found.is_on, found.by, found.since) == (True, "full", "2026-06-17T16:00:00+00:00")
    assert events_seen == [PauseSet("full")]


def test_resuming_outlives_a_restart_as_well(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """Somebody who let orders through does not want to do so twice."""
    trading_pause = TradingPause(path, bus)
    trading_pause.set("full", NOON)

    kept = trading_pause.clear("previous")

    assert kept
    assert not trading_pause.is_on
    assert not load_again(path).is_on
    assert events_seen[-1] == PauseCleared("previous")


def test_the_first_who_paused_is_remembered(path: Path, bus: Bus, events_seen: list[Event]) -> None:
    """The question on the next morning is who, and when."""
    trading_pause = TradingPause(path, bus)
    trading_pause.set("full", NOON)

    trading_pause.set("previous", NOON.replace(hour=23))

    assert (trading_pause.by, load_again(path).since) == ("full", "2026-06-17T16:00:00+00:00")
    assert events_seen == [PauseSet("full")]


def test_resuming_without_a_pause_does_no_harm(path: Path, bus: Bus) -> None:
    """Twice is as good as once."""
    assert TradingPause(path, bus).clear("full")


def test_the_file_is_readable_by_us_alone(path: Path, bus: Bus) -> None:
    """And nothing is left lying beside it."""
    TradingPause(path, bus).set("full", NOON)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_without_a_state_directory_the_pause_holds_in_memory(bus: Bus) -> None:
    """And whoever paused is told that it will not last."""
    trading_pause = TradingPause(None, bus)
    trading_pause.load()

    kept = trading_pause.set("full", NOON)

    assert (kept, trading_pause.is_on) == (False, True)
    assert trading_pause.clear("full") is False
    assert not trading_pause.is_on


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[]", b"1", b'"x"', b'{"by":"x"}', b"\xff", b"[" * 100_000])
def test_a_file_that_makes_no_sense_is_a_pause(content: bytes, path: Path) -> None:
    """A disk that ran full must not let orders through."""
    path.write_bytes(content)

    assert load_again(path).is_on


@pytest.mark.parametrize("kind", ["a directory", "a link to itself"])
def test_a_file_that_cannot_be_read_is_a_pause(kind: str, path: Path) -> None:
    """Something stands there, and nobody knows what it says."""
    if kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to(path)

    assert load_again(path).is_on


@settings(deadline=None)
@given(st.one_of(st.binary(), st.builds(lambda by: json.dumps({"by": by, "since": by}).encode(), st.text())))
def test_no_file_crashes_the_start(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever it holds, it is there: trading is paused."""
    path = tmp_path_factory.getbasetemp() / "any-pause.json"
    path.write_bytes(content)

    found = load_again(path)

    assert found.is_on
    assert len(found.by or "") <= 40


@pytest.fixture
def no_place(tmp_path: Path) -> Path:
    """A state directory that is none."""
    (tmp_path / "state").write_text("a file stands here")
    return tmp_path / "state" / "pause.json"


def test_a_pause_that_cannot_be_written_holds_and_is_announced(
    no_place: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """A full disk is no reason to trade on."""
    trading_pause = TradingPause(no_place, bus)

    kept = trading_pause.set("full", NOON)

    assert (kept, trading_pause.is_on) == (False, True)
    (trouble,) = (event for event in events_seen if isinstance(event, StateUnavailable))
    assert "will not survive a restart" in trouble.hint


def test_a_resumption_that_cannot_be_written_says_what_will_come_of_it(
    path: Path, bus: Bus, events_seen: list[Event]
) -> None:
    """The opposite of a pause that will be lost: this one will come back."""
    path.mkdir()
    (path / "something").write_text("which keeps it from being removed")
    trading_pause = TradingPause(path, bus)
    trading_pause.load()

    kept = trading_pause.clear("full")

    assert (kept, trading_pause.is_on) == (False, False)
    (trouble,) = (event for event in events_seen if isinstance(event, StateUnavailable))
    assert "will not survive" not in trouble.hint
