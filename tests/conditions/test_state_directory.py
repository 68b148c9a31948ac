"""A look at the state directory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ibkr_bridge.conditions.state_directory import StateDirectory, look_at
from tests.harness import with_timeout


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
