"""Quotes and price history of the plain API."""

from __future__ import annotations

import msgspec
import pytest

from ibkr_bridge.models.quotes import History, QuoteList
from tests.harness import Harness


async def test_quotes_come_in_the_order_in_which_they_were_asked_for(harness: Harness) -> None:
    """Symbols first, then numbers; each instrument once."""
    reply = await harness.get("/quotes?symbols=MSFT,AAPL,ES@CME&conids=8314,265598")

    quotes = msgspec.json.decode(reply.body, type=QuoteList)
    assert [quote.symbol for quote in quotes.quotes] == ["MSFT", "AAPL", "ES", "IBM"]
    assert quotes.problems == []
    for quote in quotes.quotes:
        assert quote.kind.value == "live"
        assert not quote.stale
        assert quote.bid is not None
        assert quote.ask is not None
        assert quote.bid < quote.ask
        assert quote.currency == "USD"


async def test_symbols_without_a_quote_are_named_with_the_reason(harness: Harness) -> None:
    """The quotes of the others come all the same."""
    quotes = msgspec.json.decode((await harness.get("/quotes?symbols=AAPL,NOPE&conids=999")).body, type=QuoteList)

    assert [quote.symbol for quote in quotes.quotes if quote.kind.value != "none"] == ["AAPL"]
    assert [(problem.requested, problem.code) for problem in quotes.problems] == [
        ("NOPE", "instrument_not_found"),
        ("999", "no_quote"),
    ]


async def test_unknown_symbols_alone_are_no_error(harness: Harness) -> None:
    """IBKR is not asked for quotes of nothing."""
    quotes = msgspec.json.decode((await harness.get("/quotes?symbols=NOPE")).body, type=QuoteList)

    assert quotes.quotes == []
    assert len(quotes.problems) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "symbols"),
        ("symbols=", "symbols"),
        ("symbols=%2E%2E", "symbols"),
        ("conids=x", "conids"),
        ("conids=0", "conids"),
        ("conids=" + ",".join(map(str, range(1, 102))), "symbols"),
    ],
)
async def test_what_cannot_be_quoted_is_refused(harness: Harness, query: str, field: str) -> None:
    """With the parameter that is to blame."""
    reply = await harness.get(f"/quotes?{query}")

    assert (reply.status, reply.code, reply.json["field"]) == (400, "bad_request", field)


async def test_a_history_has_bars_with_volumes_in_units(harness: Harness) -> None:
    """IBKR's volumes are to be multiplied by a factor."""
    raw = (await harness.get("/iserver/marketdata/history?conid=265598&period=1d&bar=1h")).json
    history = msgspec.json.decode((await harness.get("/history?symbol=AAPL&period=1d&bar=1h")).body, type=History)

    assert (history.symbol, history.period, history.bar) == ("AAPL", "1d", "1h")
    assert history.time_zone == "America/New_York"
    assert [bar.volume for bar in history.bars[:3]] == [row["v"] * raw["volumeFactor"] for row in raw["data"][:3]]
    assert all(bar.low <= bar.open <= bar.high and bar.low <= bar.close <= bar.high for bar in history.bars)
    assert history.bars == sorted(history.bars, key=lambda bar: bar.start)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("period=1d", 400, "symbol"),
        ("symbol=AAPL&conid=265598", 400, "symbol"),
        ("symbol=AAPL&period=forever", 400, "period"),
        ("symbol=AAPL&bar=1", 400, "bar"),
        ("symbol=AAPL&outside_hours=yes", 400, "outside_hours"),
        ("symbol=NOPE", 404, "symbol"),
        ("conid=999", 404, None),
    ],
)
async def test_a_wrong_request_for_a_history_is_refused(
    harness: Harness, query: str, status: int, field: str | None
) -> None:
    """IBKR answers some of these with 500."""
    reply = await harness.get(f"/history?{query}")

    assert (reply.status, reply.json["field"]) == (status, field)
