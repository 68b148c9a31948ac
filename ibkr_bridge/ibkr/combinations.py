"""Combinations: several contracts that are traded as one, such as `28812380;;;265598/2,8314/-1`. Pure.

An order's quantity counts whole combinations. Each leg is traded quantity times its ratio, so a combination with the
ratio 500 and the quantity 1 is an order for 500 shares. Legs of the same contract count together, whichever sign or
exchange they have.
"""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal

ONE = Decimal(1)
EXCHANGE = r"(?:@[A-Za-z0-9.]{1,20})?"
CONTRACT = re.compile(rf"\d{{1,12}}{EXCHANGE}", re.ASCII)
COMBINATION = re.compile(rf"\d{{1,12}}{EXCHANGE};;;(?P<legs>[^;]+)", re.ASCII)
LEG = re.compile(rf"(?P<conid>\d{{1,12}}){EXCHANGE}/[+-]?(?P<ratio>\d{{1,9}}(?:\.\d{{1,9}})?){EXCHANGE}", re.ASCII)
COMBINATION_MARKS = (";", "/")
"""What a contract id alone never contains."""


def units_per_quantity(conidex: object) -> Decimal | None:
    """How many units of its most traded contract one unit of a `conidex` is; None if it cannot be read.

    It is 1 for a single contract, and at least 1 for a combination.
    """
    if conidex is None or isinstance(conidex, bool):
        return None
    text = str(conidex).strip()
    if CONTRACT.fullmatch(text):
        return ONE
    combination = COMBINATION.fullmatch(text)
    legs = [LEG.fullmatch(leg.strip()) for leg in combination["legs"].split(",")] if combination else [None]
    ratios: dict[int, Decimal] = defaultdict(Decimal)
    for leg in legs:
        if leg is None:
            return None
        ratios[int(leg["conid"])] += Decimal(leg["ratio"])
    return max(ONE, *ratios.values())
