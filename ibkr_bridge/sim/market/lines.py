"""Market data lines: how many instruments' quotes may be open at once in one brokerage session. Pure.

Snapshots and the stream count together, by instrument. A line that a snapshot opened stays until it is given back; one
of the stream alone ends a quarter of an hour after it was last asked for, and not with the socket that asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST = 100


@dataclass(eq=False)
class Line:
    """One instrument's open quotes: since when, and until when."""

    opened: float
    until: float


class Lines:
    """Those of one brokerage session."""

    def __init__(self) -> None:
        self._open: dict[int, Line] = {}

    def __contains__(self, conid: int) -> bool:
        return conid in self._open

    def take(self, conid: int, now: float, until: float = math.inf) -> Line | None:
        """The line of an instrument, opened if need be; None where there are too many already."""
        self._open = {each: line for each, line in self._open.items() if line.until > now}
        if conid not in self._open and len(self._open) >= MOST:
            return None
        line = self._open.setdefault(conid, Line(now, until))
        line.until = max(line.until, until)
        return line

    def holds(self, conid: int, line: Line) -> bool:
        """Whether this line is still that instrument's."""
        return self._open.get(conid) is line

    def give_back(self, conid: int) -> bool:
        """Close a line; False where none was open."""
        return self._open.pop(conid, None) is not None

    def clear(self) -> None:
        """Close all."""
        self._open.clear()
