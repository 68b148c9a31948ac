"""What a new run reads of the journal: a few orders of the last day complete, and all the others as rows.

These are read completely: the latest orders, the latest refusals, those that are not settled, and those that a list of
IBKR may still show. They are read before the bridge serves. The rows follow in small chunks, so that entries can be
written in between; a call that must be compared with them waits until they are there. A busy day has 600,000 entries.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ibkr_bridge.clock import utc_ms
from ibkr_bridge.orders.journal.settled_rows import Names, SettledRow
from ibkr_bridge.orders.journal.transitions import OrderState

CLOCK_MARGIN_S = 3600.0  # an order may wait before its first entry, and somebody may have set the wall clock
MAX_COMPLETE = 1000  # of the latest orders: as many as `GET /orders` shows
CHUNK = 500  # orders that are read at a time: some milliseconds
# `state` is that of the entry with MAX(number): SQLite takes the other columns from its row.
UNSETTLED = """
    SELECT id FROM (SELECT id, state, MAX(number), SUM(what = 'lost') AS is_lost FROM entry GROUP BY id)
    WHERE state IN ('sending', 'question', 'unknown')
        OR (is_lost AND state IN ('not_placed', 'rejected') AND id >= :first)"""
LATEST = """
    SELECT id FROM entry AS sent WHERE what = 'sent' AND at >= :since
        AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.id = sent.id AND what = 'refused')
    ORDER BY number DESC LIMIT :max"""
REFUSED = "SELECT id FROM entry WHERE what = 'refused' AND at >= :since ORDER BY number DESC LIMIT :max"
# An id begins with the time, so the ids of a day are one range of the index.
OF_THE_DAY = """
    WITH day AS (
        SELECT id, state, MAX(number), SUM((what = 'sent') * number) AS place,
            SUM(what IN ('turned_down', 'dropped') AND facts LIKE '%"again":true%') AS is_free,
            SUM(what IN ('found', 'missed')) AS is_reconciled,
            group_concat(CASE WHEN what IN ('confirmed', 'declined') THEN json_extract(facts, '$.reply') END)
                AS replies,
            group_concat(CASE WHEN what IN ('taken', 'found') THEN json_extract(facts, '$.order_ids') END) AS order_ids
        FROM entry WHERE id > :after AND number <= :last GROUP BY id ORDER BY id LIMIT :max)
    SELECT day.id, place, day.state, is_free, is_reconciled, replies, order_ids, at,
        json_extract(facts, '$.kind') = 'place', json_extract(facts, '$.owner'), json_extract(facts, '$.fingerprint'),
        json_extract(facts, '$.idempotency'), json_extract(facts, '$.own_name'), json_extract(facts, '$.coids')
    FROM day LEFT JOIN entry ON number = place ORDER BY day.id"""


class OrderSummary(NamedTuple):
    """The columns of `OF_THE_DAY`."""

    id: str
    place: int
    state: str
    is_free: int
    is_reconciled: int
    replies: str | None
    order_ids: str | None
    at: str | None
    """None if it was never sent."""
    is_placement: int
    owner: str | None
    fingerprint: str | None
    idempotency: str | None
    has_own_name: int | None
    coids: str | None


@dataclass
class RecentOrders:
    """Reads the orders of the last day."""

    since: datetime
    """Orders that were created before, and are settled, are left out."""
    born: Callable[[str], float]
    """Turns a time of the journal into seconds since this run began."""
    complete: frozenset[str] = frozenset()
    """The orders that were read complete."""
    last_number: int = 0
    """The last entry of the earlier runs."""
    is_read: bool = False
    """Whether all rows have been read."""
    _since: str = field(init=False)
    _after: str = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.since.astimezone(UTC).isoformat(timespec="microseconds")
        self._after = f"{max(0, utc_ms(self.since - timedelta(seconds=CLOCK_MARGIN_S))):011x}"

    def read_complete(self, file: sqlite3.Connection, last_number: int) -> list[str]:
        """The ids of the orders that are needed complete."""
        unsettled = file.execute(UNSETTLED, {"first": self._after})
        latest = file.execute(LATEST, {"since": self._since, "max": MAX_COMPLETE})
        refused = file.execute(REFUSED, {"since": self._since, "max": MAX_COMPLETE})  # listed as before the restart
        found = (str(order) for (order,) in (*unsettled, *latest, *refused))
        self.complete, self.last_number = frozenset(found), last_number
        return sorted(self.complete)

    def read_rows(self, file: sqlite3.Connection) -> list[tuple[SettledRow, Names]]:
        """The next rows. `is_read` is true when these were the last ones."""
        parameters = {"after": self._after, "last": self.last_number, "max": CHUNK}
        orders = [OrderSummary._make(values) for values in file.execute(OF_THE_DAY, parameters)]
        rows = [self._row(each) for each in orders if self._is_needed(each)]
        self.is_read = len(orders) < CHUNK
        self._after = orders[-1].id if orders else self._after
        return rows

    def _is_needed(self, order: OrderSummary) -> bool:
        return (
            order.at is not None
            and order.at >= self._since
            and order.state != OrderState.REFUSED.value
            and order.id not in self.complete
        )

    def _row(self, order: OrderSummary) -> tuple[SettledRow, Names]:
        state = OrderState(order.state)
        row = SettledRow(order.place, order.id, state, self.born(order.at or ""))
        return row, Names() if order.is_free else _names(order, state)


def _names(order: OrderSummary, state: OrderState) -> Names:
    """See `settled_rows.names_of`."""
    has_coids = order.is_placement and (state is OrderState.PLACED or order.is_reconciled)
    is_anonymous = order.is_placement and not order.has_own_name
    return Names(
        order.idempotency,
        tuple(map(str, json.loads(order.coids or "[]"))) if has_coids else (),
        tuple(order.replies.split(",")) if order.replies else (),
        _order_ids(order.order_ids) if state is OrderState.PLACED else (),
        (order.owner or "", order.fingerprint or "") if is_anonymous else None,
    )


def _order_ids(texts: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(each) for ids in json.loads(f"[{texts or ''}]") for each in ids))
