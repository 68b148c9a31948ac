"""The /portfolio calls: they need only the login, no brokerage session.

Until /portfolio/accounts was requested once after the login, every response about a single account is empty, without an
error. Positions come in pages, and only an empty page is the last.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.dispatch import MarketRequest, MarketResponse, Route, error_response, ok_response
from ibkr_bridge.sim.market.holdings import CASH, Holding, holdings, net_liquidation
from ibkr_bridge.sim.market.world import World

PAGE_ROWS = 100


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
    page_holdings = holdings(world, request.parts["account"], request.now)[start : start + PAGE_ROWS]
    return ok_response([_position_row(world, request, each) for each in page_holdings])


def position(world: World, request: MarketRequest) -> MarketResponse:
    """An account's position in one contract."""
    account_holdings = holdings(world, request.parts["account"], request.now)
    return ok_response(
        [_position_row(world, request, each) for each in account_holdings if str(each.conid) == request.parts["conid"]]
    )


def position_everywhere(world: World, request: MarketRequest) -> MarketResponse:
    """Each account's position in one contract."""
    rows_by_account = {}
    for account in world.accounts:
        account_request = MarketRequest(
            request.method,
            request.path,
            request.query,
            request.body,
            request.login,
            request.now,
            {"account": account, **request.parts},
        )
        account_holdings = holdings(world, account, request.now)
        rows_by_account[account] = [
            _position_row(world, account_request, each)
            for each in account_holdings
            if str(each.conid) == request.parts["conid"]
        ]
    return ok_response({account: rows for account, rows in rows_by_account.items() if rows})


def summary(world: World, request: MarketRequest) -> MarketResponse:
    """The balances, each with its currency and time."""
    value = net_liquidation(world, request.parts["account"], request.now)
    amounts = {
        "netliquidation": value,
        "totalcashvalue": CASH,
        "availablefunds": CASH,
        "buyingpower": CASH * 4,
        "grosspositionvalue": value - CASH,
        "equitywithloanvalue": value,
        "initmarginreq": Decimal(),
        "maintmarginreq": Decimal(),
    }
    texts = {"accountcode": request.parts["account"], "accounttype": "INDIVIDUAL"}
    body = {key: _summary_row(world, request, amount, None) for key, amount in amounts.items()}
    return ok_response(body | {key: _summary_row(world, request, Decimal(), text) for key, text in texts.items()})


def ledger(world: World, request: MarketRequest) -> MarketResponse:
    """Cash by currency, and the total under BASE."""
    value = net_liquidation(world, request.parts["account"], request.now)
    return ok_response({currency: _ledger_row(world, request, currency, value) for currency in ("USD", "BASE")})


def allocation(world: World, request: MarketRequest) -> MarketResponse:
    """The value of the positions by asset class, sector and group."""
    account = request.parts.get("account", world.accounts[0])
    long = net_liquidation(world, account, request.now) - CASH
    body = {
        "assetClass": {"long": {"STK": long, "CASH": CASH}, "short": {}},
        "sector": {"long": {"Technology": long}, "short": {}},
        "group": {"long": {"Computers": long}, "short": {}},
    }
    return ok_response(body)


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


def _position_row(world: World, request: MarketRequest, holding: Holding) -> dict[str, Any]:
    instrument, price = world.quotes.instrument(holding.conid), world.quotes.last_price(holding.conid, request.now)
    return {
        "acctId": request.parts["account"],
        "conid": holding.conid,
        "contractDesc": instrument.symbol if instrument else "",
        "position": holding.size,
        "mktPrice": price,
        "mktValue": price * holding.size,
        "currency": instrument.currency if instrument else "USD",
        "avgCost": holding.cost,
        "avgPrice": holding.cost,
        "realizedPnl": 0.0,
        "unrealizedPnl": (price - holding.cost) * holding.size,
        "exchs": None,
        "expiry": None,
        "putOrCall": None,
        "multiplier": 0.0,
        "strike": "0",
        "exerciseStyle": None,
        "conExchMap": [],
        "assetClass": instrument.kind if instrument else "STK",
        "undConid": 0,
        "model": "",
    }


def _summary_row(world: World, request: MarketRequest, amount: Decimal, text: str | None) -> dict[str, Any]:
    time = {"timestamp": world.calendar.epoch_ms(request.now), "severity": 0}
    return {"amount": amount, "currency": "USD" if text is None else None, "isNull": False, "value": text, **time}


def _ledger_row(world: World, request: MarketRequest, currency: str, value: Decimal) -> dict[str, Any]:
    return {
        "commoditymarketvalue": 0.0,
        "futuremarketvalue": 0.0,
        "settledcash": CASH,
        "exchangerate": 1,
        "sessionid": 1,
        "cashbalance": CASH,
        "netliquidationvalue": value,
        "stockmarketvalue": value - CASH,
        "unrealizedpnl": 0.0,
        "realizedpnl": 0.0,
        "currency": currency,
        "secondkey": currency,
        "key": "LedgerList",
        "timestamp": world.calendar.epoch_ms(request.now) // 1000,
        "severity": 0,
        "acctcode": request.parts["account"],
    }


ROUTES = (
    Route("GET", "/portfolio/accounts", accounts),
    Route("GET", "/portfolio/subaccounts", accounts),
    Route("POST", "/portfolio/allocation", allocation, cold={}),
    Route("GET", "/portfolio/positions/{conid}", position_everywhere, cold={}),
    Route("GET", "/portfolio/{account}/meta", meta, cold={}),
    Route("GET", "/portfolio/{account}/summary", summary, cold={}),
    Route("GET", "/portfolio/{account}/ledger", ledger, cold={}),
    Route("GET", "/portfolio/{account}/allocation", allocation, cold={}),
    Route("GET", "/portfolio/{account}/positions", positions, cold=[]),
    Route("GET", "/portfolio/{account}/positions/{page}", positions, cold=[]),
    Route("POST", "/portfolio/{account}/positions/invalidate", positions, cold=[]),
    Route("GET", "/portfolio/{account}/position/{conid}", position, cold=[]),
    Route("GET", "/portfolio/{account}/combo/positions", lambda world, request: ok_response([]), cold=[]),
    Route("GET", "/portfolio2/{account}/positions", positions, cold=[]),
)
