"""What the accounts hold at the start."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.sim.market.holdings import MAX_POSITIONS, opening_holdings
from ibkr_bridge.sim.market.instruments import Instrument, find_instrument
from ibkr_bridge.sim.market.lots import Holdings
from ibkr_bridge.sim.market.money import value_holdings


def close(instrument: Instrument) -> Decimal:
    """Yesterday's price."""
    return instrument.price


def contracts_of(holdings: Holdings) -> list[Instrument]:
    """The contracts that are held."""
    return [instrument for conid in holdings.lots if (instrument := find_instrument(conid))]


def test_the_first_account_has_ten_positions_of_several_classes_and_currencies() -> None:
    """A demo shows what an app has to cope with."""
    contracts = contracts_of(opening_holdings(is_first=True))

    assert len(contracts) == 10
    assert {each.kind for each in contracts} == {"STK", "FUT", "OPT", "BOND"}
    assert {each.currency for each in contracts} == {"USD", "EUR", "CHF"}


def test_open_profits_are_a_few_per_cent() -> None:
    """Some positions lose; the sum is a few thousand."""
    statement = value_holdings(opening_holdings(is_first=True), close)
    shares = [abs(each.unrealised / each.lot.cost) for each in statement.positions]

    assert all(Decimal("0.005") < share < Decimal("0.12") for share in shares)
    assert {each.unrealised > 0 for each in statement.positions} == {True, False}
    assert 2_000 < statement.base.unrealised < 10_000


@pytest.mark.parametrize("count", [0, 3, 10, 233, MAX_POSITIONS])
def test_the_first_account_has_as_many_positions_as_wanted(count: int) -> None:
    """Small companies fill it up."""
    holdings = opening_holdings(is_first=True, positions=count)

    assert len(holdings.lots) == len(contracts_of(holdings)) == count
    assert len(opening_holdings(is_first=False, positions=count).lots) == 2
