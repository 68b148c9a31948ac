"""What IBKR charges for a fill: its fixed prices, in the contract's currency. Pure.

The figures are those of IBKR's public price list, fixed pricing, without third-party fees. A minimum applies to an
order, not to each of its parts: a part costs what the order costs up to it, less what the parts before it have cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ibkr_bridge.sim.market.instruments import BOND, CENT, CURRENCY, FUTURE, OPTION, STOCK, Instrument


@dataclass(frozen=True)
class Tariff:
    """Prices of one asset class: for one unit, as a share of the value, and the least and the most for an order."""

    per_unit: Decimal = Decimal(0)
    of_value: Decimal = Decimal(0)
    minimum: Decimal = Decimal(0)
    maximum_of_value: Decimal | None = None


TARIFFS: Mapping[tuple[str, str], Tariff] = {  # by asset class and country
    (STOCK, "US"): Tariff(per_unit=Decimal("0.005"), minimum=Decimal(1), maximum_of_value=Decimal("0.01")),
    (STOCK, "DE"): Tariff(of_value=Decimal("0.0005"), minimum=Decimal(3)),
    (STOCK, "CH"): Tariff(of_value=Decimal("0.0005"), minimum=Decimal(5)),
    (OPTION, "US"): Tariff(per_unit=Decimal("0.65"), minimum=Decimal(1)),
    (FUTURE, "US"): Tariff(per_unit=Decimal("2.25")),
    (BOND, "US"): Tariff(of_value=Decimal("0.00002"), minimum=Decimal(5)),
    (CURRENCY, "US"): Tariff(of_value=Decimal("0.00002"), minimum=Decimal(2)),
}


def order_commission(instrument: Instrument, size: Decimal, value: Decimal) -> Decimal:
    """The commission of an order up to now.

    Args:
        instrument: the order's contract.
        size: the filled size, without a sign.
        value: size times price times multiplier of what has filled.
    """
    tariff = TARIFFS[instrument.kind, instrument.country]
    amount = max(tariff.per_unit * size + tariff.of_value * value, tariff.minimum)
    if tariff.maximum_of_value is not None:
        amount = min(amount, tariff.maximum_of_value * value)
    return amount.quantize(CENT)
