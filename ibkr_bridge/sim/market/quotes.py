"""Prices that depend only on the clock and a seed.

The same seed and moment give the same price on every machine, so that a test can predict a fill.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from decimal import Decimal

from ibkr_bridge.sim.market.availability import Availability
from ibkr_bridge.sim.market.instruments import CENT, CURRENCY, ONE, PAIRED_CURRENCIES, Instrument, find_instrument

PriceOf = Callable[[Instrument], Decimal]
BASE_CURRENCY = "USD"
MIN_SHOWN_SIZE, SHOWN_SIZE_RANGE = Decimal(500), 100
"""The market shows 500 to 599 units; it changes each second."""
SHOWN_CURRENCY = Decimal(2_000_000)
RATE_DIGITS = Decimal("0.000001")
PAIRS = {(each.symbol, each.currency): each for each in PAIRED_CURRENCIES}


class Quotes:
    """The prices of all instruments at any moment."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.availability = Availability()
        """Which quotes are not in real time, and which markets are closed."""

    def instrument(self, conid: int) -> Instrument | None:
        """The instrument with that contract id, or None."""
        return find_instrument(conid)

    def last_price(self, conid: int, now: float) -> Decimal:
        """The last price: a slow wave of one per cent and a fast small one on it, rounded to the tick.

        In a closed market it is the price at its end.
        """
        instrument, closed_since = self.instrument(conid), self.availability.closed_since(conid)
        if instrument is None:
            return Decimal(0)
        now = now if closed_since is None else min(now, closed_since)
        phase = zlib.crc32(f"{self._seed}/{conid}".encode()) % 1000 / 159.0
        swing = 0.01 * math.sin(now / 97.0 + phase) + 0.002 * math.sin(now / 3.1 + 2 * phase)
        price, tick = instrument.price * (1 + Decimal(str(round(swing, 9)))), instrument.tick
        return ((price / tick).to_integral_value() * tick).quantize(tick)

    def bid_price(self, conid: int, now: float) -> Decimal:
        """The best bid: a tick below the last price."""
        return self.last_price(conid, now) - self._tick(conid)

    def ask_price(self, conid: int, now: float) -> Decimal:
        """The best offer: a tick above the last price."""
        return self.last_price(conid, now) + self._tick(conid)

    def shown_size(self, conid: int, side: str, now: float) -> Decimal:
        """How much the market shows for an order of this side: offers for a purchase, bids for a sale."""
        instrument = self.instrument(conid)
        if instrument is not None and instrument.kind == CURRENCY:
            return SHOWN_CURRENCY
        return MIN_SHOWN_SIZE + (int(now) * (7 if side == "BUY" else 11)) % SHOWN_SIZE_RANGE

    def exchange_rate(self, source: str, target: str, now: float) -> Decimal | None:
        """What one unit of `source` is worth in `target` now, with six digits; None for an unknown currency."""
        return find_rate(source, target, lambda pair: self.last_price(pair.conid, now))

    def _tick(self, conid: int) -> Decimal:
        instrument = self.instrument(conid)
        return instrument.tick if instrument else CENT


def find_rate(source: str, target: str, price_of: PriceOf) -> Decimal | None:
    """What one unit of `source` is worth in `target`, with six digits; None for an unknown currency.

    Args:
        price_of: returns the price of a currency pair.
    """
    rates = [_dollars(currency, price_of) for currency in (source, target)]
    return None if rates[0] is None or rates[1] is None else (rates[0] / rates[1]).quantize(RATE_DIGITS)


def _dollars(currency: str, price_of: PriceOf) -> Decimal | None:
    """What one unit of a currency is worth in dollars."""
    if currency == BASE_CURRENCY:
        return ONE
    if (pair := PAIRS.get((currency, BASE_CURRENCY))) is not None:
        return price_of(pair)
    pair = PAIRS.get((BASE_CURRENCY, currency))
    return None if pair is None else 1 / price_of(pair)
