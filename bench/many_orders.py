"""`python -m bench.many_orders`, which `make bench-many-orders` runs: a day of 200,000 orders in memory and at a start.

A journal with so many rejected orders is written. Then a process of its own loads it as a bridge does at its start, and
another one loads an empty journal. The exit status is 1 if the day takes more than 64 MiB of memory, or if the part of
the start that callers wait for takes more than two seconds.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.about import describe_machine, print_progress
from bench.report import table
from ibkr_bridge.events import Bus
from ibkr_bridge.orders.journal.order_record import StoredResponse, digest
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState
from ibkr_bridge.orders.journal.writer import JournalWriter

ORDERS = 200_000
BATCH = 1000  # orders that are written together
MAX_MIB, MAX_START_S = 64.0, 2.0
REFUSAL = StoredResponse(400, "application/json", json.dumps({"error": "Order rejected: " + "reason " * 12}))


@dataclass(frozen=True)
class Load:
    """What one process measured."""

    start_s: float
    """Until callers are served; new orders wait for the next figure."""
    rows_s: float
    peak_mib: float
    orders: int


def main() -> int:
    """Measure and print; return the exit status."""
    if len(sys.argv) == 2:
        print(json.dumps(asdict(asyncio.run(_load(Path(sys.argv[1]))))))
        return 0
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-many-orders-") as scratch:
        empty, full = Path(scratch, "empty.orders.db"), Path(scratch, "full.orders.db")
        print_progress(f"a journal of {ORDERS:,} orders")
        _write(full)
        print_progress("starts")
        before, after = _measure(empty), _measure(full)
    more_mib = after.peak_mib - before.peak_mib
    rows = (
        ("orders of the day", f"{after.orders:,}"),
        ("more memory at its peak", f"{more_mib:.1f} MiB (at most {MAX_MIB:.0f})"),
        ("start until callers are served", f"{after.start_s:.2f} s (at most {MAX_START_S:.0f})"),
        ("and until new orders are compared with all of them", f"{after.rows_s:.2f} s"),
    )
    print("\n\n".join((table(("", ""), describe_machine()), table(("measured", "figure"), rows))))
    return 0 if more_mib <= MAX_MIB and after.start_s <= MAX_START_S else 1


def _write(path: Path) -> None:
    """Write a day of rejected orders, one after the other."""
    journal = JournalStore(path, Bus(), lambda: datetime.now(UTC))
    began = datetime.now(UTC) - timedelta(hours=20)
    for first in range(0, ORDERS, BATCH):
        moments = ((number, began + timedelta(seconds=number * 0.3)) for number in range(first, first + BATCH))
        journal.append(*(entry for number, at in moments for entry in _entries(number, at)))
    journal.close()


def _entries(number: int, at: datetime) -> Iterator[JournalEntry]:
    order, text = f"{int(at.timestamp() * 1000):011x}{number:09x}", at.isoformat(timespec="microseconds")
    sent = {"kind": "place", "account": "DU1234567", "owner": "owner", "key": "full", "request": f"{number:032x}"}
    identity = {"idempotency": None, "coids": [f"brdg-{order}"], "own_name": False, "method": "POST"}
    content = {"fingerprint": digest(str(number).encode()), "wanted": {"figures": {"quantity": "1", "tif": "DAY"}}}
    refusal = {"error": "Order rejected", "own": True, "answer": REFUSAL.facts}
    yield JournalEntry(order, text, OrderEvent.SENT, OrderState.SENDING, {**sent, **identity, **content})
    yield JournalEntry(order, text, OrderEvent.TURNED_DOWN, OrderState.REJECTED, refusal)
    yield JournalEntry(order, text, OrderEvent.TOLD, OrderState.REJECTED)


def _measure(path: Path) -> Load:
    command = [sys.executable, "-m", "bench.many_orders", str(path)]
    done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # this program itself
    return Load(**json.loads(done.stdout))


async def _load(path: Path) -> Load:
    bus, began = Bus(), time.monotonic()
    writer = JournalWriter(JournalStore(path, bus, lambda: datetime.now(UTC)), bus)
    repository = OrderRepository(writer, bus, lambda: datetime.now(UTC), time.monotonic)
    await repository.load()
    served = time.monotonic()
    await repository.wait_for_rows()
    rows = time.monotonic()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    orders = sum(repository.index.counts().values())
    await repository.close()
    return Load(served - began, rows - began, peak_mib, orders)


if __name__ == "__main__":
    sys.exit(main())
