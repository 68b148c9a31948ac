"""Prices, shown sizes and exchange rates."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.sim.market.quotes import Quotes, find_rate

AAPL, PAIR = 265598, 12087792
QUOTES = Quotes(1)


def test_a_rate_is_the_price_of_its_pair_or_the_inverse() -> None:
    """IBKR quotes euros in dollars, and dollars in Swiss francs."""
    prices = {"EUR.USD": Decimal("1.085"), "USD.CHF": Decimal("0.8")}

    rates = {
        pair: find_rate(*pair, lambda instrument: prices[instrument.name])
        for pair in (("EUR", "USD"), ("USD", "EUR"), ("CHF", "USD"), ("EUR", "CHF"), ("USD", "USD"), ("XXX", "USD"))
    }

    assert rates[("EUR", "USD")] == Decimal("1.085")
    assert rates[("USD", "EUR")] == Decimal("0.921659")
    assert rates[("CHF", "USD")] == Decimal("1.25")
    assert rates[("EUR", "CHF")] == Decimal("0.868")
    assert rates[("USD", "USD")] == 1
    assert rates[("XXX", "USD")] is None


def test_the_rate_now_is_the_pairs_price_now() -> None:
    """There is one source of rates."""
    assert QUOTES.exchange_rate("EUR", "USD", 5.0) == QUOTES.last_price(PAIR, 5.0)


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_the_market_shows_five_to_six_hundred_units(side: str) -> None:
    """Of currencies it shows millions."""
    sizes = {QUOTES.shown_size(AAPL, side, float(second)) for second in range(300)}

    assert (min(sizes), max(sizes)) == (Decimal(500), Decimal(599))
    assert QUOTES.shown_size(PAIR, side, 0.0) > 1_000_000
