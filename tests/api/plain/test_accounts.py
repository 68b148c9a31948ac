"""Accounts, balances, positions and trades of the plain API."""

from __future__ import annotations

import re

import msgspec
import pytest

from ibkr_bridge.models.accounts import Account, AccountList, Balance, PositionList, TradeList
from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, Placement

FIRST, SECOND = "DU1234567", "DU7654321"
DECIMAL = re.compile(r"-?\d+(\.\d{1,6})?")


async def test_the_accounts_of_the_login_are_listed(harness: Harness) -> None:
    """With their currency, and whether they are paper accounts."""
    listed = msgspec.json.decode((await harness.get("/accounts")).body, type=AccountList)

    assert [(entry.id, entry.currency, entry.kind.value) for entry in listed.accounts] == [
        (FIRST, "USD", "paper"),
        (SECOND, "USD", "paper"),
    ]
    assert listed.as_of.utcoffset() is not None


async def test_an_account_has_its_balances(harness: Harness) -> None:
    """All of them are decimals as text."""
    reply = await harness.get(f"/accounts/{SECOND}")

    account = msgspec.json.decode(reply.body, type=Account)
    assert account.net_liquidation is not None
    assert account.cash is not None
    assert account.net_liquidation > account.cash > 0
    assert account.cash_by_currency[0].currency == "USD"
    assert all(
        DECIMAL.fullmatch(value) for name, value in reply.json.items() if name.endswith(("pnl", "cash", "liquidation"))
    )


async def test_the_profit_of_the_day_is_unknown_without_the_brokerage_session(harness: Harness, sim: Simulator) -> None:
    """The balances need only the login."""
    sim.faults.add("status", path="/iserver/account/pnl", status=503)

    account = (await harness.get(f"/accounts/{SECOND}")).json

    assert (account["day_pnl"], account["stale"]) == (None, True)
    assert account["net_liquidation"] is not None


@pytest.mark.parametrize("path", ["", "/positions", "/trades"])
@pytest.mark.parametrize("account", ["DU9999999", "x", "All"])
async def test_an_account_that_the_login_does_not_have_is_not_found(
    harness: Harness, sim: Simulator, account: str, path: str
) -> None:
    """IBKR is not asked about it."""
    reply = await harness.get(f"/accounts/{account}{path}")

    assert (reply.status, reply.code) == (404, "account_not_found")
    assert not [call for call in sim.calls() if account in call.target.split("/")]


async def test_the_balance_of_a_named_account_is_a_few_figures(harness: Harness) -> None:
    """As a reader of balances wants them."""
    balance = msgspec.json.decode((await harness.get(f"/account/balance?account={SECOND}")).body, type=Balance)

    assert (balance.account, balance.currency, balance.balance) == (SECOND, "USD", balance.net_liquidation)


async def test_the_balance_needs_a_name_if_there_are_several_accounts(harness: Harness) -> None:
    """The bridge does not guess one."""
    reply = await harness.get("/account/balance")

    assert (reply.status, reply.code, reply.json["field"]) == (400, "bad_request", "account")


async def test_all_pages_of_positions_come_in_one_answer(harness: Harness) -> None:
    """And those of all accounts together."""
    one = msgspec.json.decode((await harness.get(f"/accounts/{FIRST}/positions")).body, type=PositionList)
    other = msgspec.json.decode((await harness.get(f"/accounts/{SECOND}/positions")).body, type=PositionList)
    every = msgspec.json.decode((await harness.get("/positions")).body, type=PositionList)

    assert len(one.positions) + len(other.positions) == len(every.positions)
    assert {position.account for position in every.positions} == {FIRST, SECOND}
    assert all(position.symbol and position.quantity for position in every.positions)


async def test_a_position_is_worth_quantity_times_price_times_multiplier(harness: Harness) -> None:
    """Whatever its class."""
    listed = msgspec.json.decode((await harness.get("/positions")).body, type=PositionList)

    for position in listed.positions:
        assert position.price is not None
        assert position.value is not None
        worth = position.quantity * position.price * position.multiplier
        # IBKR quotes a bond in per cent of a face value that the row does not name.
        assert position.asset_class is AssetClass.BOND or abs(position.value - worth) < 1


async def test_a_trade_is_listed_under_its_account(harness: Harness) -> None:
    """The other account does not have it."""
    order = Placement(extra={"cOID": "traded"})
    await harness.post(order.target, order.body)

    mine = msgspec.json.decode((await harness.get(f"/accounts/{FIRST}/trades")).body, type=TradeList)
    other = (await harness.get(f"/accounts/{SECOND}/trades")).json

    assert [(trade.client_order_id, trade.symbol, trade.side.value) for trade in mine.trades][:1] == [
        ("traded", "AAPL", "buy")
    ]
    assert other["trades"] == []


@pytest.mark.parametrize("days", ["0", "8", "x"])
async def test_wrong_days_are_refused(harness: Harness, days: str) -> None:
    """IBKR has the trades of a week."""
    reply = await harness.get(f"/accounts/{FIRST}/trades?days={days}")

    assert (reply.status, reply.json["field"]) == (400, "days")


async def test_a_login_without_accounts_holds_nothing(harness: Harness, sim: Simulator) -> None:
    """That is no error, neither here nor on a stream."""
    sim.faults.add("status", path="/portfolio/accounts", status=200, body="[]")

    reply = await harness.get("/positions")

    assert (reply.status, reply.json["positions"], reply.json["stale"]) == (200, [], False)
