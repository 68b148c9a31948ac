"""The hand brake: on disk, and in doubt it holds."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.events import Bus, Fact, StateTrouble, TradingPaused, TradingResumed
from ibkr_bridge.orders.rules.trading_pause import Pause
from tests.clocks import NOON


@pytest.fixture
def facts() -> list[Fact]:
    """What was announced."""
    return []


@pytest.fixture
def bus(facts: list[Fact]) -> Bus:
    """A bus that keeps what it carries."""
    carrying = Bus()
    carrying.listen(facts.append)
    return carrying


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the pause is kept."""
    return tmp_path / "pause.json"


def reloaded(path: Path | None) -> Pause:
    """The pause as the next run finds it."""
    pause = Pause(path, Bus())
    pause.load()
    return pause


def test_there_is_no_pause_unless_somebody_set_one(path: Path) -> None:
    """A fresh bridge trades."""
    pause = reloaded(path)

    assert (pause.is_on, pause.by, pause.since) == (False, None, None)


def test_a_pause_outlives_a_restart(path: Path, bus: Bus, facts: list[Fact]) -> None:
    """Systemd starts the bridge anew by itself: that must not let orders through again."""
    kept = Pause(path, bus).set("full", NOON)

    found = reloaded(path)

    assert kept
    assert (found.is_on, found.by, found.since) == (True, "full", "2026-06-17T16:00:00+00:00")
    assert facts == [TradingPaused("full")]


def test_resuming_outlives_a_restart_as_well(path: Path, bus: Bus, facts: list[Fact]) -> None:
    """Somebody who let orders through does not want to do so twice."""
    pause = Pause(path, bus)
    pause.set("full", NOON)

    kept = pause.clear("previous")

    assert kept
    assert not pause.is_on
    assert not reloaded(path).is_on
    assert facts[-1] == TradingResumed("previous")


def test_the_first_who_paused_is_remembered(path: Path, bus: Bus, facts: list[Fact]) -> None:
    """The question on the next morning is who, and when."""
    pause = Pause(path, bus)
    pause.set("full", NOON)

    pause.set("previous", NOON.replace(hour=23))

    assert (pause.by, reloaded(path).since) == ("full", "2026-06-17T16:00:00+00:00")
    assert facts == [TradingPaused("full")]


def test_resuming_without_a_pause_does_no_harm(path: Path, bus: Bus) -> None:
    """Twice is as good as once."""
    assert Pause(path, bus).clear("full")


def test_the_file_is_readable_by_us_alone(path: Path, bus: Bus) -> None:
    """And nothing is left lying beside it."""
    Pause(path, bus).set("full", NOON)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_without_a_state_directory_the_pause_holds_in_memory(bus: Bus) -> None:
    """And whoever paused is told that it will not last."""
    pause = Pause(None, bus)
    pause.load()

    kept = pause.set("full", NOON)

    assert (kept, pause.is_on) == (False, True)
    assert pause.clear("full") is False
    assert not pause.is_on


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[]", b"1", b'"x"', b'{"by":"x"}', b"\xff", b"[" * 100_000])
def test_a_file_that_makes_no_sense_is_a_pause(content: bytes, path: Path) -> None:
    """A disk that ran full must not let orders through."""
    path.write_bytes(content)

    assert reloaded(path).is_on


@pytest.mark.parametrize("kind", ["a directory", "a link to itself"])
def test_a_file_that_cannot_be_read_is_a_pause(kind: str, path: Path) -> None:
    """Something stands there, and nobody knows what it says."""
    if kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to(path)

    assert reloaded(path).is_on


@settings(deadline=None)
@given(st.one_of(st.binary(), st.builds(lambda by: json.dumps({"by": by, "since": by}).encode(), st.text())))
def test_no_file_crashes_the_start(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever it holds, it is there: trading is paused."""
    path = tmp_path_factory.getbasetemp() / "any-pause.json"
    path.write_bytes(content)

    found = reloaded(path)

    assert found.is_on
    assert len(found.by or "") <= 40


@pytest.fixture
def no_place(tmp_path: Path) -> Path:
    """A state directory that is none."""
    (tmp_path / "state").write_text("a file stands here")
    return tmp_path / "state" / "pause.json"


def test_a_pause_that_cannot_be_written_holds_and_is_announced(no_place: Path, bus: Bus, facts: list[Fact]) -> None:
    """A full disk is no reason to trade on."""
    pause = Pause(no_place, bus)

    kept = pause.set("full", NOON)

    assert (kept, pause.is_on) == (False, True)
    (trouble,) = (fact for fact in facts if isinstance(fact, StateTrouble))
    assert "will not outlive a restart" in trouble.hint


def test_a_resumption_that_cannot_be_written_says_what_will_come_of_it(path: Path, bus: Bus, facts: list[Fact]) -> None:
    """The opposite of a pause that will be lost: this one will come back."""
    path.mkdir()
    (path / "something").write_text("which keeps it from being removed")
    pause = Pause(path, bus)
    pause.load()

    kept = pause.clear("full")

    assert (kept, pause.is_on) == (False, False)
    (trouble,) = (fact for fact in facts if isinstance(fact, StateTrouble))
    assert "will not outlive" not in trouble.hint
