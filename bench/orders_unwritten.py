"""The bridge without its journal on disk, to measure what the journal costs an order: `make bench-orders`.

    python -m bench.orders_unwritten memory|nothing

With `memory` every entry is sealed and stored as usual, but by SQLite in memory. With `nothing` no entry is stored.
Such a bridge must never place a real order, so the product has no setting for it: this launcher replaces the journal in
its own process alone.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from bench.wide import replace_name, run
from ibkr_bridge.orders.journal.store import JournalStore, prepare_schema
from ibkr_bridge.orders.journal.transitions import JournalEntry
from ibkr_bridge.profiles import factory
from tests.unlimited import UNLIMITED


class InMemory(JournalStore):
    """Stores its entries in memory until the process ends."""

    def _connect(self, path: Path) -> sqlite3.Connection:
        return prepare_schema(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))


class Nothing(InMemory):
    """Stores no entries."""

    def append(self, *entries: JournalEntry) -> None:
        pass


JOURNALS = {"memory": InMemory, "nothing": Nothing}

if __name__ == "__main__":
    replace_name(factory, "JournalStore", JOURNALS[sys.argv[1]])
    sys.exit(run(UNLIMITED, sys.argv[2:]))
