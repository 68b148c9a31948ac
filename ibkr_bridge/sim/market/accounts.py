"""Accounts of the brokerage session: the list that must be requested first, the summary, profit and loss.

Between `authenticated` and `established` these calls return empty bodies instead of errors. An account list read in
that time does not count as read.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.holdings import CASH, net_liquidation
from ibkr_bridge.sim.market.session_calls import SERVER
from ibkr_bridge.sim.market.world import World

NO_ACCOUNTS: dict[str, Any] = {"accounts": [], "acctProps": {}, "aliases": {}, "selectedAccount": ""}

SUMMARIES = ("available_funds", "balances", "margins", "market_value")


def accounts(world: World, request: MarketRequest) -> MarketResponse:
    """The accounts that may trade. IBKR requires this call once in every brokerage session."""
    if world.sessions.brokerage:
        world.sessions.brokerage.has_read_accounts = True
    return ok_response(describe_accounts(world))


def describe_accounts(world: World) -> dict[str, Any]:
    """The accounts, their permissions, and the selected one; the stream sends the same when it opens."""
    properties = {"hasChildAccounts": False, "supportsCashQty": True, "supportsFractions": True}
    return {
        "accounts": [*world.groups, *world.accounts],
        "acctProps": dict.fromkeys(world.accounts, properties),
        "aliases": {name: name for name in world.accounts},
        "allowFeatures": {"showGFIS": True, "allowFXConv": True, "snapshotRefreshTimeout": 30, "allowCrypto": False},
        "chartPeriods": {"STK": ["*"], "FUT": ["*"], "CASH": ["*"]},
        "groups": list(world.groups),
        "profiles": [],
        "selectedAccount": world.selected,
        "serverInfo": SERVER,
        "sessionId": "simulated.1",
        "isFT": False,
        "isPaper": not world.live,
    }


def select_account(world: World, request: MarketRequest) -> MarketResponse:
    """Select the account to which later calls apply."""
    account = request.form.get("acctId")
    if account not in world.accounts:
        return error_response(500, "Account not found")
    if account == world.selected:
        return ok_response({"success": "Account already set"})
    world.select(account)
    return ok_response({"set": True, "acctId": account})


def summary(world: World, request: MarketRequest) -> MarketResponse:
    """An account's balances, as numbers."""
    account = request.parts["account"]
    if account not in world.accounts:
        return error_response(400, "Bad Request: invalid account")
    value = net_liquidation(world, account, request.now)
    body = {
        "accountType": "INDIVIDUAL",
        "status": "",
        "balance": value,
        "SMA": CASH,
        "buyingPower": CASH * 4,
        "availableFunds": CASH,
        "excessLiquidity": CASH,
        "netLiquidationValue": value,
        "equityWithLoanValue": value,
        "regTLoan": 0.0,
        "securitiesGVP": value - CASH,
        "totalCashValue": CASH,
        "accruedInterest": 0.0,
        "regTMargin": 0.0,
        "initialMargin": 0.0,
        "maintenanceMargin": 0.0,
        "cashBalances": [{"currency": "USD", "balance": CASH, "settledCash": CASH}],
    }
    return ok_response(body)


def summary_page(world: World, request: MarketRequest) -> MarketResponse:
    """One page of the balances as text with a currency, as IBKR writes it for people."""
    account = request.parts["account"]
    if account not in world.accounts or request.parts["page"] not in SUMMARIES:
        return error_response(400, "Bad Request")
    value = f"{net_liquidation(world, account, request.now):,.0f} USD"
    return ok_response({"total": {"net_liquidation": value, "cash": f"{CASH:,.0f} USD"}, "securities": {"cash": value}})


def profit_and_loss(world: World, request: MarketRequest) -> MarketResponse:
    """Profit and loss for each account and model; empty until the accounts have arrived."""
    return ok_response({"upnl": profit_rows(world, request.now)})


def profit_rows(world: World, now: float) -> dict[str, dict[str, Any]]:
    """The rows of profit and loss, by account and model."""
    rows = {}
    for account in world.accounts:
        value = net_liquidation(world, account, now)
        rows[f"{account}.Core"] = {
            "rowType": 1,
            "dpl": Decimal("12.34"),
            "nl": value,
            "upl": value - CASH,
            "uel": CASH,
            "el": CASH,
            "mv": value - CASH,
        }
    return rows


ROUTES = (
    Route("GET", "/iserver/accounts", accounts, RequiredSession.BROKERAGE, cold=NO_ACCOUNTS),
    Route("POST", "/iserver/account", select_account, RequiredSession.ACCOUNTS),
    Route("GET", "/iserver/account/pnl/partitioned", profit_and_loss, RequiredSession.BROKERAGE, cold={"upnl": {}}),
    Route("GET", "/iserver/account/{account}/summary", summary, RequiredSession.ACCOUNTS, cold={}),
    Route("GET", "/iserver/account/{account}/summary/{page}", summary_page, RequiredSession.ACCOUNTS, cold={}),
)
