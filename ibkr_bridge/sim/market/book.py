"""The order book of one user: orders, their fills against the moving price, and trades. Pure: it is told the time.

Prices are looked at whenever somebody asks, not in between: an order fills if its price is good at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from ibkr_bridge.sim.market.quotes import Quotes

WORKING = frozenset({"PreSubmitted", "Submitted"})


@dataclass(frozen=True)
class Order:
    """One order; `state` is IBKR's word for it, `at` the moment of its last change."""

    number: int
    account: str
    conid: int
    side: str
    kind: str
    size: Decimal
    price: Decimal | None
    stop: Decimal | None
    tif: str
    coid: str
    parent: str
    state: str
    at: float
    filled: Decimal = Decimal(0)
    average: Decimal = Decimal(0)

    @property
    def is_working(self) -> bool:
        """Whether it may still fill or be cancelled."""
        return self.state in WORKING


@dataclass(frozen=True)
class Trade:
    """One execution."""

    number: int
    order: Order
    price: Decimal
    at: float


class Book:
    """All orders of the day, of every account."""

    def __init__(self, quotes: Quotes) -> None:
        self._quotes = quotes
        self._orders: dict[int, Order] = {}
        self._next = 1_000_000_001
        self.trades: list[Trade] = []

    def orders(self, now: float) -> list[Order]:
        """Every order as it stands now, the newest first."""
        self._fill(now)
        return sorted(self._orders.values(), key=lambda order: -order.number)

    def find(self, number: int, now: float) -> Order | None:
        """One order as it stands now."""
        self._fill(now)
        return self._orders.get(number)

    def knows(self, coid: str) -> bool:
        """Whether an order of that name was placed before."""
        return bool(coid) and any(order.coid == coid for order in self._orders.values())

    def add(self, order: Order) -> Order:
        """Take an order in and give it its number."""
        placed = replace(order, number=self._next)
        self._next += 1
        self._orders[placed.number] = placed
        return placed

    def change(self, number: int, order: Order) -> Order:
        """Put a changed order in the place of an old one; what was filled stays filled."""
        old = self._orders[number]
        changed = replace(order, number=number, filled=old.filled, average=old.average, parent=old.parent)
        self._orders[number] = changed
        return changed

    def cancel(self, numbers: Iterable[int], now: float) -> None:
        """Cancel orders, and with a parent its children."""
        gone = {number for number in numbers if self._orders[number].is_working}
        names = {self._orders[number].coid for number in gone} - {""}
        gone |= {order.number for order in self._orders.values() if order.parent in names and order.is_working}
        for number in gone:
            self._orders[number] = replace(self._orders[number], state="Cancelled", at=now)

    def _fill(self, now: float) -> None:
        for number in sorted(self._orders):
            order = self._orders[number]  # looked up anew: a fill may just have cancelled it
            price = self._price_for(order, now) if order.is_working else None
            if price is not None and not self._waits(order):
                self._execute(order, price, now)

    def _execute(self, order: Order, price: Decimal, now: float) -> None:
        done = replace(order, state="Filled", filled=order.size, average=price, at=now)
        self._orders[order.number] = done
        self.trades.append(Trade(len(self.trades) + 1, done, price, now))
        if order.parent:  # of a bracket's two children one fills, the other goes
            family = [each.number for each in self._orders.values() if each.parent == order.parent]
            self.cancel(family, now)

    def _waits(self, order: Order) -> bool:
        """A child sleeps until its parent has filled."""
        parents = [each for each in self._orders.values() if each.coid == order.parent]
        return bool(order.parent) and not any(each.state == "Filled" for each in parents)

    def _price_for(self, order: Order, now: float) -> Decimal | None:
        """The price at which an order fills now, None if it does not."""
        buys = order.side == "BUY"
        market = self._quotes.ask(order.conid, now) if buys else self._quotes.bid(order.conid, now)
        if order.stop is not None and (market < order.stop if buys else market > order.stop):
            return None
        if order.price is not None and (market > order.price if buys else market < order.price):
            return None
        return market
