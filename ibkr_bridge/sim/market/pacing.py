"""IBKR's published limits, and the penalty box for callers that exceed them.

Every call counts, refused ones too. After too many calls in all, every call is refused for fifteen minutes.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass

PENALTY_S = 900.0
"""The length of the penalty, by IBKR's own page."""


@dataclass(frozen=True)
class Limit:
    """At most `calls` within `seconds` for targets that match."""

    pattern: str
    calls: int
    seconds: float


LIMITS: tuple[Limit, ...] = (
    Limit(r"/fyi/.*", 1, 1.0),
    Limit(r"/iserver/account/orders", 1, 5.0),
    Limit(r"/iserver/account/trades", 1, 5.0),
    Limit(r"/iserver/account/pnl/partitioned", 1, 5.0),
    Limit(r"/iserver/marketdata/snapshot", 10, 1.0),
    Limit(r"/iserver/scanner/params", 1, 900.0),
    Limit(r"/iserver/scanner/run", 1, 1.0),
    Limit(r"/pa/performance", 1, 900.0),
    Limit(r"/pa/summary", 1, 900.0),
    Limit(r"/pa/transactions", 1, 900.0),
    Limit(r"/pa/allperiods", 1, 900.0),
    Limit(r"/portfolio/accounts", 1, 5.0),
    Limit(r"/portfolio/subaccounts", 1, 5.0),
    Limit(r"/sso/validate", 1, 60.0),
    Limit(r"/tickle", 1, 1.0),
)

GLOBAL = Limit(r".*", 10, 1.0)


class PenaltyBox:
    """The penalty of one client address."""

    def __init__(self) -> None:
        self.until = 0.0


class Pacing:
    """Counts calls against the limits; off by default, since most tests send calls too fast."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.calls_per_second = GLOBAL.calls
        """The limit of all calls together."""
        self.box = PenaltyBox()
        self.refused_count = 0
        """The number of calls that were answered with 429."""
        self._times: dict[str, deque[float]] = defaultdict(deque)

    @property
    def in_penalty_until(self) -> float:
        """The end of the penalty of the usual address."""
        return self.box.until

    @in_penalty_until.setter
    def in_penalty_until(self, moment: float) -> None:
        self.box.until = moment

    def count_call(self, path: str, now: float, box: PenaltyBox | None = None) -> bool:
        """Count one call; return whether it exceeds a limit. `box` is the penalty of its address, if there are more."""
        is_refused = self.enabled and self._is_too_many(path, now, box or self.box)
        self.refused_count += is_refused
        return is_refused

    def reset(self) -> None:
        """End the penalty, and forget all calls."""
        self.in_penalty_until = 0.0
        self._times.clear()

    def _is_too_many(self, path: str, now: float, box: PenaltyBox) -> bool:
        if now < box.until:
            return True
        if self._is_over(Limit(GLOBAL.pattern, self.calls_per_second, GLOBAL.seconds), now):
            box.until = now + PENALTY_S
            return True
        limit = next((each for each in LIMITS if re.fullmatch(each.pattern, path)), None)
        return limit is not None and self._is_over(limit, now)

    def _is_over(self, limit: Limit, now: float) -> bool:
        times = self._times[limit.pattern]
        while times and times[0] <= now - limit.seconds:
            times.popleft()
        times.append(now)
        return len(times) > limit.calls
