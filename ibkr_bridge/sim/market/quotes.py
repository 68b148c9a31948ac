"""Prices that depend only on the clock and a seed.

The same seed and moment give the same price on every machine, so that a test can predict a fill. A few well-known
instruments have their real contract ids; all others are invented.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from decimal import Decimal

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Instrument:
    """One instrument; its price moves around `price`."""

    conid: int
    symbol: str
    name: str
    kind: str
    exchange: str
    price: Decimal
    tick: Decimal = CENT
    currency: str = "USD"


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(265598, "AAPL", "APPLE INC", "STK", "NASDAQ", Decimal("190.00")),
    Instrument(272093, "MSFT", "MICROSOFT CORP", "STK", "NASDAQ", Decimal("420.00")),
    Instrument(8314, "IBM", "INTL BUSINESS MACHINES CORP", "STK", "NYSE", Decimal("170.00")),
    Instrument(76792991, "TSLA", "TESLA INC", "STK", "NASDAQ", Decimal("250.00")),
    Instrument(4815747, "NVDA", "NVIDIA CORP", "STK", "NASDAQ", Decimal("120.00")),
    Instrument(3691937, "AMZN", "AMAZON.COM INC", "STK", "NASDAQ", Decimal("185.00")),
    Instrument(756733, "SPY", "SS SPDR S&P 500 ETF TRUST-US", "STK", "ARCA", Decimal("540.00")),
    Instrument(495512563, "ES", "E-mini S&P 500", "FUT", "CME", Decimal("5450.00"), Decimal("0.25")),
    Instrument(12087792, "EUR", "EUR.USD", "CASH", "IDEALPRO", Decimal("1.08500"), Decimal("0.00005")),
)

SMALL_COMPANIES = range(900_000_001, 900_000_231)
"""The contract ids of invented small companies, so that a portfolio fills several pages."""


class Quotes:
    """The prices of all instruments at any moment."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._instruments = {each.conid: each for each in INSTRUMENTS}

    def instrument(self, conid: int) -> Instrument | None:
        """The instrument with that contract id, or None."""
        if conid in SMALL_COMPANIES:
            number = conid - SMALL_COMPANIES.start + 1
            price = Decimal(5 + number % 90)
            return Instrument(conid, f"SIM{number:03}", f"SIMULATED COMPANY {number}", "STK", "NYSE", price)
        return self._instruments.get(conid)

    def find_by_symbol(self, symbol: str) -> list[Instrument]:
        """The instruments with that symbol; if there are none, those whose name contains it."""
        text = symbol.strip().upper()
        exact = [each for each in INSTRUMENTS if each.symbol == text]
        return exact or [each for each in INSTRUMENTS if text and text in each.name.upper()]

    def last_price(self, conid: int, now: float) -> Decimal:
        """The last price: a slow wave of one per cent and a fast small one on it, rounded to the tick."""
        instrument = self.instrument(conid)
        if instrument is None:
            return Decimal(0)
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

    def _tick(self, conid: int) -> Decimal:
        instrument = self.instrument(conid)
        return instrument.tick if instrument else CENT
