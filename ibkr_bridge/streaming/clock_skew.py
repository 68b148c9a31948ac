"""How far this machine's clock is from IBKR's, as the heartbeats of the feed show it. Pure.

IBKR sends `{"topic": "system", "hb": <milliseconds since 1970>}` every ten seconds. It is the only time of IBKR's own
that the bridge gets: the Gateway adds no `Date` to a response, and the times in the rows of orders and quotes are those
of an exchange. A heartbeat may come late and never early, so the smallest of several differences is the nearest.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

WINDOW = 6  # heartbeats, a minute: so long a corrected clock may still count as wrong
MIN_HEARTBEATS = 3  # the first after a pause of the network may come many seconds late
MAX_TIME_MS = 1e14  # in the year 5138; neither infinity nor NaN is below it


class ClockSkew:
    """The difference between two clocks; unknown until some heartbeats have come."""

    def __init__(self) -> None:
        self._differences_s: deque[float] = deque(maxlen=WINDOW)

    def __repr__(self) -> str:
        return f"<ClockSkew {self.seconds}>"

    @property
    def seconds(self) -> float | None:
        """By how much this machine's clock is ahead of IBKR's, negative if it is behind; None if it is not known."""
        if len(self._differences_s) < MIN_HEARTBEATS:
            return None
        return round(min(self._differences_s), 1)

    def observe(self, heartbeat_ms: object, received_at: datetime) -> None:
        """Learn from a heartbeat; what is no number is ignored."""
        if isinstance(heartbeat_ms, int | float) and 0 < heartbeat_ms < MAX_TIME_MS:
            self._differences_s.append(received_at.timestamp() - heartbeat_ms / 1000)

    def reset(self) -> None:
        """Forget what former heartbeats have shown: without a feed nothing is known."""
        self._differences_s.clear()
