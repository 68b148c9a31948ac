"""The order book of one user: orders, their fills against the moving price, trades. Pure: the time is an argument.

Prices are compared only when somebody reads the book: an order fills if its price is good at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from ibkr_bridge.sim.market.quotes import Quotes

WORKING = frozenset({"PreSubmitted", "Submitted"})
COID_TTL_S = 86_400.0
"""How long IBKR remembers an order's cOID, whatever became of the order."""


@dataclass(frozen=True)
class Order:
    """One order; `state` is IBKR's status word, `at` the moment of its last change."""

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
    referrer: str = ""
    """The ticket's `referrer`, which names its origin. IBKR stores it and never shows it."""

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
        self._working: dict[int, Order] = {}
        self._coids: dict[str, float] = {}  # when each was registered
        self._next_number = 1_000_000_001
        self.trades: list[Trade] = []
        self.changed_numbers: list[int] = []
        """One order number for each placement, change, fill or cancel, in their order."""

    def orders(self, now: float) -> list[Order]:
        """Every order in its state now, the newest first."""
        self.fill_orders(now)
        return sorted(self._orders.values(), key=lambda order: -order.number)

    def last_state(self, number: int) -> Order:
        """One order in its state at the last comparison of prices; reading it fills nothing."""
        return self._orders[number]

    def find(self, number: int, now: float) -> Order | None:
        """One order in its state now."""
        self.fill_orders(now)
        return self._orders.get(number)

    def has_coid(self, coid: str, now: float) -> bool:
        """Whether an order with that cOID was placed within a day."""
        return coid in self._coids and now - self._coids[coid] < COID_TTL_S

    def reserve_number(self) -> int:
        """Return a new order number; none is given twice."""
        self._next_number += 1
        return self._next_number - 1

    def add(self, order: Order) -> Order:
        """Add an order, with a new number unless it has one."""
        placed = order if order.number else replace(order, number=self.reserve_number())
        if order.coid:
            self._coids[order.coid] = order.at
        self._store(placed)
        return placed

    def change(self, number: int, order: Order) -> Order:
        """Replace an order by a changed one; its cOID, its parent and its fills stay."""
        old = self._orders[number]
        changed = replace(order, number=number, coid=old.coid, parent=old.parent)
        changed = replace(changed, filled=old.filled, average=old.average, referrer=order.referrer or old.referrer)
        self._store(changed)
        return changed

    def cancel(self, numbers: Iterable[int], now: float) -> None:
        """Cancel orders; with a parent its children are cancelled too."""
        cancelled = {number for number in numbers if self._orders[number].is_working}
        names = {self._orders[number].coid for number in cancelled} - {""}
        cancelled |= {order.number for order in self._orders.values() if order.parent in names and order.is_working}
        for number in cancelled:
            self._store(replace(self._orders[number], state="Cancelled", at=now))

    def _store(self, order: Order) -> None:
        self.changed_numbers.append(order.number)
        self._orders[order.number] = order
        self._working.pop(order.number, None)
        if order.is_working:
            self._working[order.number] = order

    def fill_orders(self, now: float) -> None:
        """Compare all working orders with the prices now, and fill those whose price is good."""
        prices: dict[tuple[int, str], Decimal] = {}
        for number in sorted(self._working):
            order = self._orders[number]  # not from `_working`: a fill in this loop may have cancelled it
            price = self._fill_price(order, self._market_price(order, now, prices)) if order.is_working else None
            if price is not None and not self._waits_for_parent(order):
                self._execute(order, price, now)

    def _execute(self, order: Order, price: Decimal, now: float) -> None:
        filled = replace(order, state="Filled", filled=order.size, average=price, at=now)
        self._store(filled)
        self.trades.append(Trade(len(self.trades) + 1, filled, price, now))
        if order.parent:  # when one of a bracket's two children fills, the other is cancelled
            family = [each.number for each in self._orders.values() if each.parent == order.parent]
            self.cancel(family, now)

    def _waits_for_parent(self, order: Order) -> bool:
        """Whether the order is a child whose parent has not filled yet."""
        if not order.parent:
            return False
        parents = [each for each in self._orders.values() if each.coid == order.parent]
        return not any(each.state == "Filled" for each in parents)

    def _market_price(self, order: Order, now: float, prices: dict[tuple[int, str], Decimal]) -> Decimal:
        """The price of the other side of the market now; `prices` holds those that were computed already."""
        key = (order.conid, order.side)
        if key not in prices:
            price_of = self._quotes.ask_price if order.side == "BUY" else self._quotes.bid_price
            prices[key] = price_of(order.conid, now)
        return prices[key]

    def _fill_price(self, order: Order, market: Decimal) -> Decimal | None:
        """The price at which an order fills now; None if it does not fill."""
        buys = order.side == "BUY"
        if order.stop is not None and (market < order.stop if buys else market > order.stop):
            return None
        if order.price is not None and (market > order.price if buys else market < order.price):
            return None
        return market
