"""Small files of the state directory: whole or not at all, and readable by nobody else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.state_file import check_writable, save_json, write_atomic


def saved(path: Path | None, told: object) -> tuple[bool, list[Event]]:
    """Save something; whether it will be there, and what was announced."""
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)
    return save_json(path, told, bus, "the file", "it will be gone"), events


def test_a_file_is_written_anew_for_its_owner_alone(tmp_path: Path) -> None:
    """No draft stays beside it."""
    path = tmp_path / "a.json"

    assert saved(path, {"a": 1}) == (True, [])
    assert saved(path, {"a": 2}) == (True, [])

    assert json.loads(path.read_text()) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_keep_removes_the_file(tmp_path: Path) -> None:
    """Whether or not there is one."""
    path = tmp_path / "a.json"
    saved(path, 1)

    assert saved(path, None) == (True, [])
    assert saved(path, None) == (True, [])
    assert not path.exists()


def test_without_a_state_directory_nothing_is_kept_or_announced() -> None:
    """That is what was asked for."""
    assert saved(None, {"a": 1}) == (False, [])


def test_a_file_that_cannot_be_written_is_announced_with_what_follows(tmp_path: Path) -> None:
    """And with what to do."""
    is_kept, events = saved(tmp_path / "no" / "a.json", 1)

    assert not is_kept
    (event,) = events
    assert isinstance(event, StateUnavailable)
    assert "it will be gone" in repr(event)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full in the last moment; no draft stays either."""
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, "new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_tried_without_a_trace(tmp_path: Path) -> None:
    """What a broken run left is removed; a link is not written through."""
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / ".probe").symlink_to(target)

    check_writable(tmp_path)

    assert (list(tmp_path.iterdir()), target.read_text()) == ([target], "mine")
    with pytest.raises(OSError, match=r".*"):
        check_writable(tmp_path / "no")
