"""What the accounts hold when the market opens for the first time. Pure.

The first account holds ten positions in five asset classes and three currencies, the others two stocks. More positions
of the first account are stocks of invented small companies.
"""

from __future__ import annotations

from decimal import Decimal

from ibkr_bridge.sim.market.instruments import SMALL_COMPANIES, find_instrument
from ibkr_bridge.sim.market.lots import Holdings, Lot, to_cents

DEFAULT_POSITIONS = 10

FIRST_ACCOUNT: tuple[tuple[int, str, str], ...] = (  # contract id, size, average price with commissions
    (265598, "100", "178.42"),  # AAPL
    (272093, "40", "401.15"),  # MSFT
    (8314, "60", "176.90"),  # IBM
    (4815747, "150", "109.36"),  # NVDA
    (756733, "50", "521.74"),  # SPY
    (14204, "80", "168.95"),  # SAP in euros
    (12334114, "120", "97.61"),  # Nestlé in Swiss francs
    (495512563, "1", "5417.50"),  # ES
    (703281945, "5", "19.85"),  # a call on AAPL
    (598720116, "20", "96.10"),  # a bond of the United States
)
OTHER_ACCOUNTS: tuple[tuple[int, str, str], ...] = (
    (76792991, "100", "243.18"),  # TSLA
    (4815747, "100", "113.05"),  # NVDA
)
FIRST_CASH = {"USD": "612480.35", "CHF": "8120.45", "EUR": "24350.80"}
OTHER_CASH = {"USD": "250000.00"}
SMALL_SIZE = Decimal(10)
MAX_POSITIONS = len(FIRST_ACCOUNT) + len(SMALL_COMPANIES)


def opening_holdings(*, is_first: bool, positions: int = DEFAULT_POSITIONS) -> Holdings:
    """What an account holds at the start.

    Args:
        is_first: whether it is the first of the accounts.
        positions: how many positions the first account has, `MAX_POSITIONS` at most; the others always have two.
    """
    rows, cash = (FIRST_ACCOUNT[:positions], FIRST_CASH) if is_first else (OTHER_ACCOUNTS, OTHER_CASH)
    lots = {conid: _lot(conid, Decimal(size), Decimal(price)) for conid, size, price in rows}
    for conid in SMALL_COMPANIES[: max(positions - len(rows), 0)] if is_first else ():
        lots[conid] = _small_lot(conid)
    return Holdings({currency: Decimal(amount) for currency, amount in cash.items()}, lots)


def _lot(conid: int, size: Decimal, average_price: Decimal) -> Lot:
    instrument = find_instrument(conid)
    if instrument is None:
        raise LookupError(conid)
    return Lot(size, to_cents(size * average_price * instrument.multiplier))


def _small_lot(conid: int) -> Lot:
    """Ten shares, bought up to four per cent below or above their price."""
    instrument = find_instrument(conid)
    if instrument is None:
        raise LookupError(conid)
    return _lot(conid, SMALL_SIZE, instrument.price * (96 + conid % 9) / 100)
