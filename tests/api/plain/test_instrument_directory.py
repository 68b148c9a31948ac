"""Symbols and instruments that were found before."""

from __future__ import annotations

from decimal import Decimal

from ibkr_bridge.api.plain.instrument_directory import MAX_ENTRIES, TTL_S, InstrumentDirectory
from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.translation.instruments import SymbolQuery


def instrument(conid: int) -> Instrument:
    """An instrument with a number."""
    return Instrument(
        *(conid, "X", None, AssetClass.STOCK, None, None, []),
        multiplier=Decimal(1),
        expiry=None,
        strike=None,
        right=None,
    )


def test_what_was_found_is_remembered_for_hours() -> None:
    """Then a future may have expired."""
    now = [100.0]
    directory = InstrumentDirectory(lambda: now[0])
    directory.remember_symbol(SymbolQuery("ES"), 1)
    directory.remember([instrument(1)])

    assert (directory.find(SymbolQuery("ES")), directory.describe([1, 2])) == (1, {1: instrument(1)})
    now[0] += TTL_S
    assert (directory.find(SymbolQuery("ES")), directory.describe([1])) == (None, {})


def test_a_symbol_with_another_exchange_or_class_is_another_symbol() -> None:
    """They may stand for other instruments."""
    directory = InstrumentDirectory()
    directory.remember_symbol(SymbolQuery("ES"), 1)

    assert directory.find(SymbolQuery("ES", "CME")) is None
    assert directory.find(SymbolQuery("ES", asset_class=AssetClass.STOCK)) is None


def test_the_oldest_make_room() -> None:
    """A caller may ask for any number of symbols."""
    directory = InstrumentDirectory()
    for number in range(MAX_ENTRIES + 1):
        directory.remember_symbol(SymbolQuery(f"S{number}"), number + 1)
        directory.remember([instrument(number + 1)])

    assert directory.find(SymbolQuery("S0")) is None
    assert directory.describe([1, 2]) == {2: instrument(2)}
