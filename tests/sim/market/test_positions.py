"""Positions as IBKR writes them."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from tests.clocks import ManualClock
from tests.sim.wire import Wire

API = "/v1/api"
ACCOUNT, OTHER = "DU1234567", "DU7654321"
AAPL, ES, OPTION, NVDA = 265598, 495512563, 703281945, 4815747


@pytest.fixture
async def rows(wire: Wire) -> dict[int, dict[str, Any]]:
    """The rows of the first account by contract id."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    page = (await wire.call("GET", f"{API}/portfolio/{ACCOUNT}/positions/0")).json()
    return {row["conid"]: row for row in page}


async def test_an_option_has_strike_right_and_expiry(rows: dict[int, dict[str, Any]]) -> None:
    """As in IBKR's example: the strike is text, the multiplier a number."""
    row = rows[OPTION]

    assert (row["strike"], row["putOrCall"], row["expiry"], row["multiplier"]) == ("200", "C", "20271217", 100.0)
    assert (row["undConid"], row["undSym"], row["assetClass"]) == (AAPL, "AAPL", "OPT")
    assert row["mktValue"] == pytest.approx(row["mktPrice"] * row["position"] * 100)
    assert row["avgCost"] == pytest.approx(row["avgPrice"] * 100)


async def test_a_stock_has_none_of_them(rows: dict[int, dict[str, Any]]) -> None:
    """IBKR writes null, "0" and 0."""
    row = rows[AAPL]

    assert (row["strike"], row["putOrCall"], row["expiry"], row["multiplier"]) == ("0", None, None, 0.0)
    assert (row["avgCost"], row["avgPrice"]) == (178.42, 178.42)
    assert (row["ticker"], row["sector"], row["isUS"], row["pageSize"]) == ("AAPL", "Technology", True, 100)


async def test_the_open_profit_is_value_less_cost(rows: dict[int, dict[str, Any]]) -> None:
    """For every class; a future shows its notional value."""
    for row in rows.values():
        assert row["unrealizedPnl"] == pytest.approx(row["mktValue"] - row["avgCost"] * row["position"], abs=0.01)
    assert rows[ES]["mktValue"] == pytest.approx(rows[ES]["mktPrice"] * 50)


async def test_the_second_portfolio_has_the_same_figures_under_other_keys(
    wire: Wire, sim: Simulator, rows: dict[int, dict[str, Any]]
) -> None:
    """It has all positions in one response, and contract ids as text."""
    real_time = (await wire.call("GET", f"{API}/portfolio2/{ACCOUNT}/positions")).json()

    keys = {"mktPrice": "marketPrice", "mktValue": "marketValue", "contractDesc": "description"}
    same = ("position", "avgCost", "avgPrice", "unrealizedPnl", "realizedPnl", "currency", "assetClass")
    assert {int(row["conid"]): [row[keys.get(name, name)] for name in (*keys, *same)] for row in real_time} == {
        conid: [row[name] for name in (*keys, *same)] for conid, row in rows.items()
    }
    sim.market.world.accounting.open_accounts(233)
    assert len((await wire.call("GET", f"{API}/portfolio2/{ACCOUNT}/positions")).json()) == 233


async def test_a_position_of_all_accounts_is_listed_by_account(wire: Wire, rows: dict[int, dict[str, Any]]) -> None:
    """Only accounts that hold it are there."""
    both, one = [(await wire.call("GET", f"{API}/portfolio/positions/{each}")).json() for each in (NVDA, AAPL)]

    assert {account: row[0]["position"] for account, row in both.items()} == {ACCOUNT: 150, OTHER: 100}
    assert set(one) == {ACCOUNT}


async def test_a_position_that_was_sold_is_gone(wire: Wire, sim: Simulator, clock: ManualClock) -> None:
    """Its realised profit stays in the ledger."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    ticket = {"conid": AAPL, "orderType": "MKT", "side": "SELL", "quantity": 100, "tif": "DAY"}
    await wire.call("POST", f"{API}/iserver/account/{ACCOUNT}/orders", {"orders": [ticket]})

    page = (await wire.call("GET", f"{API}/portfolio/{ACCOUNT}/positions/0")).json()

    ledger = (await wire.call("GET", f"{API}/portfolio/{ACCOUNT}/ledger")).json()
    assert AAPL not in [row["conid"] for row in page]
    assert len(page) == 9
    assert ledger["USD"]["realizedpnl"] != 0


async def test_the_allocation_of_several_accounts_is_their_sum(wire: Wire, rows: dict[int, dict[str, Any]]) -> None:
    """By class, sector and group."""
    path = f"{API}/portfolio/allocation"
    both = (await wire.call("POST", path, {"acctIds": [ACCOUNT, OTHER]})).json()["assetClass"]["long"]
    single = [
        (await wire.call("GET", f"{API}/portfolio/{each}/allocation")).json()["assetClass"]["long"]
        for each in (ACCOUNT, OTHER)
    ]

    assert both["STK"] == pytest.approx(sum(each["STK"] for each in single))
    assert set(both) == {"STK", "OPT", "BOND", "CASH"}
