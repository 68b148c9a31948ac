"""Contracts as IBKR writes them: options, foreign stocks, futures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.wire import Wire

API = "/v1/api"
AAPL, SAP, ES, OPTION = 265598, 14204, 495512563, 703281945
INFO = f"{API}/iserver/secdef/info?conid={AAPL}&sectype=OPT&month=DEC27"


@pytest.fixture
async def found(wire: Wire) -> Wire:
    """A connection after a search for Apple."""
    await wire.call("GET", f"{API}/iserver/secdef/search?symbol=AAPL")
    return wire


@pytest.mark.parametrize(
    ("query", "conids"),
    [("", [OPTION]), ("&strike=200&right=C", [OPTION]), ("&strike=200&right=P", None), ("&strike=1&right=C", None)],
)
async def test_an_option_is_found_by_strike_and_right(found: Wire, query: str, conids: list[int] | None) -> None:
    """An option that does not exist is a server error."""
    response = await found.call("GET", INFO + query)

    if conids is None:
        assert (response.status, response.json()) == (500, {"error": "no contracts retrieved"})
    else:
        assert [row["conid"] for row in response.json()] == conids


async def test_a_search_of_the_underlying_opens_its_options(found: Wire) -> None:
    """IBKR wants the search before quotes of a derivative."""
    row = (await found.call("GET", f"{API}/iserver/contract/{OPTION}/info")).json()

    assert (row["strike"], row["right"], row["multiplier"], row["underlying_con_id"]) == (200.0, "C", "100", AAPL)
    assert (await found.call("GET", f"{API}/iserver/secdef/info?conid={OPTION}")).status == 200


async def definition(wire: Wire, conid: int) -> Any:
    """One definition."""
    return (await wire.call("GET", f"{API}/trsrv/secdef?conids={conid}")).json()["secdef"][0]


async def test_a_foreign_stock_has_its_own_currency_and_no_options(wire: Wire) -> None:
    """It is not listed in the United States."""
    row = await definition(wire, SAP)
    listed = (await wire.call("GET", f"{API}/trsrv/stocks?symbols=SAP")).json()["SAP"][0]["contracts"][0]

    assert (row["currency"], row["hasOptions"], row["countryCode"]) == ("EUR", False, "DE")
    assert listed == {"conid": SAP, "exchange": "IBIS", "isUS": False}


async def test_a_future_has_its_multiplier_and_last_day(wire: Wire) -> None:
    """It is found by the symbol of its underlying."""
    [row] = (await wire.call("GET", f"{API}/trsrv/futures?symbols=ES")).json()["ES"]

    assert (row["conid"], row["expirationDate"]) == (ES, 20271217)
    assert (await definition(wire, ES))["multiplier"] == 50.0
