"""IBKR's commissions."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.sim.market.commissions import TARIFFS, order_commission
from ibkr_bridge.sim.market.instruments import INSTRUMENTS, find_instrument

AAPL, SAP, ES, OPTION, PAIR = 265598, 14204, 495512563, 703281945, 12087792


@pytest.mark.parametrize(
    ("conid", "size", "value", "expected"),
    [
        (AAPL, 1, "190.00", "1.00"),  # the minimum
        (AAPL, 1000, "190000.00", "5.00"),
        (AAPL, 1, "5.00", "0.05"),  # one per cent at most
        (SAP, 100, "17840.00", "8.92"),
        (SAP, 1, "178.40", "3.00"),
        (ES, 2, "545000.00", "4.50"),
        (OPTION, 5, "10700.00", "3.25"),
        (PAIR, 1000, "1085.00", "2.00"),
    ],
)
def test_each_class_has_its_own_price(conid: int, size: int, value: str, expected: str) -> None:
    """By unit or by value, with a minimum for the order."""
    instrument = find_instrument(conid)

    assert instrument is not None
    assert order_commission(instrument, Decimal(size), Decimal(value)) == Decimal(expected)


def test_every_contract_has_a_price() -> None:
    """An order in any of them can fill."""
    assert {(each.kind, each.country) for each in INSTRUMENTS} <= set(TARIFFS)
