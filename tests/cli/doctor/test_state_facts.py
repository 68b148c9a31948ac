"""What is the case with the state directory and the journal in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ibkr_bridge.cli.doctor.bounded import Child, UserIds
from ibkr_bridge.cli.doctor.state_facts import StateFacts, look_at_state

NOBODY = UserIds(65534, 65534)
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


def look(path: Path | None, user: UserIds | None = None) -> StateFacts:
    """One look, in a child as the command has it."""
    with Child(lambda: look_at_state(path), user) as child:
        return StateFacts(**child.result(10.0))


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A directory that every user can reach; pytest's own directories belong to one user."""
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o011)
    return tmp_path


def test_without_a_directory_there_is_no_path() -> None:
    """Orders are refused then."""
    assert look(None) == StateFacts("")


def test_a_directory_of_ones_own_is_well(tmp_path: Path) -> None:
    """There is space, and no journal yet."""
    tmp_path.chmod(0o700)

    state = look(tmp_path)

    assert (state.exists, state.private_problem, state.unwritable, state.file_problem) == (True, "", "", "")
    assert state.free_bytes
    assert not state.has_journal


@NEEDS_ROOT
def test_a_directory_of_another_user_cannot_be_used(open_path: Path) -> None:
    """As after `mkdir` by root."""
    state_dir = open_path / "state"
    state_dir.mkdir(mode=0o755)

    assert "belongs to" not in look(state_dir, NOBODY).private_problem  # root's own is trusted, yet not writable
    os.chown(state_dir, 1, 1)

    assert "belongs to another user" in look(state_dir, NOBODY).private_problem


@NEEDS_ROOT
def test_a_file_that_root_restored_cannot_be_used(open_path: Path) -> None:
    """The directory is right, and the journal in it is not."""
    state_dir = open_path / "state"
    state_dir.mkdir(mode=0o700)
    (state_dir / "main.orders.db").write_bytes(b"")
    (state_dir / "main.orders.db").chmod(0o600)
    os.chown(state_dir, NOBODY.uid, NOBODY.gid)

    assert "main.orders.db belongs to another user" in look(state_dir, NOBODY).file_problem


def test_a_damaged_journal_has_a_flaw(tmp_path: Path) -> None:
    """Every entry is sealed with the one before."""
    tmp_path.chmod(0o700)
    (tmp_path / "main.orders.db").write_bytes(b"no journal")

    state = look(tmp_path)

    assert state.has_journal
    assert "cannot be read as a journal" in state.journal_flaw


@NEEDS_ROOT
def test_a_directory_that_cannot_be_made_is_named(open_path: Path) -> None:
    """By the nearest one that exists."""
    open_path.chmod(0o755)

    assert look(open_path / "a" / "b", NOBODY).unwritable == str(open_path)
