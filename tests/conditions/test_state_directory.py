"""A look at the state directory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ibkr_bridge.conditions.state_directory import OUR_FILES, StateDirectory, look_at
from tests.harness import Harness, Placement, with_timeout


def test_a_directory_of_our_own_is_good(tmp_path: Path) -> None:
    """With the space of its disk."""
    tmp_path.chmod(0o700)
    (tmp_path / "main.orders.db").touch()

    state = look_at(tmp_path)

    assert state.problem is None
    assert state.free_bytes


def test_a_directory_that_is_missing_or_open_to_others_is_a_problem(tmp_path: Path) -> None:
    """Its files are secret."""
    tmp_path.chmod(0o777)

    assert look_at(tmp_path).problem
    assert look_at(tmp_path / "missing").problem == os.strerror(2)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a backup that root restored."""
    tmp_path.chmod(0o700)
    (tmp_path / "main.orders.db").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "main.orders.db")

    assert look_at(tmp_path).problem == "main.orders.db belongs to another user or cannot be written"


def test_a_file_that_cannot_be_looked_at_is_a_problem_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory without the permission to search it lists its files, and refuses to describe them."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    tmp_path.chmod(0o700)
    (tmp_path / "main.orders.db").touch()
    monkeypatch.setattr(Path, "exists", refuse)

    assert look_at(tmp_path).problem == "Permission denied"


def test_a_file_that_is_not_ours_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator may keep a copy there that the bridge cannot read."""
    tmp_path.chmod(0o700)
    (tmp_path / "copy of main.orders.db").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)

    assert look_at(tmp_path).problem is None


async def test_every_file_of_a_running_bridge_is_known(harness: Harness, tmp_path: Path) -> None:
    """A file with another name would not be looked at."""
    await harness.post("/gateway/pause")
    await harness.post(Placement().target, Placement().body)

    names = [each.name for each in (harness.bridge.settings.state_dir or tmp_path).iterdir()]

    assert names
    assert [name for name in names if not OUR_FILES.fullmatch(name)] == []


async def test_the_loop_looks_by_itself(tmp_path: Path) -> None:
    """A directory that was repaired is good again without a restart."""
    directory = StateDirectory(tmp_path / "missing")
    looking = asyncio.create_task(directory.run_loop())

    async def until_seen() -> None:
        while directory.state.problem is None:
            await asyncio.sleep(0)

    await with_timeout(until_seen())
    looking.cancel()

    assert directory.state.problem == os.strerror(2)


def test_a_bridge_without_a_directory_has_a_problem() -> None:
    """Its orders are refused."""
    assert StateDirectory(None).state.problem == "there is none"
