"""The answer of `whatif`: amount, commission, and the account before and after the order."""

from __future__ import annotations

from typing import Any

from tests.sim.wire import Wire

API = "/v1/api/iserver"
PATH = f"{API}/account/DU1234567/orders/whatif"
AAPL, OPTION = 265598, 703281945


async def preview(wire: Wire, **members: Any) -> Any:
    """The preview of a limit order."""
    ticket = {"conid": AAPL, "orderType": "LMT", "side": "BUY", "quantity": 10, "tif": "DAY", "price": 190} | members
    return (await wire.call("POST", PATH, {"orders": [ticket]})).json()


async def test_a_preview_shows_amount_and_position(wire: Wire) -> None:
    """Of the account as it is."""
    shown = await preview(wire)

    assert shown["amount"] == {"amount": "1,900.00 USD", "commission": "1 USD", "total": "1,901.00 USD"}
    assert shown["position"] == {"current": "100", "change": "10", "after": "110"}


async def test_an_option_counts_with_its_multiplier(wire: Wire) -> None:
    """Its premium is no equity with loan value."""
    shown = await preview(wire, conid=OPTION, quantity=1, price=20)

    assert shown["amount"]["amount"] == "2,000.00 USD"
    assert shown["equity"]["change"] == "-2,001.00"
    assert shown["initial"]["change"] == "0.00"


async def test_a_preview_shows_the_summary_of_the_account(wire: Wire) -> None:
    """The present figures are those of the summary."""
    shown = await preview(wire)
    summary = (await wire.call("GET", f"{API}/account/DU1234567/summary")).json()

    assert shown["equity"]["current"] == f"{summary['equityWithLoanValue']:,.2f}"
    assert shown["initial"]["current"] == f"{summary['initialMargin']:,.2f}"


async def test_a_preview_of_an_order_beyond_the_funds_has_an_error(wire: Wire) -> None:
    """An order that frees margin is accepted, whatever it is worth."""
    shown, sold = await preview(wire, quantity=100_000), await preview(wire, side="SELL", quantity=100)

    assert shown["error"].startswith("YOUR ORDER IS NOT ACCEPTED")
    assert sold["error"] is None
