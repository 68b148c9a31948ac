"""Which rows of orders and trades were sent to subscribers already, beyond the life of any subscription. Pure.

IBKR sends its complete list again with each new subscription: after an outage, for a subscriber that wants more days,
or for one that comes back after all had left. A row that was sent before is not a new event, and not a new trade.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from ibkr_bridge.streaming.protocol import TopicKind

MAX_ROWS = 20_000  # rows of each kind: a week of a very busy account
ROW_ID_MEMBERS = {TopicKind.ORDERS: "orderId", TopicKind.TRADES: "execution_id"}

Row = dict[str, Any]


class SeenRows:
    """Rows of one kind.

    Args:
        kind: orders or trades.
        max_rows: how many rows are remembered.
    """

    def __init__(self, kind: TopicKind, max_rows: int = MAX_ROWS) -> None:
        self._key = ROW_ID_MEMBERS[kind]
        self._changes = kind is TopicKind.ORDERS
        self._max_rows = max_rows
        self._digests: OrderedDict[str, int] = OrderedDict()
        """By id of a row: the hash of its last content."""

    def __repr__(self) -> str:
        return f"<SeenRows {len(self._digests)} rows>"

    def unseen(self, rows: list[Row]) -> list[Row]:
        """The rows that were not sent before; of orders also those that have changed."""
        return [row for row in rows if self._is_new(row)]

    def _is_new(self, row: Row) -> bool:
        digest = hash(json.dumps(row, sort_keys=True))
        name = row.get(self._key)
        row_id = str(name) if isinstance(name, str | int) and name != "" else f"?{digest}"
        previous = self._digests.pop(row_id, None)
        self._digests[row_id] = digest
        if len(self._digests) > self._max_rows:
            self._digests.popitem(last=False)
        return previous is None or (self._changes and previous != digest)
