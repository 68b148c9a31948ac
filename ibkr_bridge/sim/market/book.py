"""The order book of one user: orders, their fills against the moving price, trades. Pure: the time is an argument.

Prices are compared only when somebody reads the book: an order fills if its price is good at that moment. An order that
is larger than what the market shows fills in parts: one at once, and one more each time the market shows a new size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from ibkr_bridge.sim.market.commissions import order_commission
from ibkr_bridge.sim.market.quotes import Quotes

WORKING = frozenset({"PreSubmitted", "Submitted"})
COID_TTL_S = 86_400.0
"""How long IBKR remembers an order's cOID, whatever became of the order."""
PART_INTERVAL_S = 1.0
"""Time between two parts of an order."""
AVERAGE_DIGITS = Decimal("0.000001")


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
    commission: Decimal = Decimal(0)
    """What its parts have cost so far, in the contract's currency."""
    referrer: str = ""
    """The ticket's `referrer`, which names its origin. IBKR stores it and never shows it."""

    @property
    def is_working(self) -> bool:
        """Whether it may still fill or be cancelled."""
        return self.state in WORKING


@dataclass(frozen=True)
class Trade:
    """One execution; `order` as it was after it. The commission is in the contract's currency."""

    number: int
    order: Order
    size: Decimal
    price: Decimal
    commission: Decimal
    at: float


class Book:
    """All orders of the day, of every account."""

    def __init__(self, quotes: Quotes) -> None:
        self._quotes = quotes
        self._orders: dict[int, Order] = {}
        self._working: dict[int, Order] = {}
        self._next_part_at: dict[int, float] = {}  # of orders of which a part has filled
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
        changed = replace(changed, referrer=order.referrer or old.referrer)
        if old.filled:
            state, size = "Submitted" if order.size > old.filled else "Filled", max(order.size, old.filled)
            changed = replace(changed, state=state, size=size, filled=old.filled, average=old.average)
            changed = replace(changed, commission=old.commission)
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
            if self._quotes.availability.closed_since(order.conid) is not None:
                if order.filled:
                    self._next_part_at[number] = now + PART_INTERVAL_S
                continue
            if order.is_working and order.filled:
                self._fill_further_parts(order, now)
                continue
            price = self._fill_price(order, self._market_price(order, now, prices)) if order.is_working else None
            if price is not None and not self._waits_for_parent(order):
                self._execute(order, price, now)

    def _fill_further_parts(self, order: Order, now: float) -> None:
        """Fill the parts that were due since the last reading, each at the price of its moment."""
        while order.is_working and (due := self._next_part_at[order.number]) <= now:
            self._next_part_at[order.number] = due + PART_INTERVAL_S
            price = self._fill_price(order, self._market_price(order, due, {}))
            if price is not None:
                order = self._execute(order, price, due)

    def _execute(self, order: Order, price: Decimal, now: float) -> Order:
        """Fill as much of an order as the market shows."""
        size = min(order.size - order.filled, self._quotes.shown_size(order.conid, order.side, now))
        filled, average = order.filled + size, _average(order, size, price)
        self._next_part_at.setdefault(order.number, now + PART_INTERVAL_S)
        commission = self._commission(order, filled, average)
        state = "Filled" if filled == order.size else "Submitted"
        after = replace(order, state=state, filled=filled, average=average, commission=commission, at=now)
        self._store(after)
        self.trades.append(Trade(len(self.trades) + 1, after, size, price, commission - order.commission, now))
        if order.parent:
            self._reduce_siblings(after, size, now)
        return after

    def _commission(self, order: Order, filled: Decimal, average: Decimal) -> Decimal:
        """The commission of an order up to now; none falls below what was charged."""
        instrument = self._quotes.instrument(order.conid)
        if instrument is None:
            return order.commission
        return max(order_commission(instrument, filled, filled * average * instrument.multiplier), order.commission)

    def _reduce_siblings(self, child: Order, size: Decimal, now: float) -> None:
        """Of a bracket's two children only one may fill: the other gets smaller with each part, and is cancelled."""
        siblings = [each for each in self._orders.values() if each.parent == child.parent and each.is_working]
        for each in siblings:
            if each.number == child.number:
                continue
            if not child.is_working or each.size - each.filled <= size:
                self.cancel([each.number], now)
            else:
                self._store(replace(each, size=each.size - size, at=now))

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
        buys, is_triggered = order.side == "BUY", bool(order.filled)
        if order.stop is not None and not is_triggered and (market < order.stop if buys else market > order.stop):
            return None
        if order.price is not None and (market > order.price if buys else market < order.price):
            return None
        return market


def _average(order: Order, size: Decimal, price: Decimal) -> Decimal:
    """The average price of an order after another part."""
    if not order.filled:
        return price
    average = (order.average * order.filled + price * size) / (order.filled + size)
    return average.quantize(AVERAGE_DIGITS)
