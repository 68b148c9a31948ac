"""The bridge on a disk that takes two seconds for every commit: `make bench-slow-disk`.

The product has no setting for it and must not have one: this launcher changes its own process alone. Where the journal
is written on the event loop, all of the bridge stands still for as long.
"""

from __future__ import annotations

import sys
import time

from bench.wide import run
from ibkr_bridge import daemon as app
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import JournalEntry
from tests.unlimited import UNLIMITED

COMMIT_S = 2.0


class OnSlowDisk(JournalStore):
    """Takes its time wherever it is written."""

    def _append(self, entries: tuple[JournalEntry, ...]) -> None:
        if entries or self._pending:
            time.sleep(COMMIT_S)
        super()._append(entries)


if __name__ == "__main__":
    app.Journal = OnSlowDisk  # type: ignore[attr-defined]  # in this process alone
    sys.exit(run(UNLIMITED, sys.argv[1:]))
