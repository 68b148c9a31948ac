"""The money of one account: what everything that it has is worth at some prices. Pure.

`lots.py` books the trades. Amounts of another currency are converted once, as the total of that currency. At every
moment the net liquidation value is cash and market value. A future has no market value: its open profit is part of the
cash, as IBKR counts it ("cash recognized at the time of trade + futures P&L").

Simpler than at IBKR: margins are shares of the value, there is neither interest nor a dividend, and the profit of the
day includes what other currencies gained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ibkr_bridge.sim.market.instruments import (
    BOND,
    FUTURE,
    ONE,
    OPTION,
    STOCK,
    Instrument,
    find_instrument,
)
from ibkr_bridge.sim.market.lots import ZERO, Holdings, Lot, to_cents
from ibkr_bridge.sim.market.quotes import BASE_CURRENCY, PriceOf, find_rate

BUYING_POWER_FACTOR = 4  # IBKR's for a margin account, with securities held during the day


@dataclass(frozen=True)
class MarginRates:
    """Margin as a share of the value; of the notional value for futures. `short` applies to sold options and stocks."""

    initial: Decimal
    maintenance: Decimal
    short: Decimal


MARGIN_RATES: Mapping[str, MarginRates] = {  # Regulation T for stocks; the others are near IBKR's usual figures
    STOCK: MarginRates(Decimal("0.5"), Decimal("0.25"), Decimal("0.5")),
    OPTION: MarginRates(Decimal(0), Decimal(0), Decimal(1)),  # a bought option is paid in full and lends nothing
    BOND: MarginRates(Decimal("0.1"), Decimal("0.09"), Decimal("0.1")),
    FUTURE: MarginRates(Decimal("0.055"), Decimal("0.05"), Decimal("0.055")),
}


@dataclass(frozen=True)
class Position:
    """One lot at a price; all amounts in the contract's currency."""

    instrument: Instrument
    lot: Lot
    price: Decimal

    @property
    def size(self) -> Decimal:
        """Its size, negative if it is short."""
        return self.lot.size

    @property
    def value(self) -> Decimal:
        """Size times price times multiplier; of a future the notional value."""
        return to_cents(self.lot.size * self.price * self.instrument.multiplier)

    @property
    def unrealised(self) -> Decimal:
        """What closing it would realise, without a commission."""
        return self.value - self.lot.cost

    @property
    def average_cost(self) -> Decimal:
        """The cost of one unit: one share, one contract."""
        return self.lot.cost / self.lot.size if self.lot.size else Decimal(0)

    @property
    def average_price(self) -> Decimal:
        """The average cost as a price."""
        return self.average_cost / self.instrument.multiplier

    def margin(self, rate_name: str) -> Decimal:
        """The initial or the maintenance margin."""
        rates, value = MARGIN_RATES[self.instrument.kind], abs(self.value)
        if self.lot.size < 0:
            strike = self.instrument.strike or Decimal(0)  # a sold option binds a fifth of what it may have to deliver
            return to_cents(value * rates.short - self.lot.size * strike * self.instrument.multiplier / 5)
        return to_cents(value * (rates.initial if rate_name == "initial" else rates.maintenance))


@dataclass(frozen=True)
class Totals:
    """The sums of all that is in one currency; `rate` is what one unit of it is worth in the base currency."""

    currency: str
    rate: Decimal = ONE
    cash: Decimal = ZERO
    """The open profit of futures is included."""
    stocks: Decimal = ZERO
    options: Decimal = ZERO
    bonds: Decimal = ZERO
    futures: Decimal = ZERO
    """The open profit of futures."""
    unrealised: Decimal = ZERO
    realised: Decimal = ZERO
    gross: Decimal = ZERO
    """Values without their signs, and without futures."""
    initial_margin: Decimal = ZERO
    maintenance_margin: Decimal = ZERO
    commodity_margin: Decimal = ZERO
    """The initial margin of the futures."""
    commodity_maintenance: Decimal = ZERO

    @property
    def market_value(self) -> Decimal:
        """Stocks, options and bonds."""
        return self.stocks + self.options + self.bonds

    @property
    def net_liquidation(self) -> Decimal:
        """Cash and market value."""
        return self.cash + self.market_value


AMOUNTS = tuple(name for name in Totals.__dataclass_fields__ if name not in ("currency", "rate"))


@dataclass(frozen=True)
class Statement:
    """An account at one moment. Amounts are in the base currency, except those of positions and of `by_currency`."""

    positions: tuple[Position, ...]
    """What is held, and what was held today; the latter have size 0."""
    by_currency: tuple[Totals, ...]
    base: Totals
    day_start: Decimal
    """The net liquidation value at the start of the day: yesterday's holdings at yesterday's closes."""

    @property
    def day_profit(self) -> Decimal:
        """The change of the net liquidation value since the start of the day."""
        return self.base.net_liquidation - self.day_start

    @property
    def equity_with_loan(self) -> Decimal:
        """What IBKR lends against: all but options."""
        return self.base.net_liquidation - self.base.options

    @property
    def available_funds(self) -> Decimal:
        """Equity with loan value less the initial margin."""
        return self.equity_with_loan - self.base.initial_margin

    @property
    def excess_liquidity(self) -> Decimal:
        """Equity with loan value less the maintenance margin."""
        return self.equity_with_loan - self.base.maintenance_margin

    @property
    def buying_power(self) -> Decimal:
        """The value of stocks that could be bought with the available funds."""
        return max(self.available_funds, ZERO) * BUYING_POWER_FACTOR


def value_holdings(holdings: Holdings, price_of: PriceOf, day_start: Decimal = ZERO) -> Statement:
    """What an account has is worth at these prices; `price_of` also returns those of currency pairs."""
    positions = []
    for conid, lot in holdings.lots.items():
        instrument = find_instrument(conid)
        if instrument is not None:
            positions.append(Position(instrument, lot, price_of(instrument)))
    grouped: dict[str, list[Position]] = defaultdict(list)
    for position in positions:
        grouped[position.instrument.currency].append(position)
    currencies = [BASE_CURRENCY, *sorted({*holdings.cash, *grouped} - {BASE_CURRENCY})]
    by_currency = tuple(
        _add_up(each, find_rate(each, BASE_CURRENCY, price_of) or ONE, holdings.cash.get(each, ZERO), grouped[each])
        for each in currencies
    )
    return Statement(tuple(positions), by_currency, _convert(by_currency), day_start)


def _add_up(currency: str, rate: Decimal, cash: Decimal, positions: Iterable[Position]) -> Totals:
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO, cash=cash)
    for each in positions:
        is_future = each.instrument.kind == FUTURE
        sums[KIND_AMOUNTS[each.instrument.kind]] += each.unrealised if is_future else each.value
        sums["cash"] += each.unrealised if is_future else ZERO
        sums["gross"] += ZERO if is_future else abs(each.value)
        sums["unrealised"] += each.unrealised
        sums["realised"] += each.lot.realised
        sums["initial_margin"] += each.margin("initial")
        sums["maintenance_margin"] += each.margin("maintenance")
        sums["commodity_margin"] += each.margin("initial") if is_future else ZERO
        sums["commodity_maintenance"] += each.margin("maintenance") if is_future else ZERO
    return Totals(currency, rate, **sums)


KIND_AMOUNTS = {STOCK: "stocks", OPTION: "options", BOND: "bonds", FUTURE: "futures"}


def _convert(by_currency: Iterable[Totals]) -> Totals:
    """The totals of all currencies in the base currency."""
    totals = tuple(by_currency)
    sums = {name: sum((to_cents(getattr(each, name) * each.rate) for each in totals), ZERO) for name in AMOUNTS}
    return Totals("BASE", ONE, **sums)
