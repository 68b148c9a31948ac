"""What happened to orders and trades lately, under numbers, so that a reader who was away gets what was missed. Pure.

A number is only worth something within one run of the bridge; an id therefore begins with the run's own mark. An id
of another run, or one so old that what followed is gone, is answered with the whole picture instead, and a word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.streaming.protocol import Kind

MOST = 1000  # rows of each kind
KEPT = frozenset({Kind.ORDERS, Kind.TRADES})

Row = dict[str, Any]


class Ring:
    """The latest rows of orders and trades.

    Args:
        run: the mark of this run.
        most: rows that are kept of each kind.
    """

    def __init__(self, run: str, most: int = MOST) -> None:
        self.number = 0
        """Of the latest event of any kind."""
        self._run = run
        self._kept: dict[Kind, deque[tuple[int, Row]]] = {kind: deque(maxlen=most) for kind in KEPT}
        self._gone: dict[Kind, int] = dict.fromkeys(KEPT, 0)
        """The number of the latest row that was let go."""

    def __repr__(self) -> str:
        return f"<Ring {', '.join(f'{len(kept)} {kind.value}' for kind, kept in self._kept.items())}>"

    def next(self) -> str:
        """The id of the next event."""
        self.number += 1
        return self.id

    @property
    def id(self) -> str:
        """The id of the latest event."""
        return f"{self._run}-{self.number}"

    def keep(self, kind: Kind, rows: Sequence[Row]) -> None:
        """The latest event told these rows."""
        kept = self._kept[kind]
        for row in rows:
            if len(kept) == kept.maxlen:
                self._gone[kind] = kept[0][0]
            kept.append((self.number, row))

    def since(self, kind: Kind, last: str) -> list[tuple[str, Row]] | None:
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
