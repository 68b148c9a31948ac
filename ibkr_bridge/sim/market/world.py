"""The complete state of the market, made once and passed to every function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.accounting import Accounting
from ibkr_bridge.sim.market.book import Book
from ibkr_bridge.sim.market.holdings import DEFAULT_POSITIONS
from ibkr_bridge.sim.market.questions import QuestionDesk
from ibkr_bridge.sim.market.quotes import Quotes
from ibkr_bridge.sim.market.sessions import Brokerage, Sessions

PAPER = ("DU1234567", "DU7654321")
LIVE = ("U1234567", "U7654321")


@dataclass
class World:
    """Everything the simulated IBKR knows."""

    live: bool
    calendar: Calendar
    sessions: Sessions
    quotes: Quotes
    book: Book
    accounting: Accounting
    """What the accounts have, and what it is worth."""
    accounts: tuple[str, ...]
    """The account numbers; those of paper accounts begin with D."""
    questions: QuestionDesk = field(default_factory=QuestionDesk)
    forgets_selection: bool = False
    """Whether the selected account is forgotten with the brokerage session."""
    has_short_tickle: bool = False
    """Whether `/tickle` says nothing about the login, as was seen without a Gateway."""
    last_selected: str = ""
    selected_in: Brokerage | None = None
    """The brokerage session in which it was selected."""
    list_load_delay_s: float = 0.0
    """How long the list of orders stays empty after its first request, or after it was cleared."""
    list_lag_s: float = 0.0
    """How old that list may be, until it is cleared."""
    groups: tuple[str, ...] = ()
    """Names that an order may give instead of an account; IBKR lists them among the accounts."""
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What users store: watchlists, alerts, read notifications; by kind, then by id."""

    @property
    def selected(self) -> str:
        """The account that calls apply to if they name none: the one selected last, else the first one."""
        is_forgotten = self.forgets_selection and self.selected_in is not self.sessions.brokerage
        return self.accounts[0] if is_forgotten else self.last_selected or self.accounts[0]

    def select(self, account: str) -> None:
        """Select an account."""
        self.last_selected, self.selected_in = account, self.sessions.brokerage

    def find_unknown(self, accounts: Iterable[str]) -> str | None:
        """The first of these accounts that the user does not have; None if there is none."""
        return next((account for account in accounts if account not in self.accounts), None)

    def is_first_request(self, subject: str) -> bool:
        """Whether this is the first request for `subject` in this brokerage session; its response is then partial."""
        return self.sessions.brokerage is None or self.sessions.brokerage.is_first_request(subject)

    def was_searched(self, conid: int) -> bool:
        """Whether a contract search of this brokerage session has found this contract."""
        return self.sessions.brokerage is not None and conid in self.sessions.brokerage.searched_conids


def make_world(
    calendar: Calendar,
    *,
    live: bool = False,
    seed: int = 1,
    reopen_delay_s: float = 0.2,
    establish_delay_s: float = 0.1,
    list_load_delay_s: float = 0.0,
    list_lag_s: float = 0.0,
    accounts: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    positions: int = DEFAULT_POSITIONS,
) -> World:
    """A new market: nobody is signed in, and there are no orders.

    Args:
        accounts: the account numbers; none for the usual ones.
        positions: how many positions the first account has.
    """
    numbers, quotes = accounts or (LIVE if live else PAPER), Quotes(seed)
    book, sessions = Book(quotes), Sessions(calendar, reopen_delay_s, establish_delay_s)
    accounting = Accounting(book, quotes, calendar, numbers, positions)
    world = World(live, calendar, sessions, quotes, book, accounting, numbers, groups=groups)
    world.list_load_delay_s, world.list_lag_s = list_load_delay_s, list_lag_s
    return world
