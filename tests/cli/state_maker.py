"""A state directory with a journal and other files, for the tests of backups."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ibkr_bridge.events import Bus
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState

ORDERS = 3


def new_journal(state_dir: Path) -> JournalStore:
    """An open journal with some orders."""
    journal = JournalStore(state_dir / "main.orders.db", Bus(), lambda: datetime.now(UTC))
    for number in range(ORDERS):
        journal.append(journal.new_entry(f"order{number}", OrderEvent.SENT, OrderState.SENDING, {"kind": "place"}))
    return journal


def make_state(state_dir: Path) -> Path:
    """A state directory as a bridge that has ended leaves it."""
    state_dir.mkdir(mode=0o700)
    new_journal(state_dir).close()
    (state_dir / "main.paused.json").write_text('{"by": "full key"}')
    (state_dir / "main.cookies.json").write_text('{"cookies": "secret-login"}')
    (state_dir / "unrelated.txt").write_text("no file of the bridge")
    return state_dir
