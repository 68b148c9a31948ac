"""What a symbol stands for."""

from __future__ import annotations

import msgspec
import pytest

from ibkr_bridge.models.instruments import Instrument, InstrumentSearch
from tests.harness import Harness


@pytest.mark.parametrize(
    ("query", "conid", "symbol", "asset_class"),
    [
        ("symbol=AAPL", 265598, "AAPL", "stock"),
        ("symbol=aapl", 265598, "AAPL", "stock"),
        ("symbol=AAPL@NASDAQ", 265598, "AAPL", "stock"),
        ("symbol=ES@CME", 495512563, "ES", "future"),
        ("symbol=ES", 495512563, "ES", "future"),
        ("symbol=EUR.USD", 12087792, "EUR.USD", "currency"),
        ("symbol=SPY&class=etf", 756733, "SPY", "stock"),
    ],
)
async def test_a_symbol_stands_for_one_instrument(
    harness: Harness, query: str, conid: int, symbol: str, asset_class: str
) -> None:
    """With or without its exchange and its class."""
    reply = await harness.get(f"/instruments?{query}")

    found = msgspec.json.decode(reply.body, type=InstrumentSearch)
    assert (found.instrument.conid, found.instrument.symbol) == (conid, symbol)
    assert found.instrument.asset_class.value in (asset_class, "etf")
    assert conid in [candidate.conid for candidate in found.candidates]


@pytest.mark.parametrize("query", ["symbol=NOPE", "symbol=AAPL@NYSE", "symbol=AAPL&class=bond", "symbol=ES@EUREX"])
async def test_an_unknown_symbol_is_not_found(harness: Harness, query: str) -> None:
    """IBKR answers some of these with 500."""
    reply = await harness.get(f"/instruments?{query}")

    assert (reply.status, reply.code, reply.json["field"]) == (404, "instrument_not_found", "symbol")


@pytest.mark.parametrize("query", ["", "symbol=", "symbol=%3Cscript%3E", "symbol=A@", "symbol=A&symbol=B"])
async def test_what_is_no_symbol_is_refused(harness: Harness, query: str) -> None:
    """Nothing is sent to IBKR."""
    reply = await harness.get(f"/instruments?{query}")

    assert (reply.status, reply.code, reply.json["field"]) == (400, "bad_request", "symbol")


async def test_an_unknown_class_is_refused_with_the_known_ones(harness: Harness) -> None:
    """A typing error would otherwise find nothing."""
    reply = await harness.get("/instruments?symbol=AAPL&class=stonk")

    assert (reply.status, reply.json["field"]) == (400, "class")
    assert "stock" in reply.json["hint"]


async def test_an_instrument_is_found_by_its_number(harness: Harness) -> None:
    """An unknown number is 404, and what is no number 400."""
    found = msgspec.json.decode((await harness.get("/instruments/265598")).body, type=Instrument)
    unknown, wrong = await harness.get("/instruments/999"), await harness.get("/instruments/x")

    assert (found.symbol, found.currency, found.exchange) == ("AAPL", "USD", "NASDAQ")
    assert [(each.status, each.code) for each in (unknown, wrong)] == [
        (404, "instrument_not_found"),
        (400, "bad_request"),
    ]
