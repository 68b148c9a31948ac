"""The bridge on a disk that takes two seconds for every commit: `make bench-slow-disk`.

The product has no setting for it and must not have one: this launcher replaces the journal in its own process alone. If
the journal were written on the event loop, the whole bridge would stop for as long as the commit takes.
"""

from __future__ import annotations

import sys
import time

from bench.wide import replace_name, run
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import JournalEntry
from ibkr_bridge.profiles import factory
from tests.unlimited import UNLIMITED

COMMIT_S = 2.0


class OnSlowDisk(JournalStore):
    """Sleeps before each commit."""

    def append(self, *entries: JournalEntry) -> None:
        if entries or self._pending:
            time.sleep(COMMIT_S)
        super().append(*entries)


if __name__ == "__main__":
    replace_name(factory, "JournalStore", OnSlowDisk)
    sys.exit(run(UNLIMITED, sys.argv[1:]))
