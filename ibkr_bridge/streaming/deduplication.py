"""What readers of orders and trades were told already, beyond the life of any subscription. Pure.

IBKR tells its whole list again whenever it is asked anew: after an outage, for a reader who wants more days, for one
who comes back after everybody had left. What is in it and was told before is no event, and above all no trade.
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
        most: how many are remembered.
    """

    def __init__(self, kind: TopicKind, most: int = MAX_ROWS) -> None:
        self._key = ROW_ID_MEMBERS[kind]
        self._changes = kind is TopicKind.ORDERS
        self._most = most
        self._seen: OrderedDict[str, int] = OrderedDict()
        """By its name: a row as it was told last, digested."""

    def __repr__(self) -> str:
        return f"<SeenRows {len(self._seen)} rows>"

    def unseen(self, rows: list[Row]) -> list[Row]:
        """Those of some rows that were not told before; of orders, those that were told differently too."""
        return [row for row in rows if self._is_new(row)]

    def _is_new(self, row: Row) -> bool:
        told = hash(json.dumps(row, sort_keys=True))
        name = row.get(self._key)
        known = str(name) if isinstance(name, str | int) and name != "" else f"?{told}"
        before = self._seen.pop(known, None)
        self._seen[known] = told
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return before is None or (self._changes and before != told)
