"""The pages of the brokerage summary: IBKR's keys, and the balances as text."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.balance_pages import PAGES
from tests.clocks import ManualClock
from tests.sim.wire import Wire

ACCOUNT = "DU1234567"
SUMMARY = f"/v1/api/iserver/account/{ACCOUNT}/summary"


@pytest.mark.parametrize("name", PAGES)
async def test_each_page_has_its_sections(wire: Wire, name: str) -> None:
    """All values are texts."""
    page = (await wire.call("GET", f"{SUMMARY}/{name}")).json()

    by_currency = ["USD", "CHF", "EUR", "Total (in USD)"]
    assert list(page) == (by_currency if name == "market_value" else ["total", "commodities", "securities"])
    assert all(isinstance(value, str) for section in page.values() for value in section.values())


async def test_the_pages_show_the_figures_of_the_summary(wire: Wire) -> None:
    """Rounded to units, with thousands separators and the currency."""
    numbers = (await wire.call("GET", SUMMARY)).json()
    pages = {name: (await wire.call("GET", f"{SUMMARY}/{name}")).json() for name in PAGES}

    def shown(name: str) -> str:
        return f"{numbers[name]:,.0f} USD"

    assert pages["available_funds"]["total"]["current_available"] == shown("availableFunds")
    assert pages["available_funds"]["total"]["buying_power"] == shown("buyingPower")
    assert pages["balances"]["total"]["net_liquidation"] == shown("netLiquidationValue")
    assert pages["balances"]["total"]["cash"] == shown("totalCashValue")
    assert pages["margins"]["total"]["current_maint"] == shown("maintenanceMargin")
    assert pages["market_value"]["Total (in USD)"]["net_liquidation"] + " USD" == shown("netLiquidationValue")


async def test_an_unknown_page_is_refused(wire: Wire) -> None:
    """There are four."""
    assert (await wire.call("GET", f"{SUMMARY}/everything")).status == 400


def test_a_currency_shows_its_rate(sim: Simulator, clock: ManualClock) -> None:
    """With seven digits, as in IBKR's example."""
    statement = sim.market.world.accounting.statement(ACCOUNT, clock.now())

    page = PAGES["market_value"](statement)

    assert float(page["EUR"]["Exchange Rate"]) == float(statement.by_currency[2].rate)
