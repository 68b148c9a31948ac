"""Settled orders as small rows: what is needed to find one again. The order itself is read from the journal.

A full order record has kilobytes, and a busy day has 200,000 orders. A row has an order's id, state and age and the
hashes of its names, less than 200 bytes, in a database in memory. Two names may share a hash, so a search by name
reads the order from the journal and compares the name itself.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState

SCHEMA = """
    CREATE TABLE row (place INTEGER PRIMARY KEY, id TEXT NOT NULL, state TEXT NOT NULL, born REAL NOT NULL,
        left_at REAL);
    CREATE TABLE name (hash INTEGER, place INTEGER, PRIMARY KEY (hash, place)) WITHOUT ROWID;
    CREATE INDEX name_of ON name (place);
"""
BATCH = 1000  # rows that are inserted together
MAX_REMOVED = 100  # old rows that are removed at a time, in less than a millisecond


class SettledRow(NamedTuple):
    """One settled order."""

    place: int
    """Its place among all orders: a later order has a larger one."""
    id: str
    state: OrderState
    born: float
    """When it was created, in seconds since this run began; negative for an earlier run."""
    left_at: float | None = None
    """When its caller left without the response, the same way; None if it did not, or in an earlier run."""


class Names(NamedTuple):
    """The names by which a later call can mean an order."""

    idempotency_digest: str | None = None
    coids: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()
    anonymous: tuple[str, str] | None = None
    """Owner and fingerprint of an order without an identity of its own."""

    @property
    def hashes(self) -> list[int]:
        """A hash for each name, different for each kind."""
        kinds = ("coid", self.coids), ("reply", self.replies), ("order", self.order_ids)
        hashes = [hash((kind, name)) for kind, names in kinds for name in names]
        if self.idempotency_digest:
            hashes.append(hash(("key", self.idempotency_digest)))
        return [*hashes, hash(self.anonymous)] if self.anonymous is not None else hashes


def names_of(record: OrderRecord) -> Names:
    """The names of a settled order that still mean something."""
    if record.may_be_sent_again:
        return Names()
    has_coids = record.may_exist or record.settled_by_reconciliation  # else they are free again
    return Names(
        record.idempotency_digest,
        record.coids if has_coids else (),
        tuple(record.sent_replies),
        record.order_ids if record.state is OrderState.PLACED else (),
        None if record.has_own_identity else (record.owner, record.fingerprint),
    )


class SettledRows:
    """The settled orders of one profile."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._rows.executescript(SCHEMA)
        self.counts: Counter[OrderState] = Counter()
        """How many are in each state."""

    def __repr__(self) -> str:
        return f"<SettledRows {self.counts.total()}>"

    def add(self, rows: Iterable[tuple[SettledRow, Names]]) -> None:
        """Add orders."""
        iterator = iter(rows)
        while batch := list(islice(iterator, BATCH)):
            self._rows.execute("BEGIN")
            values = ((row.place, row.id, row.state.value, row.born, row.left_at) for row, _ in batch)
            self._rows.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?)", values)
            hashes = ((each, row.place) for row, names in batch for each in names.hashes)
            self._rows.executemany("INSERT OR IGNORE INTO name VALUES (?, ?)", hashes)
            self._rows.execute("COMMIT")
            self.counts.update(row.state for row, _ in batch)

    def find(self, place: int) -> SettledRow | None:
        """The order at a place."""
        return next(self._select("WHERE place = ?", place), None)

    def named(self, name: Names, max_rows: int = -1) -> list[SettledRow]:
        """The orders that may have one of these names, the latest first."""
        condition = "JOIN name USING (place) WHERE hash = ? ORDER BY place DESC LIMIT ?"
        return [row for each in name.hashes for row in self._select(condition, each, max_rows)]

    def newest_first(self, state: OrderState | None, max_rows: int) -> Iterator[SettledRow]:
        """The latest orders, of one state or of all."""
        value = state.value if state else None
        return self._select("WHERE ? IS NULL OR state = ? ORDER BY place DESC LIMIT ?", value, value, max_rows)

    def remove(self, row: SettledRow) -> None:
        """Remove an order."""
        self._rows.execute("DELETE FROM row WHERE place = ?", (row.place,))
        self._rows.execute("DELETE FROM name WHERE place = ?", (row.place,))
        self.counts[row.state] -= 1

    def remove_older(self, born: float) -> None:
        """Remove some of the orders that were created before a time, the oldest first."""
        oldest = next(self._select("ORDER BY place LIMIT 1"), None)
        if oldest is None or oldest.born >= born:
            return
        for row in list(self._select("ORDER BY place LIMIT ?", MAX_REMOVED)):
            if row.born < born:
                self.remove(row)

    def _select(self, condition: str, *parameters: object) -> Iterator[SettledRow]:
        query = f"SELECT row.place, id, state, born, left_at FROM row {condition}"  # noqa: S608  # constants only
        for place, order, state, born, left_at in self._rows.execute(query, parameters):
            yield SettledRow(place, order, OrderState(state), born, left_at)
