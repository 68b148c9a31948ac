"""Files and directories that others own or may write."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from ibkr_bridge.file_trust import distrust, open_regular, read_regular

ME = 4711


def status(mode: int, uid: int = ME, gid: int = ME) -> os.stat_result:
    """The status of a file."""
    return os.stat_result((0o100000 | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.fixture(autouse=True)
def private_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user `me` whose group is its own, and a group `team` with others in it."""
    groups = {ME: ("me", "x", ME, []), 50: ("team", "x", 50, ["me", "you"]), 0: ("root", "x", 0, [])}
    users = {ME: ("me", "x", ME, ME, "", "/", "/"), 0: ("root", "x", 0, 0, "", "/", "/")}
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(groups[gid]))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(users[uid]))
    monkeypatch.setattr(os, "geteuid", lambda: ME)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (status(0o600), None),
        (status(0o644), None),
        (status(0o644, uid=0, gid=0), None),
        (status(0o664), None),  # the group is the user's own
        (status(0o664, gid=50), "can be written by other users"),
        (status(0o664, uid=0, gid=0), "can be written by other users"),
        (status(0o660, gid=99), "can be written by other users"),
        (status(0o646), "can be written by other users"),
        (status(0o600, uid=ME + 1), "belongs to another user"),
        (status(0o666, uid=ME + 1), "belongs to another user"),
    ],
)
def test_only_what_nobody_else_can_write_is_trusted(found: os.stat_result, reason: str | None) -> None:
    """The owner may change the mode at any time, so the owner counts first."""
    assert distrust(found) == reason


def test_a_file_of_our_own_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is made by default."""
    monkeypatch.undo()
    (tmp_path / "a").touch(mode=0o644)

    assert distrust((tmp_path / "a").stat()) is None


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "link to a pipe"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Opening a pipe would wait for ever, and a device may never end."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    if "pipe" in kind:
        os.mkfifo(tmp_path / "pipe" if kind.startswith("link") else path)
    if kind.startswith("link"):
        path.symlink_to(tmp_path / "pipe")

    with pytest.raises(OSError, match="it is no regular file"):
        read_regular(path)


def test_a_regular_file_is_read_through_a_link_unless_links_are_excluded(tmp_path: Path) -> None:
    """The caller decides: files of the state directory are never links."""
    (tmp_path / "target").write_bytes(b"text")
    (tmp_path / "link").symlink_to("target")

    assert read_regular(tmp_path / "link") == b"text"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "link", os.O_NOFOLLOW)
