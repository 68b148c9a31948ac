"""The contracts of the market, with what IBKR says of each. Pure.

A few well-known contracts have their real ids. The ids of the Swiss stock, the option, the bond and the small companies
are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

CENT, ONE = Decimal("0.01"), Decimal(1)
STOCK, OPTION, FUTURE, BOND, CURRENCY = "STK", "OPT", "FUT", "BOND", "CASH"
RIGHTS = {"C": "Call", "P": "Put"}


@dataclass(frozen=True)
class Sector:
    """IBKR's three levels of an industry."""

    sector: str
    group: str
    sector_group: str


COMPUTERS = Sector("Technology", "Computers", "Computer Services")
SOFTWARE = Sector("Technology", "Software", "Applications Software")
CHIPS = Sector("Technology", "Semiconductors", "Semiconductor Compo-Fabless")
INTERNET = Sector("Communications", "Internet", "E-Commerce/Products")
CARS = Sector("Consumer, Cyclical", "Auto Manufacturers", "Auto-Cars/Light Trucks")
MACHINES = Sector("Industrial", "Machinery-Diversified", "Machinery-General Indust")
FOOD = Sector("Consumer, Non-cyclical", "Food", "Food-Misc/Diversified")


@dataclass(frozen=True)
class Instrument:
    """One contract. `price` is its close of yesterday; its price moves around that."""

    conid: int
    symbol: str
    name: str
    kind: str
    exchange: str
    price: Decimal
    tick: Decimal = CENT
    currency: str = "USD"
    multiplier: Decimal = ONE
    """Value of one unit at a price of 1. Bonds are priced in per cent; one unit of a bond is 1,000 of nominal value."""
    sector: Sector | None = None
    country: str = "US"
    expiry: str = ""
    """The last trading day as YYYYMMDD; empty if there is none."""
    strike: Decimal | None = None
    right: str = ""
    """C or P; empty if it is no option."""
    underlying_conid: int = 0

    @property
    def is_derivative(self) -> bool:
        """Whether IBKR wants a search for the underlying first."""
        return self.kind in (FUTURE, OPTION)

    @property
    def shown_multiplier(self) -> Decimal:
        """The multiplier as IBKR shows it: 0 for what has none."""
        return self.multiplier if self.is_derivative else Decimal(0)

    @property
    def description(self) -> str:
        """The contract as a position names it, such as `SPY    JAN2025 440 C [SPY   250117C00440000 100]`."""
        if self.kind == OPTION and self.strike is not None:
            code = f"{self.symbol:<6}{self.expiry[2:]}{self.right}{int(self.strike * 1000):08} {self.multiplier}"
            return f"{self.symbol:<6} {self.month} {self.strike} {self.right} [{code}]"
        return f"{self.symbol:<6} {self.month}" if self.kind == FUTURE else self.symbol

    @property
    def month(self) -> str:
        """The month of the last trading day, such as JAN2025."""
        return f"{date.fromisoformat(self.expiry):%b%Y}".upper() if self.expiry else ""

    @property
    def full_name(self) -> str:
        """The contract for people, such as `SPY Jan17'25 440 Call`."""
        if not self.expiry:
            return self.name if self.kind == BOND else self.symbol
        day = f"{date.fromisoformat(self.expiry):%b%d'%y}"
        return f"{self.symbol} {day}" + (f" {self.strike} {RIGHTS[self.right]}" if self.strike is not None else "")


EXPIRY = "20271217"

INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(265598, "AAPL", "APPLE INC", STOCK, "NASDAQ", Decimal("190.00"), sector=COMPUTERS),
    Instrument(272093, "MSFT", "MICROSOFT CORP", STOCK, "NASDAQ", Decimal("420.00"), sector=SOFTWARE),
    Instrument(8314, "IBM", "INTL BUSINESS MACHINES CORP", STOCK, "NYSE", Decimal("170.00"), sector=COMPUTERS),
    Instrument(76792991, "TSLA", "TESLA INC", STOCK, "NASDAQ", Decimal("250.00"), sector=CARS),
    Instrument(4815747, "NVDA", "NVIDIA CORP", STOCK, "NASDAQ", Decimal("120.00"), sector=CHIPS),
    Instrument(3691937, "AMZN", "AMAZON.COM INC", STOCK, "NASDAQ", Decimal("185.00"), sector=INTERNET),
    Instrument(756733, "SPY", "SS SPDR S&P 500 ETF TRUST-US", STOCK, "ARCA", Decimal("540.00")),
    Instrument(
        495512563, "ES", "E-mini S&P 500", FUTURE, "CME", Decimal("5450.00"), Decimal("0.25"), multiplier=Decimal(50),
        expiry=EXPIRY, underlying_conid=11004968,
    ),
    Instrument(12087792, "EUR", "EUR.USD", CURRENCY, "IDEALPRO", Decimal("1.08500"), Decimal("0.00005")),
    Instrument(12087820, "USD", "USD.CHF", CURRENCY, "IDEALPRO", Decimal("0.88500"), Decimal("0.00005"), "CHF"),
    Instrument(
        14204, "SAP", "SAP SE", STOCK, "IBIS", Decimal("178.40"), Decimal("0.02"), "EUR", sector=SOFTWARE, country="DE"
    ),
    Instrument(
        12334114, "NESN", "NESTLE SA-REG", STOCK, "EBS", Decimal("92.34"), Decimal("0.02"), "CHF", sector=FOOD,
        country="CH",
    ),
    Instrument(
        703281945, "AAPL", "APPLE INC", OPTION, "AMEX", Decimal("21.40"), Decimal("0.05"), multiplier=Decimal(100),
        expiry=EXPIRY, strike=Decimal(200), right="C", underlying_conid=265598,
    ),
    Instrument(
        598720116, "US-T", "US TREASURY 4 1/8 11/15/32", BOND, "SMART", Decimal("97.20"), multiplier=Decimal(10),
        sector=Sector("Government", "Sovereign", "Sovereign"),
    ),
)  # fmt: skip

SMALL_COMPANIES = range(900_000_001, 900_000_991)
"""The contract ids of invented small companies, so that a portfolio can fill several pages."""

PAIRED_CURRENCIES = tuple(each for each in INSTRUMENTS if each.kind == CURRENCY)

_BY_CONID = {each.conid: each for each in INSTRUMENTS}


def find_instrument(conid: int) -> Instrument | None:
    """The instrument with that contract id, or None."""
    if conid in SMALL_COMPANIES:
        number = conid - SMALL_COMPANIES.start + 1
        price = Decimal(5 + number % 90)
        return Instrument(
            conid, f"SIM{number:03}", f"SIMULATED COMPANY {number}", STOCK, "NYSE", price, sector=MACHINES
        )
    return _BY_CONID.get(conid)


def find_by_symbol(symbol: str) -> list[Instrument]:
    """The instruments with that symbol; if there are none, those whose name contains it. Options are not among them."""
    text, listed = symbol.strip().upper(), [each for each in INSTRUMENTS if each.kind != OPTION]
    exact = [each for each in listed if each.symbol == text]
    return exact or [each for each in listed if text and text in each.name.upper()]


def derivatives_of(conid: int) -> list[Instrument]:
    """The options and futures on a contract."""
    return [each for each in INSTRUMENTS if each.underlying_conid == conid]
