"""Combinations: several contracts that are traded as one, such as `28812380;;;265598/2,8314/-1`. Pure.

An order's quantity counts whole combinations. Each leg is traded quantity times its ratio, so a combination with the
ratio 500 and the quantity 1 is an order for 500 shares.
"""

from __future__ import annotations

import re
from decimal import Decimal

ONE = Decimal(1)
EXCHANGE = r"(?:@[A-Za-z0-9.]{1,20})?"
CONTRACT = re.compile(rf"\d{{1,12}}{EXCHANGE}", re.ASCII)
COMBINATION = re.compile(rf"\d{{1,12}}{EXCHANGE};;;(?P<legs>[^;]+)", re.ASCII)
LEG = re.compile(rf"\d{{1,12}}{EXCHANGE}/[+-]?(?P<ratio>\d{{1,9}}(?:\.\d{{1,9}})?){EXCHANGE}", re.ASCII)
COMBINATION_MARKS = (";", "/")
"""What a contract id alone never contains."""


def units_per_quantity(conidex: object) -> Decimal | None:
    """How many units of its largest leg one unit of a `conidex` is; None if it cannot be read.

    It is 1 for a single contract, and at least 1 for a combination.
    """
    if conidex is None or isinstance(conidex, bool):
        return None
    text = str(conidex).strip()
    if CONTRACT.fullmatch(text):
        return ONE
    combination = COMBINATION.fullmatch(text)
    legs = [LEG.fullmatch(leg.strip()) for leg in combination["legs"].split(",")] if combination else [None]
    ratios = [Decimal(leg["ratio"]) for leg in legs if leg is not None]
    return max(ONE, *ratios) if ratios and len(ratios) == len(legs) else None
