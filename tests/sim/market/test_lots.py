"""What a trade changes: size, cost, realised profit, cash."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.sim.market.instruments import Instrument, find_instrument
from ibkr_bridge.sim.market.lots import ZERO, Fill, Holdings, Lot, apply_fill


def contract(conid: int) -> Instrument:
    """A contract that exists."""
    instrument = find_instrument(conid)
    assert instrument is not None
    return instrument


AAPL, ES, OPTION, PAIR = (contract(conid) for conid in (265598, 495512563, 703281945, 12087792))
NESN = contract(12334114)


def fill(size: str, price: str, fee: str = "1.00", instrument: Instrument = AAPL) -> Fill:
    """One execution."""
    return Fill(instrument, Decimal(size), Decimal(price), Decimal(fee))


def lot(size: str, cost: str, realised: str = "0.00") -> Lot:
    """A lot."""
    return Lot(Decimal(size), Decimal(cost), Decimal(realised))


@pytest.mark.parametrize(
    ("before", "trade", "after"),
    [
        (Lot(), fill("100", "190"), lot("100", "19001.00")),  # the commission is part of the cost
        (lot("100", "19001"), fill("100", "200"), lot("200", "39002.00")),
        (lot("200", "39002"), fill("-50", "210"), lot("150", "29251.50", "748.50")),  # 10500 - 9750.50 - 1
        (lot("100", "19001"), fill("-100", "180"), lot("0", "0.00", "-1002.00")),
        (Lot(), fill("-100", "190"), lot("-100", "-18999.00")),  # what a short sale has brought
        (lot("-100", "-18999"), fill("100", "180"), lot("0", "0.00", "998.00")),
        (lot("100", "19000"), fill("-150", "200", "1.50"), lot("-50", "-9999.50", "999.00")),  # from long to short
    ],
)
def test_cost_and_realised_profit_follow_ibkrs_rule(before: Lot, trade: Fill, after: Lot) -> None:
    """Average cost includes commissions; closing realises the difference to it."""
    assert apply_fill(before, trade) == after


def test_a_contract_counts_with_its_multiplier() -> None:
    """The cost of five options on a hundred shares each."""
    assert apply_fill(Lot(), fill("5", "21.40", "3.25", OPTION)) == lot("5", "10703.25")


def test_a_trade_moves_cash_in_the_contracts_currency() -> None:
    """Price, size and commission; other currencies stay."""
    holdings = Holdings({"USD": Decimal(1000), "CHF": Decimal(1000)})

    holdings.apply(fill("10", "92.34", "5.00", NESN))

    assert holdings.cash == {"USD": Decimal(1000), "CHF": Decimal("71.60")}


def test_a_future_moves_only_its_profit() -> None:
    """Its notional value is never paid."""
    holdings = Holdings({"USD": Decimal(1000)})

    holdings.apply(fill("1", "5400", "2.25", ES))
    bought = holdings.cash["USD"]
    holdings.apply(fill("-1", "5410", "2.25", ES))

    assert (bought, holdings.cash["USD"]) == (Decimal(1000), Decimal("1495.50"))


def test_a_currency_pair_exchanges_cash_and_is_no_position() -> None:
    """Buying EUR.USD gives euros for dollars."""
    holdings = Holdings({"USD": Decimal(2000)})

    holdings.apply(fill("1000", "1.08505", "2.00", PAIR))

    assert holdings.cash == {"USD": Decimal("912.95"), "EUR": Decimal("1000.00")}
    assert holdings.lots == {}


def test_a_new_day_forgets_what_was_realised_and_closed() -> None:
    """What is held stays at its cost."""
    held = Holdings({}, {1: lot("5", "50", "7"), 2: lot("0", "0", "9")})

    held.begin_day()

    assert held.lots == {1: lot("5", "50")}


SIZES = some.sampled_from(["1", "7", "-3", "-12", "100", "-100", "0.125", "-0.3333"])
PRICES = some.decimals("0.01", "9999", places=2)


@given(some.lists(some.tuples(some.sampled_from([AAPL, OPTION, ES, NESN]), SIZES, PRICES, PRICES), max_size=30))
def test_no_cent_is_lost_or_made(trades: list[tuple[Instrument, str, Decimal, Decimal]]) -> None:
    """In each currency, cash and cost change only by what was realised."""
    holdings = Holdings({"USD": ZERO, "CHF": ZERO})
    for instrument, size, price, fee in trades:
        holdings.apply(Fill(instrument, Decimal(size), price, fee))

    for currency, cash in holdings.cash.items():
        lots = [(conid, each) for conid, each in holdings.lots.items() if contract(conid).currency == currency]
        cost = sum((each.cost for conid, each in lots if conid != ES.conid), ZERO)
        assert cash + cost == sum((each.realised for _, each in lots), ZERO)
    assert all(not each.cost for each in holdings.lots.values() if not each.size)
