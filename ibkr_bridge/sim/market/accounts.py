"""Accounts of the brokerage session: the list that must be requested first, the summary, profit and loss.

Between `authenticated` and `established` these calls return empty bodies instead of errors. An account list read in
that time does not count as read.
"""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.balance_pages import PAGES
from ibkr_bridge.sim.market.balances import brokerage_summary, profit_row
from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.session_calls import SERVER
from ibkr_bridge.sim.market.world import World

NO_ACCOUNTS: dict[str, Any] = {"accounts": [], "acctProps": {}, "aliases": {}, "selectedAccount": ""}


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
    return ok_response(brokerage_summary(world.accounting.statement(request.parts["account"], request.now)))


def summary_page(world: World, request: MarketRequest) -> MarketResponse:
    """One page of the balances as text with a currency, as IBKR writes it for people."""
    page = PAGES.get(request.parts["page"])
    if page is None:
        return error_response(400, "Bad Request")
    return ok_response(page(world.accounting.statement(request.parts["account"], request.now)))


def profit_and_loss(world: World, request: MarketRequest) -> MarketResponse:
    """Profit and loss for each account and model; empty until the accounts have arrived."""
    return ok_response({"upnl": profit_rows(world, request.now)})


def profit_rows(world: World, now: float) -> dict[str, dict[str, Any]]:
    """The rows of profit and loss, by account and model."""
    return {f"{account}.Core": profit_row(world.accounting.statement(account, now)) for account in world.accounts}


ROUTES = (
    Route("GET", "/iserver/accounts", accounts, RequiredSession.BROKERAGE, cold=NO_ACCOUNTS),
    Route("POST", "/iserver/account", select_account, RequiredSession.ACCOUNTS),
    Route("GET", "/iserver/account/pnl/partitioned", profit_and_loss, RequiredSession.BROKERAGE, cold={"upnl": {}}),
    Route("GET", "/iserver/account/{account}/summary", summary, RequiredSession.ACCOUNTS, cold={}),
    Route("GET", "/iserver/account/{account}/summary/{page}", summary_page, RequiredSession.ACCOUNTS, cold={}),
)
