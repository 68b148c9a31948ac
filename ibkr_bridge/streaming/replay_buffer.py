"""What happened to orders and trades lately, under numbers, so that a reader who was away gets what was missed. Pure.

A number is only worth something within one run of the bridge; an id therefore begins with the run's own mark. An id
of another run, or one so old that what followed is gone, is answered with the whole picture instead, and a word.
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
        most: rows that are kept of each kind.
    """

    def __init__(self, run: str, most: int = MAX_ROWS) -> None:
        self.number = 0
        """Of the latest event of any kind."""
        self._run = run
        self._kept: dict[TopicKind, deque[tuple[int, Row]]] = {kind: deque(maxlen=most) for kind in REPLAYED_KINDS}
        self._gone: dict[TopicKind, int] = dict.fromkeys(REPLAYED_KINDS, 0)
        """The number of the latest row that was let go."""

    def __repr__(self) -> str:
        return f"<ReplayBuffer {', '.join(f'{len(kept)} {kind.value}' for kind, kept in self._kept.items())}>"

    def next_id(self) -> str:
        """The id of the next event."""
        self.number += 1
        return self.last_id

    @property
    def last_id(self) -> str:
        """The id of the latest event."""
        return f"{self._run}-{self.number}"

    def append(self, kind: TopicKind, rows: Sequence[Row]) -> None:
        """The latest event told these rows."""
        kept = self._kept[kind]
        for row in rows:
            if len(kept) == kept.maxlen:
                self._gone[kind] = kept[0][0]
            kept.append((self.number, row))

    def since(self, kind: TopicKind, last: str) -> list[tuple[str, Row]] | None:
        """What came after an id; None where nobody can say any more.

        Each event's id stands at the last of its rows alone, so that no half of an event is taken for the whole.
        """
        run, _, told = last.rpartition("-")
        kept = self._kept.get(kind)
        if kept is None or run != self._run or not told.isascii() or not told.isdigit() or len(told) > 18:
            return None
        number = int(told)
        if number > self.number or number < self._gone[kind]:
            return None
        missed = [(each, row) for each, row in kept if each > number]
        ends = {each: at for at, (each, _) in enumerate(missed)}
        return [(f"{self._run}-{each}" if ends[each] == at else "", row) for at, (each, row) in enumerate(missed)]
