"""The replay buffer: the last events of orders and trades, numbered, for subscribers that reconnect. Pure.

A number is valid within one run of the bridge only, so an id begins with the run's mark. For an id of another run, or
one so old that later events are gone, the subscriber gets a `gap` event and the topic snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.streaming.protocol import TopicKind

MAX_ROWS = 1000  # rows of each kind
REPLAYED_KINDS = frozenset({TopicKind.ORDERS, TopicKind.TRADES})

Row = dict[str, Any]


class ReplayBuffer:
    """The latest rows of orders and trades.

    Args:
        run: the mark of this run.
        max_rows: rows of each kind that are stored.
    """

    def __init__(self, run: str, max_rows: int = MAX_ROWS) -> None:
        self.number = 0
        """The number of the latest event of any kind."""
        self._run = run
        self._rows: dict[TopicKind, deque[tuple[int, Row]]] = {kind: deque(maxlen=max_rows) for kind in REPLAYED_KINDS}
        self._gone: dict[TopicKind, int] = dict.fromkeys(REPLAYED_KINDS, 0)
        """The number of the latest row that was dropped."""

    def __repr__(self) -> str:
        return f"<ReplayBuffer {', '.join(f'{len(rows)} {kind.value}' for kind, rows in self._rows.items())}>"

    def next_id(self) -> str:
        """The id of the next event."""
        self.number += 1
        return self.last_id

    @property
    def last_id(self) -> str:
        """The id of the latest event."""
        return f"{self._run}-{self.number}"

    def append(self, kind: TopicKind, rows: Sequence[Row]) -> None:
        """Store the rows of the latest event."""
        rows_of_kind = self._rows[kind]
        for row in rows:
            if len(rows_of_kind) == rows_of_kind.maxlen:
                self._gone[kind] = rows_of_kind[0][0]
            rows_of_kind.append((self.number, row))

    def since(self, kind: TopicKind, last: str) -> list[tuple[str, Row]] | None:
        """The rows after an id; None if they are not known any more.

        Only the last row of an event has its id, so that a subscriber never takes a part of an event for the whole.
        """
        run, _, digits = last.rpartition("-")
        rows_of_kind = self._rows.get(kind)
        if rows_of_kind is None or run != self._run or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            return None
        number = int(digits)
        if number > self.number or number < self._gone[kind]:
            return None
        missed = [(each, row) for each, row in rows_of_kind if each > number]
        ends = {each: at for at, (each, _) in enumerate(missed)}
        return [(f"{self._run}-{each}" if ends[each] == at else "", row) for at, (each, row) in enumerate(missed)]
