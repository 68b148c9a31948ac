"""The bridge without its journal's disk, to see what that costs an order: `make bench-orders`.

    python -m bench.orders_unwritten memory|nothing

With `memory` every entry is sealed and kept as ever, by SQLite in memory; with `nothing` no entry is kept at all. Such
a bridge must never place a real order, so the product has no setting for it: this launcher changes its own process.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from bench.wide import run
from ibkr_bridge import daemon
from ibkr_bridge.orders.journal.store import JournalStore, prepare_schema
from ibkr_bridge.orders.journal.transitions import JournalEntry
from tests.unlimited import UNLIMITED


class InMemory(JournalStore):
    """Keeps everything until it ends, on no disk."""

    def _connect(self, path: Path) -> sqlite3.Connection:
        return prepare_schema(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))


class Nothing(InMemory):
    """Keeps nothing."""

    def _append(self, entries: tuple[JournalEntry, ...]) -> None:
        pass


KINDS = {"memory": InMemory, "nothing": Nothing}

if __name__ == "__main__":
    daemon.Journal = KINDS[sys.argv[1]]  # type: ignore[attr-defined]  # in this process alone
    sys.exit(run(UNLIMITED, sys.argv[2:]))
