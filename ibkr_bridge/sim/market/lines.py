"""Market data lines: how many instruments' quotes may be open at once in one brokerage session. Pure.

Snapshots and the stream count together, by instrument. A line that a snapshot opened stays until it is given back; one
of the stream alone ends a quarter of an hour after it was last asked for, and not with the socket that asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_LINES = 100


@dataclass(eq=False)
class MarketDataLine:
    """One instrument's open quotes: since when, and until when."""

    opened_at: float
    open_until: float


class MarketDataLines:
    """Those of one brokerage session."""

    def __init__(self) -> None:
        self._open: dict[int, MarketDataLine] = {}

    def __contains__(self, conid: int) -> bool:
        return conid in self._open

    def open_line(self, conid: int, now: float, open_until: float = math.inf) -> MarketDataLine | None:
        """The line of an instrument, opened if need be; None where there are too many already."""
        self._open = {each: line for each, line in self._open.items() if line.open_until > now}
        if conid not in self._open and len(self._open) >= MAX_LINES:
            return None
        line = self._open.setdefault(conid, MarketDataLine(now, open_until))
        line.open_until = max(line.open_until, open_until)
        return line

    def is_open(self, conid: int, line: MarketDataLine) -> bool:
        """Whether this line is still that instrument's."""
        return self._open.get(conid) is line

    def close_line(self, conid: int) -> bool:
        """Close a line; False where none was open."""
        return self._open.pop(conid, None) is not None

    def clear(self) -> None:
        """Close all."""
        self._open.clear()
