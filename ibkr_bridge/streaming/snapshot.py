"""Topic snapshots: the latest full state of each topic, merged from IBKR's partial updates. Pure: the time is passed
in.

After the first message IBKR sends only changes. A later subscriber gets the full state at once, and its age. After an
outage the snapshot starts over with the next message, as older values may be wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ibkr_bridge.streaming.protocol import TopicKind
from ibkr_bridge.streaming.views import ALWAYS_INCLUDED, Message

MAX_ROWS = 1000  # orders or trades: IBKR lists no more for a day
CHART_MEMBERS = frozenset({"timePeriod", "barLength", "points", "symbol"})
"""Members that only a complete chart has: later messages contain only its last candles."""

Row = dict[str, Any]
Rows = dict[str, Row]


class TopicSnapshot:
    """The latest state of one topic."""

    def __init__(self, kind: TopicKind) -> None:
        self.at = float("-inf")
        """When it was last updated, in seconds of the clock."""
        self._kind = kind
        self._keys = ROW_LAYOUT.get(kind)
        self._head: Message = {}
        self._rows: Rows = {}
        self._before: Rows = {}
        """Orders before the last outage: an update may come before the complete list."""
        self.is_over = False
        """Whether it is from before an outage, and no message has come since."""

    def __repr__(self) -> str:
        return f"<TopicSnapshot of {self._kind.value}, {len(self._rows) or len(self._head)} parts>"

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not self._head

    def mark_stale(self) -> None:
        """Start over with the next message; until then the old state stays."""
        self.is_over = True

    def set_fields(self, fields: Collection[str]) -> None:
        """Keep only these fields of a quote, which are the ones that IBKR sends; others would become outdated."""
        self._head = {name: value for name, value in self._head.items() if name in ALWAYS_INCLUDED or name in fields}

    def add(self, message: Message, now: float) -> None:
        """Merge a message."""
        if self.is_over:
            self._before = {**self._before, **self._rows} if self._kind is TopicKind.ORDERS else {}
            self._head, self._rows, self.is_over = {}, {}, False
        self.at = now
        if self._keys is None:
            is_chart = self._kind is TopicKind.HISTORY and self._head
            if not is_chart or CHART_MEMBERS & message.keys():
                self._head = self._head | message if self._kind is TopicKind.QUOTES else message
            return
        places, key = self._keys
        self._head |= {name: value for name, value in message.items() if name != places}
        self._add_rows(rows_of(message.get(places)), key)

    def _add_rows(self, rows: list[Row], key: str) -> None:
        for row in rows:
            name = _row_name(row, key)
            state = self._rows.pop(name, None) or self._before.get(name, {})
            self._rows[name] = {**state, **row}  # the latest last
        for stored in (self._rows, self._before):
            while len(stored) > MAX_ROWS:
                del stored[next(iter(stored))]

    def lacks(self, row: Row) -> bool:
        """Whether a complete row from another source says more than, or other than, what is known."""
        if self.is_over or self._keys is None:
            return True
        state = self._rows.get(_row_name(row, self._keys[1]))
        return state is None or {**state, **row} != state

    def row(self, name: object) -> Row:
        """The merged state of one row."""
        return self._rows.get(str(name), {})

    def as_message(self) -> Message:
        """The full state in the form of a message."""
        if self._keys is None:
            return dict(self._head)
        places, _ = self._keys
        rows, shape = list(self._rows.values()), SHAPES.get(self._kind)
        return {**self._head, places: shape(rows) if shape is not None else rows}


def _row_name(row: Row, key: str) -> str:
    """What a row is stored under."""
    return str(row[key]) if key in row else f"?{json.dumps(row, sort_keys=True)}"


def rows_of(as_message: object) -> list[Row]:
    """The rows of a message: a list of objects, or an object of named ones, whose names become their `key`."""
    if isinstance(as_message, Mapping):
        return [{"key": str(name), **row} for name, row in as_message.items() if isinstance(row, dict)]
    return [row for row in as_message if isinstance(row, dict)] if isinstance(as_message, list) else []


def _object_shape(rows: list[Row]) -> object:
    keyed_rows = ((row.get("key"), row) for row in rows)
    return {
        key: {name: value for name, value in row.items() if name != "key"}
        for key, row in keyed_rows
        if isinstance(key, str)
    }


ROW_LAYOUT: Mapping[TopicKind, tuple[str, str]] = {
    TopicKind.ORDERS: ("args", "orderId"),
    TopicKind.TRADES: ("args", "execution_id"),
    TopicKind.PNL: ("args", "key"),
    TopicKind.SUMMARY: ("result", "key"),
    TopicKind.LEDGER: ("result", "key"),
}
"""The member that contains a kind's rows, and the member that identifies a row. Other kinds have no rows."""
SHAPES: Mapping[TopicKind, Callable[[list[Row]], object]] = {TopicKind.PNL: _object_shape}
