"""A disk that a test can hold: each commit of the journal then waits on the journal's thread until it is released."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from ibkr_bridge.orders.journal import store
from tests.harness import TEST_TIMEOUT_S, with_timeout


class Disk:
    """The disk of every journal in a test.

    Args:
        patch: replaces the commit of the journal until the test ends.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.threads: set[int] = set()
        self.failure: Exception | None = None
        """The next commits raise it before anything is on the disk."""
        self.late_failures = 0
        """So many of the next commits are on the disk and report an error all the same."""
        self._commit = store.commit
        self._is_free = threading.Event()
        self._is_free.set()
        self._is_holding = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        patch.setattr(store, "commit", self._hold_commit)

    def hold(self) -> None:
        """From now on, let each commit wait until `release`."""
        self._is_holding.clear()
        self._is_free.clear()

    def release(self) -> None:
        """Let the waiting commits and all later ones proceed."""
        self._is_free.set()

    async def wait_until_holding(self) -> None:
        """Wait until a commit is held."""
        await with_timeout(self._is_holding.wait())

    def _hold_commit(self, file: sqlite3.Connection) -> None:
        self.threads.add(threading.get_ident())
        self.commits += 1
        if not self._is_free.is_set():
            self._loop.call_soon_threadsafe(self._is_holding.set)
            self._is_free.wait(TEST_TIMEOUT_S)
        if self.failure is not None:
            raise self.failure
        self._commit(file)
        if self.late_failures:
            self.late_failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
