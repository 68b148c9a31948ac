"""The running accounts: the day's trades are booked once, and each reading is a valuation at that moment.

A day ends at midnight in New York. What was held then, at the closes of that day, is what the next day starts with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.book import Book, Order, Trade
from ibkr_bridge.sim.market.holdings import DEFAULT_POSITIONS, opening_holdings
from ibkr_bridge.sim.market.instruments import Instrument, find_instrument
from ibkr_bridge.sim.market.lots import Fill, Holdings
from ibkr_bridge.sim.market.money import Statement, value_holdings
from ibkr_bridge.sim.market.quotes import PriceOf, Quotes

NEW_YORK = ZoneInfo("America/New_York")


@dataclass
class Account:
    """One account: what it has now, and its net liquidation value at the start of the day."""

    holdings: Holdings
    day_start: Decimal

    @classmethod
    def open(cls, holdings: Holdings) -> Account:
        """An account that starts a day with these holdings."""
        return cls(holdings, value_at_close(holdings))


class Accounting:
    """The accounts of one user."""

    def __init__(
        self,
        book: Book,
        quotes: Quotes,
        calendar: Calendar,
        accounts: Iterable[str],
        positions: int = DEFAULT_POSITIONS,
    ) -> None:
        self._book, self._quotes, self._calendar = book, quotes, calendar
        self._numbers = tuple(accounts)
        self._accounts: dict[str, Account] = {}
        self._booked_count = 0
        self._day_ends_at: float | None = None
        self.open_accounts(positions)

    def open_accounts(self, positions: int) -> None:
        """Open all accounts anew; the first one has so many positions. Trades so far are booked again."""
        self._booked_count = 0
        self._accounts = {
            number: Account.open(opening_holdings(is_first=number == self._numbers[0], positions=positions))
            for number in self._numbers
        }

    def statement(self, number: str, now: float) -> Statement:
        """What an account has and is worth now, after the fills of this moment."""
        self._book_trades(now)
        account = self._accounts[number]
        return value_holdings(account.holdings, self._price_at(now), account.day_start)

    def preview(self, order: Order, price: Decimal, commission: Decimal, now: float) -> tuple[Statement, Statement]:
        """An account now, and as it would be if an order filled completely at a price."""
        before = self.statement(order.account, now)
        account = self._accounts[order.account]
        holdings = account.holdings.copy()
        holdings.apply(_fill(order, order.size, price, commission))
        return before, value_holdings(holdings, self._price_at(now), account.day_start)

    def _price_at(self, now: float) -> PriceOf:
        return lambda instrument: self._quotes.last_price(instrument.conid, now)

    def _book_trades(self, now: float) -> None:
        self._book.fill_orders(now)
        trades = self._book.trades[self._booked_count :]
        self._booked_count = len(self._book.trades)
        for trade in trades:
            self._begin_day(trade.at)
            self._accounts[trade.order.account].holdings.apply(_fill_of(trade))
        self._begin_day(now)

    def _begin_day(self, now: float) -> None:
        """Start a new day if `now` is the first moment of one."""
        if self._day_ends_at is not None and now >= self._day_ends_at:
            for account in self._accounts.values():
                account.holdings.begin_day()
                account.day_start = value_at_close(account.holdings)
        if self._day_ends_at is None or now >= self._day_ends_at:
            self._day_ends_at = self._calendar.next_midnight(now, NEW_YORK)


def value_at_close(holdings: Holdings) -> Decimal:
    """The net liquidation value at yesterday's closes."""
    return value_holdings(holdings, _close).base.net_liquidation


def _close(instrument: Instrument) -> Decimal:
    return instrument.price


def _fill_of(trade: Trade) -> Fill:
    return _fill(trade.order, trade.size, trade.price, trade.commission)


def _fill(order: Order, size: Decimal, price: Decimal, commission: Decimal) -> Fill:
    instrument = find_instrument(order.conid)
    if instrument is None:
        raise LookupError(order.conid)
    return Fill(instrument, size if order.side == "BUY" else -size, price, commission)
