"""What stands in front of IBKR's servers: it refuses badly formed requests, and addresses that call too often.

Everything here is decided before anybody looks at a signature, except that limits are counted by username.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.dispatch import MarketResponse
from ibkr_bridge.sim.market.pacing import Pacing, PenaltyBox
from ibkr_bridge.sim.market.server import API, LENGTH_REQUIRED, TOO_MANY_REQUESTS
from ibkr_bridge.sim.request_log import LoggedRequest

DENIED_PAGE = """<HTML><HEAD>
<TITLE>Access Denied</TITLE>
</HEAD><BODY>
<H1>Access Denied</H1>
You don't have permission to access this page on this server.<P>
Reference&#32;&#35;18&#46;5a1d4317&#46;1718640000&#46;{number:x}
</BODY>
</HTML>
"""
MAINTENANCE = MarketResponse(503, b"<HTML><BODY><H1>Service Unavailable</H1></BODY></HTML>", "text/html")
SATURDAY, EVENING = 5, 18  # IBKR does not publish the hours


class Front:
    """The front of one host.

    `blocked` has the addresses that get nothing but a page.
    """

    def __init__(self, rules: Rules, calendar: Calendar, *, pacing: bool) -> None:
        self.blocked: set[str] = set()
        self._rules = rules
        self._calendar = calendar
        self._is_pacing = pacing
        self._boxes: dict[str, PenaltyBox] = defaultdict(PenaltyBox)
        self._pacing: dict[str, Pacing] = {}
        self._numbers = itertools.count(0x2F1B6C0)

    def refuse(self, logged: LoggedRequest, address: str) -> MarketResponse | None:
        """The refusal of a request before anybody reads who sent it; None if it may pass."""
        if address in self.blocked or not logged.header("User-Agent"):
            page = DENIED_PAGE.format(number=next(self._numbers))
            return MarketResponse(403, page.encode(), "text/html")
        if self._rules.has_saturday_window and self._is_saturday_evening(logged.at):
            return MAINTENANCE
        if logged.method in ("POST", "PUT", "PATCH") and logged.header("Content-Length") is None:
            return LENGTH_REQUIRED
        return TOO_MANY_REQUESTS if logged.at < self._boxes[address].until else None

    def count_call(self, username: str, logged: LoggedRequest, address: str) -> MarketResponse | None:
        """Count a call of a username; return its refusal if it is one too many."""
        pacing = self._pacing.setdefault(username, Pacing(self._is_pacing))
        pacing.calls_per_second = self._rules.calls_per_second
        is_refused = pacing.count_call(logged.path.removeprefix(API), logged.at, self._boxes[address])
        return TOO_MANY_REQUESTS if is_refused else None

    def punish(self, address: str, until: float) -> None:
        """Put an address into the penalty box, whatever it did."""
        self._boxes[address].until = until

    def forgive(self) -> None:
        """End all penalties and blocks, and forget all calls."""
        self._boxes.clear()
        self._pacing.clear()
        self.blocked.clear()

    def _is_saturday_evening(self, now: float) -> bool:
        local = self._calendar.utc_at(now).astimezone(self._rules.region)
        return local.weekday() == SATURDAY and local.hour >= EVENING
