"""Small files of the state directory: written completely or not at all, and readable only by their owner."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.state_file import check_private, check_writable, load_json, load_text, save_json, write_atomic


def save(path: Path | None, value: object) -> tuple[bool, list[Event]]:
    """Save a value. Returns whether it was saved, and the published events."""
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)
    return save_json(path, value, bus, "the file", "it will be gone"), events


def test_a_file_is_replaced_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    """It may contain cookies or keys. No temporary file stays in the directory."""
    path = tmp_path / "a.json"

    assert save(path, {"a": 1}) == (True, [])
    assert save(path, {"a": 2}) == (True, [])

    assert json.loads(path.read_text()) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_in_place_of_the_file_has_no_value(tmp_path: Path) -> None:
    """The bridge must not wait for a writer."""
    path = tmp_path / "a.json"
    os.mkfifo(path)

    assert load_json(path) is None
    assert save(path, 1) == (True, [])
    assert load_json(path) == 1


def test_saving_none_removes_the_file(tmp_path: Path) -> None:
    """A second removal does no harm."""
    path = tmp_path / "a.json"
    save(path, 1)

    assert save(path, None) == (True, [])
    assert save(path, None) == (True, [])
    assert not path.exists()


def test_a_saved_value_is_loaded_again(tmp_path: Path) -> None:
    """Only the value counts, not how it was written."""
    save(tmp_path / "a.json", {"a": [1, "b"]})

    assert load_json(tmp_path / "a.json") == {"a": [1, "b"]}


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_an_unreadable_file_has_no_value(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, one that was cut off, and one that is no text count as empty."""
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)

    assert load_json(path) is None
    assert load_json(None) is None


def test_without_a_state_directory_nothing_is_saved_or_reported() -> None:
    """The settings say that there is none, so it is not an error."""
    assert save(None, {"a": 1}) == (False, [])


def test_a_file_that_cannot_be_written_is_reported_with_the_consequence(tmp_path: Path) -> None:
    """An operator must know what will be lost at the next restart."""
    is_saved, events = save(tmp_path / "no" / "a.json", 1)

    assert not is_saved
    (event,) = events
    assert isinstance(event, StateUnavailable)
    assert "it will be gone" in repr(event)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be full in the last step. The temporary file is removed too."""
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, "new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_checking_a_directory_leaves_no_file_in_it(tmp_path: Path) -> None:
    """A test file of an interrupted run is removed. A symbolic link of its name is not followed."""
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / ".probe").symlink_to(target)

    check_writable(tmp_path)

    assert (list(tmp_path.iterdir()), target.read_text()) == ([target], "mine")
    with pytest.raises(OSError, match=r".*"):
        check_writable(tmp_path / "no")


def test_a_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    """A user who creates such a link would choose which file is read or overwritten."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    path = tmp_path / "a.json"
    path.symlink_to(mine)
    path.with_suffix(".draft").symlink_to(mine)

    with pytest.raises(OSError, match=r".*"):
        load_text(path)
    write_atomic(path, "new")

    assert (mine.read_text(), load_text(path), path.is_symlink()) == ("mine", "new", False)


@pytest.mark.parametrize(
    ("mode", "uid", "reason"),
    [
        (0o700, None, None),
        (0o755, None, None),
        (0o777, None, "can be written by other users"),
        (0o1777, None, "can be written by other users"),
        (0o770, None, "can be written by other users"),
        (0o700, 54321, "belongs to another user"),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_only_a_directory_of_our_own_keeps_state(
    tmp_path: Path, mode: int, uid: int | None, reason: str | None
) -> None:
    """In any other one somebody could replace the journal."""
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)
    if uid is not None:
        os.chown(path, uid, uid)

    if reason is None:
        check_private(path)
    else:
        with pytest.raises(OSError, match=reason):
            check_private(path)


def test_a_link_or_a_file_is_no_state_directory(tmp_path: Path) -> None:
    """Not even one that leads to a good directory."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="it is a link"):
        check_private(tmp_path / "link")
    with pytest.raises(OSError, match="no directory"):
        check_private(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_root_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    """A command that root runs writes for the bridge's own user, which could not read it otherwise."""
    os.chown(tmp_path, 12345, 12346)

    write_atomic(tmp_path / "keys.json", "{}")

    status = (tmp_path / "keys.json").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 12346, 0o600)
