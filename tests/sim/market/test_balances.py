"""Every call and topic about money shows the same figures, and they add up."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.balances import AMOUNTS, COMMODITY_AMOUNTS, segment_amounts
from tests.clocks import ManualClock
from tests.sim.market.stream_client import StreamClient
from tests.sim.wire import Wire

API = "/v1/api"
ACCOUNT = "DU1234567"
AAPL, SAP, ES, PAIR = 265598, 14204, 495512563, 12087792


async def get(wire: Wire, path: str) -> Any:
    """The parsed response of a call, amounts exactly as they were written."""
    return (await wire.call("GET", API + path)).json()


def exact(amount: object) -> Decimal:
    """An amount as it was written."""
    return Decimal(str(amount))


async def send_trades(wire: Wire, sim: Simulator, clock: ManualClock) -> None:
    """A few trades of several classes: long, short, in parts, and in another currency."""
    for conid, side, quantity in (
        (AAPL, "SELL", 30),
        (SAP, "BUY", 900),
        (ES, "SELL", 3),
        (PAIR, "BUY", 20_000),
        (AAPL, "SELL", 500),
    ):
        ticket = {"conid": conid, "orderType": "MKT", "side": side, "quantity": quantity, "tif": "DAY"}
        path = f"{API}/iserver/account/{ACCOUNT}/orders"
        answer = (await wire.call("POST", path, {"orders": [ticket]})).json()
        if "id" in answer[0]:
            await wire.call("POST", f"{API}/iserver/reply/{answer[0]['id']}", {"confirmed": True})
        clock.advance(3)
    sim.market.world.book.fill_orders(clock.now())


async def read_stream(client: StreamClient) -> dict[str, Any]:
    """The first message of each topic about money."""
    client.send("spl+{}", f"ssd+{ACCOUNT}+{{}}", f"sld+{ACCOUNT}+{{}}")
    messages = [message for message in await client.receive_pending() if "hb" not in message]
    profit, summary, ledger = messages
    rows = [{row["key"]: row for row in message["result"]} for message in (summary, ledger)]
    return {"spl": profit["args"][f"{ACCOUNT}.Core"], "ssd": rows[0], "sld": rows[1]}


@pytest.mark.parametrize("traded", [False, True])
async def test_all_surfaces_agree(
    wire: Wire, sim: Simulator, clock: ManualClock, client: StreamClient, traded: bool
) -> None:
    """To the cent, before and after trades."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    if traded:
        await send_trades(wire, sim, clock)
    summary = await get(wire, f"/portfolio/{ACCOUNT}/summary")
    ledger = await get(wire, f"/portfolio/{ACCOUNT}/ledger")
    brokerage = await get(wire, f"/iserver/account/{ACCOUNT}/summary")
    profit = (await get(wire, "/iserver/account/pnl/partitioned"))["upnl"][f"{ACCOUNT}.Core"]
    positions = await get(wire, f"/portfolio/{ACCOUNT}/positions/0")
    allocation = (await get(wire, f"/portfolio/{ACCOUNT}/allocation"))["assetClass"]
    streamed = await read_stream(client)
    base = ledger["BASE"]

    net = {
        exact(amount)
        for amount in (
            *(summary["netliquidation"]["amount"], base["netliquidationvalue"], brokerage["netLiquidationValue"]),
            *(brokerage["balance"], profit["nl"], streamed["spl"]["nl"]),
            streamed["ssd"]["NetLiquidation"]["monetaryValue"],
            streamed["sld"]["LedgerListBASE"]["netLiquidationValue"],
        )
    }
    assert len(net) == 1
    assert {exact(profit[name]) for name in ("uel", "el")} == {exact(brokerage["excessLiquidity"])}
    assert exact(summary["excessliquidity"]["amount"]) == exact(brokerage["excessLiquidity"])
    assert exact(summary["availablefunds"]["amount"]) == exact(brokerage["availableFunds"])
    assert exact(summary["buyingpower"]["amount"]) == 4 * exact(brokerage["availableFunds"])
    assert (
        exact(brokerage["totalCashValue"]) == exact(base["cashbalance"]) == exact(summary["totalcashvalue"]["amount"])
    )
    assert exact(profit["upl"]) == exact(base["unrealizedpnl"]) == exact(streamed["spl"]["upl"])
    assert exact(profit["dpl"]) == net.pop() - exact(summary["previousdayequitywithloanvalue"]["amount"])
    assert exact(profit["nl"]) == exact(base["cashbalance"]) + exact(profit["mv"])
    _assert_currencies_add_up(ledger, positions)
    assert sum(exact(amount) for side in allocation.values() for amount in side.values()) == pytest.approx(
        exact(profit["nl"]), abs=Decimal("0.02")
    )


def _assert_currencies_add_up(ledger: Mapping[str, Any], positions: list[dict[str, Any]]) -> None:
    currencies = [name for name in ledger if name != "BASE"]
    for name in currencies:
        held = [row for row in positions if row["currency"] == name]
        values = sum(exact(row["mktValue"]) for row in held if row["assetClass"] != "FUT")
        row = ledger[name]
        assert exact(row["unrealizedpnl"]) == sum(exact(each["unrealizedPnl"]) for each in held)
        assert exact(row["netliquidationvalue"]) == exact(row["cashbalance"]) + values
    for member in ("cashbalance", "stockmarketvalue", "unrealizedpnl", "realizedpnl"):
        parts = (exact(ledger[name][member]) * exact(ledger[name]["exchangerate"]) for name in currencies)
        assert exact(ledger["BASE"][member]) == sum(part.quantize(Decimal("0.01")) for part in parts)


async def test_a_sale_is_realised_in_its_position_and_its_ledger(
    wire: Wire, sim: Simulator, clock: ManualClock
) -> None:
    """Both show what the trade has brought, less its commission and its average cost."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    await send_trades(wire, sim, clock)
    [first, *_] = await get(wire, "/iserver/account/trades")

    assert (first["side"], first["size"], first["commission"]) == ("S", 30, "1.0")
    realised = exact(first["net_amount"]) - 1 - 30 * Decimal("178.42")
    ledger = await get(wire, f"/portfolio/{ACCOUNT}/ledger")
    [row] = await get(wire, f"/portfolio/{ACCOUNT}/position/{AAPL}")
    sold = [each for each in sim.market.world.book.trades if each.order.conid == AAPL]
    assert sum(each.size for each in sold) == 530
    assert row["position"] == -430
    assert exact(row["realizedPnl"]) > realised
    assert exact(ledger["USD"]["realizedpnl"]) >= exact(row["realizedPnl"])


async def test_the_summary_has_the_currencies_and_their_total(wire: Wire) -> None:
    """The total is that of IBKR's example: `Total (in USD)`."""
    rows = (await get(wire, f"/iserver/account/{ACCOUNT}/summary"))["cashBalances"]

    assert [row["currency"] for row in rows] == ["USD", "CHF", "EUR", "Total (in USD)"]


def test_both_segments_make_the_total(sim: Simulator, clock: ManualClock) -> None:
    """The margin of futures is in the segment of commodities."""
    statement = sim.market.world.accounting.statement(ACCOUNT, clock.now())

    amounts = segment_amounts(statement)

    assert all(amounts[name] == amounts[f"{name}-C"] + amounts[f"{name}-S"] for name in COMMODITY_AMOUNTS)
    assert set(COMMODITY_AMOUNTS) <= set(AMOUNTS)
    assert amounts["InitMarginReq-C"] > 0
