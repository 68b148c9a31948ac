"""The value of an account: at every moment and after every trade it adds up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.instruments import CURRENCY, FUTURE, INSTRUMENTS, Instrument, find_instrument
from ibkr_bridge.sim.market.lots import ZERO, Holdings, Lot, to_cents
from ibkr_bridge.sim.market.money import BUYING_POWER_FACTOR, Statement, value_holdings
from ibkr_bridge.sim.market.world import World, make_world
from tests.clocks import ManualClock
from tests.sim.market.test_book import MARKET

ACCOUNT = "DU1234567"


@dataclass(frozen=True)
class Step:
    """Time passes, then an order is placed."""

    seconds: float
    conid: int
    side: str
    size: int


STEPS = some.builds(
    Step,
    seconds=some.floats(0, 400),
    conid=some.sampled_from([each.conid for each in INSTRUMENTS]),
    side=some.sampled_from(["BUY", "SELL"]),
    size=some.sampled_from([1, 3, 40, 100, 900, 2500]),
)


class Ledger:
    """The sums that a person would make of the trades, apart from the code under test."""

    def __init__(self, world: World, now: float) -> None:
        self._world = world
        self.exchanged: dict[str, Decimal] = defaultdict(lambda: ZERO)
        statement = world.accounting.statement(ACCOUNT, now)
        self.at_cost = {each.currency: each.net_liquidation - each.unrealised for each in statement.by_currency}
        self._count = 0

    def read_trades(self) -> None:
        """Add up what was exchanged by trades in currency pairs."""
        for trade in self._world.book.trades[self._count :]:
            pair = find_instrument(trade.order.conid)
            assert pair is not None
            if pair.kind == CURRENCY:
                size = trade.size if trade.order.side == "BUY" else -trade.size
                self.exchanged[pair.symbol] += size
                self.exchanged[pair.currency] -= to_cents(size * trade.price) + trade.commission
        self._count = len(self._world.book.trades)


def assert_adds_up(statement: Statement, ledger: Ledger, world: World, now: float) -> None:
    """Every relation between the figures of one moment."""
    base = statement.base
    rates = {each: world.quotes.exchange_rate(each, "USD", now) or 0 for each in ("USD", "EUR", "CHF")}
    for totals in statement.by_currency:
        held = [each for each in statement.positions if each.instrument.currency == totals.currency]
        values = sum((each.value for each in held if each.instrument.kind != FUTURE), ZERO)
        start = ledger.at_cost.get(totals.currency, ZERO) + ledger.exchanged[totals.currency]
        assert totals.rate == rates[totals.currency]
        assert totals.unrealised == sum((each.unrealised for each in held), ZERO)
        assert totals.net_liquidation == totals.cash + values == start + totals.realised + totals.unrealised
    for name in ("cash", "stocks", "options", "bonds", "unrealised", "realised"):
        converted = (to_cents(getattr(each, name) * each.rate) for each in statement.by_currency)
        assert getattr(base, name) == sum(converted, ZERO)
    assert base.net_liquidation == base.cash + base.stocks + base.options + base.bonds
    assert statement.day_profit == base.net_liquidation - statement.day_start
    assert statement.excess_liquidity == base.net_liquidation - base.options - base.maintenance_margin
    assert statement.available_funds == base.net_liquidation - base.options - base.initial_margin
    assert statement.buying_power == max(statement.available_funds, ZERO) * BUYING_POWER_FACTOR
    assert base.maintenance_margin <= base.initial_margin


@given(some.lists(STEPS, max_size=12))
def test_no_trades_and_no_time_break_the_sums(steps: list[Step]) -> None:
    """Long, short, parts, all classes and currencies."""
    clock = ManualClock()
    world = make_world(Calendar(clock))
    ledger = Ledger(world, clock.now())
    day_start = world.accounting.statement(ACCOUNT, clock.now()).day_start
    for step in steps:
        clock.advance(step.seconds)
        order = world.book.add(_order(step, clock.now()))
        statement = world.accounting.statement(ACCOUNT, clock.now())
        ledger.read_trades()

        assert_adds_up(statement, ledger, world, clock.now())
        assert statement.day_start == day_start
        assert world.book.last_state(order.number).filled > 0


def _order(step: Step, now: float) -> Order:
    return replace(MARKET, account=ACCOUNT, conid=step.conid, side=step.side, size=Decimal(step.size), at=now)


def price_of(instrument: Instrument) -> Decimal:
    """Prices that are easy to compute with."""
    return {"AAPL": Decimal(200), "ES": Decimal(5000), "EUR": Decimal("1.25"), "USD": Decimal("0.8")}[instrument.symbol]


AAPL, ES, OPTION = 265598, 495512563, 703281945


def test_the_figures_of_a_small_account() -> None:
    """Computed by hand: a hundred shares, one future that has lost, and euros."""
    lots = {AAPL: Lot(Decimal(100), Decimal(15000)), ES: Lot(Decimal(1), Decimal(250_100))}
    holdings = Holdings({"USD": Decimal(50_000), "EUR": Decimal(1000)}, lots)

    statement = value_holdings(holdings, price_of, day_start=Decimal(71_000))

    base = statement.base
    assert (base.cash, base.stocks, base.futures) == (Decimal(51_150), Decimal(20_000), Decimal(-100))
    assert (base.net_liquidation, base.unrealised, statement.day_profit) == tuple(map(Decimal, (71_150, 4_900, 150)))
    assert (base.initial_margin, base.maintenance_margin) == (Decimal(23_750), Decimal(17_500))  # 10,000 + 13,750
    assert (statement.available_funds, statement.excess_liquidity) == (Decimal(47_400), Decimal(53_650))


def test_an_option_that_is_sold_needs_margin_and_one_that_is_bought_lends_nothing() -> None:
    """A fifth of the shares' value, and the premium."""
    bought, sold = (
        value_holdings(Holdings({"USD": Decimal(90_000)}, {OPTION: Lot(Decimal(size))}), price_of) for size in (1, -1)
    )

    assert (bought.base.initial_margin, bought.equity_with_loan) == (ZERO, Decimal(90_000))
    assert (sold.base.initial_margin, sold.base.net_liquidation) == (Decimal(24_000), Decimal(70_000))


@pytest.mark.parametrize(("size", "average_cost", "average_price"), [(5, "1985", "19.85"), (-5, "1985", "19.85")])
def test_average_cost_is_that_of_a_contract_and_average_price_that_of_a_unit(
    size: int, average_cost: str, average_price: str
) -> None:
    """As in IBKR's example of an option."""
    lot = Lot(Decimal(size), size * Decimal(1985))

    [position] = value_holdings(Holdings({}, {OPTION: lot}), price_of).positions

    assert (position.average_cost, position.average_price) == (Decimal(average_cost), Decimal(average_price))
