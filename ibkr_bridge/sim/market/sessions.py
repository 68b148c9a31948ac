"""Who is signed in: the login made in a browser, and the brokerage session on top of it.

The login is a cookie. It ends with a logout, after ten idle minutes, or at midnight in New York. The brokerage session
belongs to the user name, so there is only one. Opening it takes a moment (`authenticated`), and its accounts arrive a
moment later (`established`). Another program of the same user can take it over (`competing`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from zoneinfo import ZoneInfo

from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.lines import MarketDataLines

LOGIN_IDLE_TTL_S = 600.0
"""A login ends after this time without a call; the API's `ssoExpires` shows the remaining time."""

RIVAL_DELAY_S = 2.0
"""How long a reopened session lasts while the other program takes it again each time."""

NEW_YORK = ZoneInfo("America/New_York")


class Contradiction(Enum):
    """Ways in which IBKR's status of the session has been seen to differ from what its calls do."""

    NO_BRIDGE = "the status shows a session, every brokerage call answers `no bridge`"
    DISCONNECTED = "the status shows `connected: false`, the login is still valid"
    NEVER_ESTABLISHED = "`established` stays false"


class SessionChange(Enum):
    """What happened to the brokerage session."""

    LOST = "lost"
    TAKEN = "taken by another program"
    OPENED = "opened; authenticated a moment later"


@dataclass
class Login:
    """One browser login."""

    token: str
    created_at: float
    ends_at: float
    used_at: float
    idle_ttl_s: float = LOGIN_IDLE_TTL_S
    has_read_portfolio: bool = False
    has_opened_farm: bool = False  # a call has opened the history farm

    def remaining_s(self, now: float) -> float:
        """Time until this login ends if no call comes."""
        return max(min(self.used_at + self.idle_ttl_s, self.ends_at) - now, 0.0)


@dataclass(eq=False)
class Brokerage:
    """One brokerage session from its opening: authenticated at `ready_at`, established at `established_at`."""

    ready_at: float
    established_at: float
    has_read_accounts: bool = False
    orders_requested_at: float | None = None  # when the list of orders was first requested, or cleared
    orders: list[Order] = field(default_factory=list)  # that list as it is shown, and when it was made
    orders_listed_at: float | None = None
    suppressed: set[str] = field(default_factory=set)
    lines: MarketDataLines = field(default_factory=MarketDataLines)  # the contracts whose quotes are open
    is_order_stream_muted: bool = False  # the list was requested with filters: no orders are streamed
    searched_conids: set[int] = field(default_factory=set)  # the contracts that a search has found
    requested_once: set[str] = field(default_factory=set)  # the next response about these is complete

    def is_first_request(self, subject: str) -> bool:
        """Whether this is the first request for `subject`, so that its response is partial."""
        first = subject not in self.requested_once
        self.requested_once.add(subject)
        return first


class Sessions:
    """Logins and the brokerage session, and the rules by which they begin and end."""

    def __init__(self, calendar: Calendar, reopen_delay_s: float, establish_delay_s: float) -> None:
        self.calendar = calendar
        self.reopen_delay_s = reopen_delay_s
        self.establish_delay_s = establish_delay_s
        self.brokerage: Brokerage | None = None
        self.is_competing = False
        self.rival_stays = False
        """Whether the other program takes the session again after each reopening."""
        self.contradiction: Contradiction | None = None
        """Ends with the next request for the brokerage session."""
        self.on_change: Callable[[SessionChange], None] = lambda news: None
        """Called at each change of the brokerage session."""
        self._rivals: list[Sessions] = []
        """The sessions of the same username on other roads to IBKR."""
        self._logins: dict[str, Login] = {}
        self._login_count = 0

    def share_username_with(self, other: Sessions) -> None:
        """Let two roads to IBKR have one brokerage session: who opens it takes it from the other one."""
        self._rivals.append(other)
        other._rivals.append(self)

    def log_in(self, now: float) -> Login:
        """Create a login; its token is the value of the login cookie."""
        self._login_count += 1
        login = Login(f"simulated-login-{self._login_count}", now, self.calendar.next_midnight(now, NEW_YORK), now)
        self._logins[login.token] = login
        return login

    def add_login(self, token: str, now: float, ends_at: float) -> Login:
        """Add a login that was not made in a browser; it does not end when it is idle."""
        login = self._logins[token] = Login(token, now, ends_at, now, idle_ttl_s=math.inf)
        return login

    def drop_login(self, token: str) -> None:
        """End one login; the brokerage session and the other logins stay."""
        self._logins.pop(token, None)

    def find_login(self, token: str | None, now: float) -> Login | None:
        """The login of a token if it has not ended; this call keeps it alive."""
        login = self._logins.get(token or "")
        if login is None:
            return None
        if login.remaining_s(now) <= 0:
            del self._logins[login.token]
            self.lose_brokerage()
            return None
        login.used_at = now
        return login

    def has_login(self, now: float) -> bool:
        """Whether anybody is signed in; this call keeps no login alive."""
        return any(login.remaining_s(now) > 0 for login in self._logins.values())

    def log_out(self) -> None:
        """End every login and the brokerage session."""
        self._logins.clear()
        self.is_competing = False
        self.lose_brokerage()

    def open_brokerage(self, now: float, compete: bool, at_once: bool = False, is_established: bool = False) -> None:
        """Open the brokerage session, unless it is open, or another program holds it and `compete` is false.

        `at_once` skips the wait for `authenticated`. `is_established` skips all waits, as if the accounts had been
        requested too.
        """
        rivals = [rival for rival in self._rivals if rival.brokerage is not None]
        self.is_competing |= bool(rivals)
        if self.is_competing and not compete:
            return
        for rival in rivals:
            rival.start_competing()
        if self.contradiction is not None:
            self.contradiction = None
            self.lose_brokerage()
        self.is_competing = False
        if self.brokerage is None:
            ready_at = now if at_once or is_established else now + self.reopen_delay_s
            established_at = ready_at if is_established else ready_at + self.establish_delay_s
            self.brokerage = Brokerage(ready_at, established_at, has_read_accounts=is_established)
            self.on_change(SessionChange.OPENED)

    def lose_brokerage(self) -> None:
        """End the brokerage session; the login stays."""
        if self.brokerage is not None:
            self.brokerage = None
            self.on_change(SessionChange.LOST)
            for rival in self._rivals:
                rival.is_competing = False

    def start_competing(self) -> None:
        """Let another program of the same user take the brokerage session."""
        self.brokerage = None
        self.is_competing = True
        self.on_change(SessionChange.TAKEN)

    def is_authenticated(self, now: float) -> bool:
        """Whether brokerage calls are served."""
        is_refusing = self.contradiction in (Contradiction.NO_BRIDGE, Contradiction.DISCONNECTED)
        return not is_refusing and self.shows_authenticated(now)

    def shows_authenticated(self, now: float) -> bool:
        """Whether the status says `authenticated`."""
        if self.rival_stays and self.brokerage is not None and now >= self.brokerage.ready_at + RIVAL_DELAY_S:
            self.start_competing()
        return self.brokerage is not None and not self.is_competing and now >= self.brokerage.ready_at

    def is_established(self, now: float) -> bool:
        """Whether the accounts have arrived as well."""
        is_late = self.contradiction is Contradiction.NEVER_ESTABLISHED
        has_arrived = self.brokerage is not None and now >= self.brokerage.established_at
        return not is_late and self.shows_authenticated(now) and has_arrived
