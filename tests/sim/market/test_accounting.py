"""The running accounts: trades are booked once, and a new day begins at midnight in New York."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from ibkr_bridge.sim.clock import Calendar
from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.world import World, make_world
from tests.clocks import ManualClock
from tests.sim.market.test_book import MARKET

ACCOUNT, OTHER = "DU1234567", "DU7654321"
AAPL = 265598
BUY = replace(MARKET, account=ACCOUNT, size=Decimal(10))
TWELVE_HOURS_S = 12 * 3600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    """A market at noon in New York."""
    return make_world(Calendar(clock))


def size_of(world: World, now: float, account: str = ACCOUNT) -> Decimal:
    """How many shares of Apple an account has."""
    positions = world.accounting.statement(account, now).positions
    return next((each.size for each in positions if each.instrument.conid == AAPL), Decimal(0))


def test_a_trade_is_booked_once_and_in_its_own_account(world: World, clock: ManualClock) -> None:
    """However often an account is read."""
    world.book.add(BUY)

    sizes = [size_of(world, clock.now()) for _ in range(3)]

    assert sizes == [110] * 3
    assert size_of(world, clock.now(), OTHER) == 0


def test_the_day_begins_with_yesterdays_closes(world: World, clock: ManualClock) -> None:
    """The profit of the day is the change since then, of shares held as well as of shares bought today."""
    before = world.accounting.statement(ACCOUNT, clock.now())
    order = world.book.add(BUY)
    after = world.accounting.statement(ACCOUNT, clock.now())

    [trade] = world.book.trades
    last = world.quotes.last_price(AAPL, clock.now())
    assert after.day_profit - before.day_profit == 10 * (last - trade.price) - trade.commission
    assert (order.number, trade.commission) == (trade.order.number, Decimal(1))


def test_a_new_day_forgets_realised_profit_and_starts_from_the_closes(world: World, clock: ManualClock) -> None:
    """What was sold out is no longer there."""
    world.book.add(replace(BUY, side="SELL", size=Decimal(100)))
    sold = world.accounting.statement(ACCOUNT, clock.now())
    clock.advance(TWELVE_HOURS_S - 1)
    evening = world.accounting.statement(ACCOUNT, clock.now())
    clock.advance(1)
    midnight = world.accounting.statement(ACCOUNT, clock.now())

    assert sold.base.realised == evening.base.realised != 0
    assert evening.day_start == sold.day_start != midnight.day_start
    assert midnight.base.realised == 0
    assert AAPL not in [each.instrument.conid for each in midnight.positions]
    assert midnight.base.net_liquidation == midnight.day_start + midnight.day_profit


def test_accounts_can_be_opened_anew(world: World, clock: ManualClock) -> None:
    """With more positions; the trades so far are booked again."""
    world.book.add(BUY)
    world.accounting.open_accounts(233)

    assert len(world.accounting.statement(ACCOUNT, clock.now()).positions) == 233
    assert size_of(world, clock.now()) == 110


def test_a_preview_changes_nothing(world: World, clock: ManualClock) -> None:
    """It shows an account before and after an order."""
    order: Order = replace(BUY, size=Decimal(7))

    before, after = world.accounting.preview(order, Decimal(190), Decimal(1), clock.now())

    change = after.base.cash - before.base.cash
    assert (change, size_of(world, clock.now())) == (Decimal(-1331), Decimal(100))
