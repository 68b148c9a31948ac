"""The /portfolio calls: they need only the login, no brokerage session.

Until /portfolio/accounts was requested once after the login, every response about a single account is empty, without an
error. Positions come in pages, and only an empty page is the last.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.balances import ledger_row, ledger_totals, segment_amounts, summary_texts
from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    Route,
    error_response,
    ok_response,
    unknown_account_response,
)
from ibkr_bridge.sim.market.positions import PAGE_ROWS, allocation, held_positions, position_row, real_time_row
from ibkr_bridge.sim.market.world import World


def accounts(world: World, request: MarketRequest) -> MarketResponse:
    """The accounts that the user may read."""
    login = world.sessions.find_login(request.login, request.now)
    if login:
        login.has_read_portfolio = True
    return ok_response([_meta_row(world, account) for account in world.accounts])


def meta(world: World, request: MarketRequest) -> MarketResponse:
    """One account's properties."""
    return ok_response(_meta_row(world, request.parts["account"]))


def positions(world: World, request: MarketRequest) -> MarketResponse:
    """One page of positions; an empty page after the last one."""
    page = request.parts.get("page", "0")
    if not page.isdigit():
        return error_response(400, "Bad Request: page")
    start = int(page) * PAGE_ROWS
    return ok_response(_position_rows(world, request.parts["account"], request.now)[start : start + PAGE_ROWS])


def real_time_positions(world: World, request: MarketRequest) -> MarketResponse:
    """All positions in one response, with other keys than the pages have."""
    held = held_positions(world.accounting.statement(request.parts["account"], request.now))
    second = world.calendar.epoch_ms(request.now) // 1000
    return ok_response([real_time_row(each, second) for each in held])


def position(world: World, request: MarketRequest) -> MarketResponse:
    """An account's position in one contract."""
    return ok_response(_position_rows(world, request.parts["account"], request.now, request.parts["conid"]))


def position_everywhere(world: World, request: MarketRequest) -> MarketResponse:
    """Each account's position in one contract."""
    conid = request.parts["conid"]
    rows = {account: _position_rows(world, account, request.now, conid) for account in world.accounts}
    return ok_response({account: account_rows for account, account_rows in rows.items() if account_rows})


def summary(world: World, request: MarketRequest) -> MarketResponse:
    """The balances, each with its currency and time."""
    account, now = request.parts["account"], request.now
    statement = world.accounting.statement(account, now)
    amounts, texts = segment_amounts(statement), summary_texts(account, statement)
    rows = {name.lower(): _summary_row(world, now, amount, None) for name, amount in amounts.items()}
    return ok_response(rows | {name.lower(): _summary_row(world, now, Decimal(), text) for name, text in texts.items()})


def ledger(world: World, request: MarketRequest) -> MarketResponse:
    """Cash by currency, and the total under BASE."""
    account, second = request.parts["account"], world.calendar.epoch_ms(request.now) // 1000
    totals = ledger_totals(world.accounting.statement(account, request.now))
    return ok_response({name: ledger_row(account, name, each, second) for name, each in totals.items()})


def account_allocation(world: World, request: MarketRequest) -> MarketResponse:
    """The value of an account by asset class, sector and group."""
    return ok_response(allocation([world.accounting.statement(request.parts["account"], request.now)]))


def joint_allocation(world: World, request: MarketRequest) -> MarketResponse:
    """The value of several accounts together by asset class, sector and group."""
    accounts = [str(each) for each in request.form.get("acctIds") or world.accounts]
    if (unknown := world.find_unknown(accounts)) is not None:
        return unknown_account_response(unknown)
    return ok_response(allocation([world.accounting.statement(account, request.now) for account in accounts]))


def _meta_row(world: World, account: str) -> dict[str, Any]:
    return {
        "id": account,
        "PrepaidCrypto-Z": False,
        "PrepaidCrypto-P": False,
        "brokerageAccess": True,
        "accountId": account,
        "accountVan": account,
        "accountTitle": "Simulated Person",
        "displayName": account,
        "accountAlias": None,
        "accountStatus": 1_577_854_800_000,
        "currency": "USD",
        "type": "INDIVIDUAL" if world.live else "DEMO",
        "tradingType": "STKNOPT",
        "businessType": "INDEPENDENT",
        "category": "",
        "ibEntity": "IBLLC-US",
        "faclient": False,
        "clearingStatus": "O",
        "covestor": False,
        "noClientTrading": False,
        "trackVirtualFXPortfolio": False,
        "acctCustType": "INDIVIDUAL",
        "parent": {"mmc": [], "accountId": "", "isMParent": False, "isMChild": False, "isMultiplex": False},
        "desc": account,
    }


def _position_rows(world: World, account: str, now: float, conid: str | None = None) -> list[dict[str, Any]]:
    """The rows of an account's positions, or only that of one contract."""
    held = held_positions(world.accounting.statement(account, now))
    return [position_row(account, each) for each in held if conid in (None, str(each.instrument.conid))]


def _summary_row(world: World, now: float, amount: Decimal, text: str | None) -> dict[str, Any]:
    time = {"timestamp": world.calendar.epoch_ms(now), "severity": 0}
    return {"amount": amount, "currency": "USD" if text is None else None, "isNull": False, "value": text, **time}


ROUTES = (
    Route("GET", "/portfolio/accounts", accounts),
    Route("GET", "/portfolio/subaccounts", accounts),
    Route("POST", "/portfolio/allocation", joint_allocation, cold={}),
    Route("GET", "/portfolio/positions/{conid}", position_everywhere, cold={}),
    Route("GET", "/portfolio/{account}/meta", meta, cold={}),
    Route("GET", "/portfolio/{account}/summary", summary, cold={}),
    Route("GET", "/portfolio/{account}/ledger", ledger, cold={}),
    Route("GET", "/portfolio/{account}/allocation", account_allocation, cold={}),
    Route("GET", "/portfolio/{account}/positions", positions, cold=[]),
    Route("GET", "/portfolio/{account}/positions/{page}", positions, cold=[]),
    Route("POST", "/portfolio/{account}/positions/invalidate", positions, cold=[]),
    Route("GET", "/portfolio/{account}/position/{conid}", position, cold=[]),
    Route("GET", "/portfolio/{account}/combo/positions", lambda world, request: ok_response([]), cold=[]),
    Route("GET", "/portfolio2/{account}/positions", real_time_positions, cold=[]),
)
