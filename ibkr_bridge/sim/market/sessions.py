"""Who is signed in: the login made in a browser, and on top of it the brokerage session.

The login is a cookie and lives until logout, ten idle minutes, or midnight in New York. The brokerage session belongs
to the user name, so there is one in all; opening it takes a moment (`authenticated`), and its accounts arrive a
moment after that (`established`). Another program of the same user can take it away: `competing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.lines import Lines

IDLE = 600.0
"""Seconds without any call after which a login ends; the API's `ssoExpires` counts them down."""

NEW_YORK = ZoneInfo("America/New_York")


class News(Enum):
    """What becomes of the brokerage session."""

    LOST = "lost"
    TAKEN = "taken by another program"
    OPENED = "opened; authenticated a moment later"


@dataclass
class Login:
    """One browser login."""

    token: str
    since: float
    ends: float
    used: float
    portfolio_seen: bool = False
    farm_open: bool = False  # the history farm, which is opened by asking for it

    def left(self, now: float) -> float:
        """Seconds this login still has, if nothing more is asked."""
        return max(min(self.used + IDLE, self.ends) - now, 0.0)


@dataclass(eq=False)
class Brokerage:
    """One brokerage session from its opening; `ready_at` and `full_at` are moments of the clock."""

    ready_at: float
    full_at: float
    accounts_seen: bool = False
    orders_asked_at: float | None = None  # when the list of orders was first asked for, or cleared
    orders: list[Order] = field(default_factory=list)  # that list as it is told, and when it was made
    orders_at: float | None = None
    suppressed: set[str] = field(default_factory=set)
    lines: Lines = field(default_factory=Lines)  # the instruments whose quotes are open
    orders_silent: bool = False  # the list of orders was asked with filters: nothing of orders is streamed
    searched: set[int] = field(default_factory=set)  # what a search has found, so that more is known of it
    thin: set[str] = field(default_factory=set)  # what was asked once, so that the next answer is a full one

    def is_first(self, what: str) -> bool:
        """Whether this has not been asked before, so that the answer is a thin one."""
        first = what not in self.thin
        self.thin.add(what)
        return first


class Sessions:
    """Both layers, and the rules by which they come and go."""

    def __init__(self, calendar: Calendar, reopen_after: float, established_after: float) -> None:
        self.calendar = calendar
        self.reopen_after = reopen_after
        self.established_after = established_after
        self.brokerage: Brokerage | None = None
        self.competing = False
        self.tell: Callable[[News], None] = lambda news: None
        """Hears what becomes of the brokerage session, in that very moment."""
        self._logins: dict[str, Login] = {}
        self._made = 0

    def log_in(self, now: float) -> Login:
        """A new login; its token is what the cookie will carry."""
        self._made += 1
        login = Login(f"simulated-login-{self._made}", now, self._midnight(now), now)
        self._logins[login.token] = login
        return login

    def login(self, token: str | None, now: float) -> Login | None:
        """The living login of a token; asking keeps it alive."""
        login = self._logins.get(token or "")
        if login is None or login.left(now) <= 0:
            self._end(login)
            return None
        login.used = now
        return login

    def has_login(self, now: float) -> bool:
        """Whether anybody is signed in; asking keeps nobody alive."""
        return any(login.left(now) > 0 for login in self._logins.values())

    def log_out(self) -> None:
        """End every login and what stood on it."""
        self._logins.clear()
        self.competing = False
        self.lose()

    def open(self, now: float, compete: bool, at_once: bool = False, whole: bool = False) -> None:
        """Open the brokerage session, unless it stands already or somebody else holds it and may keep it.

        `at_once` skips the wait for `authenticated`; `whole` all waits, as if its accounts had been asked for as well.
        """
        if self.competing and not compete:
            return
        self.competing = False
        if self.brokerage is None:
            ready = now if at_once or whole else now + self.reopen_after
            full = ready if whole else ready + self.established_after
            self.brokerage = Brokerage(ready, full, accounts_seen=whole)
            self.tell(News.OPENED)

    def lose(self) -> None:
        """The brokerage session is gone, the login stays."""
        if self.brokerage is not None:
            self.brokerage = None
            self.tell(News.LOST)

    def taken(self) -> None:
        """Another program of the same user took the brokerage session."""
        self.brokerage = None
        self.competing = True
        self.tell(News.TAKEN)

    def is_authenticated(self, now: float) -> bool:
        """Whether brokerage calls are served."""
        return self.brokerage is not None and not self.competing and now >= self.brokerage.ready_at

    def is_established(self, now: float) -> bool:
        """Whether the accounts have arrived as well."""
        return self.is_authenticated(now) and self.brokerage is not None and now >= self.brokerage.full_at

    def _end(self, login: Login | None) -> None:
        if login is not None:
            del self._logins[login.token]
            self.lose()

    def _midnight(self, now: float) -> float:
        here = self.calendar.at(now).astimezone(NEW_YORK)
        then = datetime.combine(here.date() + timedelta(days=1), time(), NEW_YORK)
        return now + (then - here).total_seconds()
