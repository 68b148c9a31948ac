"""Symbols, and the instruments that they stand for."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.translation.instruments import (
    SymbolQuery,
    choose,
    choose_stock,
    parse_symbol,
    read_futures,
    read_instruments,
    read_pairs,
    read_search,
    read_stocks,
)
from tests.translation import shown

STOCKS = {
    "AAPL": [
        {
            "name": "APPLE INC",
            "assetClass": "STK",
            "contracts": [
                {"conid": 265598, "exchange": "NASDAQ", "isUS": True},
                {"conid": 38708077, "exchange": "MEXI", "isUS": False},
            ],
        },
        {"name": "LS 1X AAPL", "assetClass": "STK", "contracts": [{"conid": 493546048, "exchange": "LSEETF"}]},
    ]
}
FUTURES = {
    "ES": [
        {"symbol": "ES", "conid": 3, "expirationDate": 20270319},
        {"symbol": "ES", "conid": 1, "expirationDate": 20260918},
        {"symbol": "ES", "conid": 2, "expirationDate": 20261218},
    ]
}
TODAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("aapl", SymbolQuery("AAPL")),
        (" ES@cme ", SymbolQuery("ES", "CME")),
        ("BRK B", SymbolQuery("BRK B")),
        ("EUR.USD", SymbolQuery("EUR.USD")),
    ],
)
def test_a_symbol_may_name_its_exchange(text: str, query: SymbolQuery) -> None:
    """In any case."""
    assert parse_symbol(text) == query


@pytest.mark.parametrize("text", ["", "@", "A@", "@NYSE", "A@B@C", "a" * 40, "<b>", "A\nB", "ü", "A,B", "A&B"])
def test_what_is_no_symbol_is_none(text: str) -> None:
    """It could change the request to IBKR, or means nothing."""
    assert parse_symbol(text) is None


def test_the_listing_in_the_united_states_is_preferred() -> None:
    """Nobody who writes AAPL means Mexico; who does writes AAPL@MEXI."""
    query = SymbolQuery("AAPL")
    mexican = SymbolQuery("AAPL", "MEXI")

    assert [each.conid for each in choose_stock(read_stocks(STOCKS, query), query)] == [265598]
    assert [each.conid for each in choose_stock(read_stocks(STOCKS, mexican), mexican)] == [38708077]


def test_without_a_listing_in_the_united_states_all_remain() -> None:
    """The caller must choose."""
    query = SymbolQuery("X")
    contracts = [{"conid": 1, "exchange": "IBIS"}, {"conid": 2, "exchange": "LSE"}]

    found = choose_stock(read_stocks({"X": [{"name": "X", "assetClass": "STK", "contracts": contracts}]}, query), query)

    assert len(choose(found, query, TODAY)) == 2


def test_of_several_expiries_the_next_is_meant() -> None:
    """Those that have expired are not."""
    query = SymbolQuery("ES")

    assert [each.conid for each in choose(read_futures(FUTURES, query), query, TODAY)] == [2]


def test_of_two_sizes_of_the_next_expiry_neither_is_chosen() -> None:
    """One is worth five times the other, and nobody has said which one is meant."""
    query = SymbolQuery("DAX")
    rows = [{"symbol": "DAX", "conid": number, "expirationDate": day} for number, day in ((1, 20260619), (2, 20260619))]
    later = {"symbol": "DAX", "conid": 3, "expirationDate": 20261218}

    found = choose(read_futures({"DAX": [later, *rows]}, query), query, date(2026, 6, 1))

    assert [each.conid for each in found] == [1, 2]


def test_a_class_and_an_exchange_narrow_the_choice() -> None:
    """An ETF is a stock at IBKR."""
    rows = [
        {"conid": "1", "symbol": "SPY", "description": "ARCA", "sections": [{"secType": "STK"}]},
        {"conid": "2", "symbol": "SPY", "description": "CBOE", "sections": [{"secType": "IND"}]},
        {"conid": "3", "symbol": "SPYX", "description": "ARCA", "sections": [{"secType": "STK"}]},
    ]
    query = SymbolQuery("SPY", asset_class=AssetClass.ETF)

    found = read_search(rows, query)

    assert [each.conid for each in found] == [1, 2]
    assert [each.conid for each in choose(found, query, TODAY)] == [1]
    assert [each.conid for each in choose(found, SymbolQuery("SPY", "CBOE"), TODAY)] == [2]


@pytest.mark.parametrize("symbol", ["EUR.USD", "EUR/USD"])
def test_a_currency_pair_is_found_in_either_spelling(symbol: str) -> None:
    """IBKR lists it under both currencies."""
    row = {"symbol": "EUR.USD", "conid": 12087792, "ccyPair": "EUR"}

    (found,) = read_pairs({"USD": [row], "EUR": [row]}, SymbolQuery(symbol))

    assert (found.conid, found.symbol) == (12087792, "EUR.USD")


def test_a_definition_is_an_instrument() -> None:
    """A pair has the name that everybody writes."""
    rows = [
        {"conid": 1, "ticker": "ES", "assetClass": "FUT", "multiplier": 50, "currency": "USD", "expiry": "20261218"},
        {"conid": 2, "ticker": "EUR", "assetClass": "CASH", "currency": "USD", "allExchanges": "IDEALPRO"},
        {"conid": 3},
    ]

    future, pair = read_instruments({"secdef": rows})

    assert shown(future.multiplier, future.expiry) == (50, date(2026, 12, 18))
    assert shown(pair.symbol, pair.exchanges, pair.multiplier) == ("EUR.USD", ["IDEALPRO"], 1)


@pytest.mark.parametrize(
    "broken", [None, [], {}, "x", {"AAPL": None}, {"AAPL": [None, {"contracts": 5}]}, {"secdef": 1}]
)
def test_a_broken_answer_finds_nothing(broken: Any) -> None:
    """Never an exception."""
    query = SymbolQuery("AAPL")

    reads = (read_stocks, read_futures, read_search, read_pairs)

    assert [list(read(broken, query)) for read in reads] == [[]] * len(reads)
    assert read_instruments(broken) == []
