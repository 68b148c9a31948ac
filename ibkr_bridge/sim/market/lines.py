"""Market data lines: how many contracts' quotes may be open at once in one brokerage session. Pure.

Snapshots and the stream count together, by contract. A market data line that a snapshot opened stays open until it is
released. One that only the stream opened ends fifteen minutes after its last request, not with the socket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_LINES = 100


@dataclass(eq=False)
class MarketDataLine:
    """The open quotes of one contract."""

    opened_at: float
    open_until: float


class MarketDataLines:
    """The market data lines of one brokerage session."""

    def __init__(self) -> None:
        self._open: dict[int, MarketDataLine] = {}

    def __contains__(self, conid: int) -> bool:
        return conid in self._open

    def open_line(self, conid: int, now: float, open_until: float = math.inf) -> MarketDataLine | None:
        """Return the market data line of a contract, opened if needed; None if too many are open already."""
        self._open = {each: line for each, line in self._open.items() if line.open_until > now}
        if conid not in self._open and len(self._open) >= MAX_LINES:
            return None
        line = self._open.setdefault(conid, MarketDataLine(now, open_until))
        line.open_until = max(line.open_until, open_until)
        return line

    def is_open(self, conid: int, line: MarketDataLine) -> bool:
        """Whether `line` is still the market data line of that contract."""
        return self._open.get(conid) is line

    def close_line(self, conid: int) -> bool:
        """Release a market data line; return False if none was open."""
        return self._open.pop(conid, None) is not None

    def clear(self) -> None:
        """Release all market data lines."""
        self._open.clear()
