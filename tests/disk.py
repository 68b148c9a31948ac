"""A disk that takes its time: what commits the journal waits on the journal's own thread until a test lets it go."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from ibkr_bridge.orders.journal import store
from tests.harness import PATIENCE, within


class Disk:
    """The disk under every journal of a test.

    Args:
        patch: puts it there.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.threads: set[int] = set()
        self.failure: Exception | None = None
        """What the next commits end with, before anything is on the disk."""
        self._commit = store.commit
        self._is_free = threading.Event()
        self._is_free.set()
        self._is_at_work = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        patch.setattr(store, "commit", self._slow)

    def hold(self) -> None:
        """Take as long as it takes from now on."""
        self._is_at_work.clear()
        self._is_free.clear()

    def release(self) -> None:
        """Go on."""
        self._is_free.set()

    async def until_at_work(self) -> None:
        """Wait until a commit is held."""
        await within(self._is_at_work.wait())

    def _slow(self, file: sqlite3.Connection) -> None:
        self.threads.add(threading.get_ident())
        self.commits += 1
        if not self._is_free.is_set():
            self._loop.call_soon_threadsafe(self._is_at_work.set)
            self._is_free.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        self._commit(file)
