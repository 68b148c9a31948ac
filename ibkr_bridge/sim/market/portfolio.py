"""The /portfolio calls: they need the login alone, no brokerage session.

Until /portfolio/accounts was asked once after the login, everything about a single account comes back empty, without an
error. Positions come in pages, and only an empty page is the last.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.dispatch import MarketRequest, MarketResponse, Route, error_response, ok_response
from ibkr_bridge.sim.market.holdings import CASH, Holding, holdings, worth
from ibkr_bridge.sim.market.world import World

PAGE = 100


def accounts(world: World, ask: MarketRequest) -> MarketResponse:
    """The accounts one may look at."""
    login = world.sessions.login(ask.login, ask.now)
    if login:
        login.portfolio_seen = True
    return ok_response([_meta(world, account) for account in world.accounts])


def meta(world: World, ask: MarketRequest) -> MarketResponse:
    """One account's nature."""
    return ok_response(_meta(world, ask.parts["account"]))


def positions(world: World, ask: MarketRequest) -> MarketResponse:
    """One page of positions; past the last one, an empty page."""
    page = ask.parts.get("page", "0")
    if not page.isdigit():
        return error_response(400, "Bad Request: page")
    start = int(page) * PAGE
    held = holdings(world, ask.parts["account"], ask.now)[start : start + PAGE]
    return ok_response([_position(world, ask, each) for each in held])


def position(world: World, ask: MarketRequest) -> MarketResponse:
    """What an account holds of one thing."""
    held = holdings(world, ask.parts["account"], ask.now)
    return ok_response([_position(world, ask, each) for each in held if str(each.conid) == ask.parts["conid"]])


def everywhere(world: World, ask: MarketRequest) -> MarketResponse:
    """What each account holds of one thing."""
    found = {}
    for account in world.accounts:
        one = MarketRequest(
            ask.method, ask.path, ask.query, ask.body, ask.login, ask.now, {"account": account, **ask.parts}
        )
        held = holdings(world, account, ask.now)
        found[account] = [_position(world, one, each) for each in held if str(each.conid) == ask.parts["conid"]]
    return ok_response({account: rows for account, rows in found.items() if rows})


def summary(world: World, ask: MarketRequest) -> MarketResponse:
    """The balances, each with its currency and time."""
    value = worth(world, ask.parts["account"], ask.now)
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
    texts = {"accountcode": ask.parts["account"], "accounttype": "INDIVIDUAL"}
    body = {key: _sum(world, ask, amount, None) for key, amount in amounts.items()}
    return ok_response(body | {key: _sum(world, ask, Decimal(), text) for key, text in texts.items()})


def ledger(world: World, ask: MarketRequest) -> MarketResponse:
    """Cash for each currency, and in all under BASE."""
    value = worth(world, ask.parts["account"], ask.now)
    return ok_response({currency: _purse(world, ask, currency, value) for currency in ("USD", "BASE")})


def allocation(world: World, ask: MarketRequest) -> MarketResponse:
    """Where the money is, by kind, sector and group."""
    account = ask.parts.get("account", world.accounts[0])
    long = worth(world, account, ask.now) - CASH
    body = {
        "assetClass": {"long": {"STK": long, "CASH": CASH}, "short": {}},
        "sector": {"long": {"Technology": long}, "short": {}},
        "group": {"long": {"Computers": long}, "short": {}},
    }
    return ok_response(body)


def _meta(world: World, account: str) -> dict[str, Any]:
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


def _position(world: World, ask: MarketRequest, held: Holding) -> dict[str, Any]:
    what, price = world.quotes.instrument(held.conid), world.quotes.last(held.conid, ask.now)
    return {
        "acctId": ask.parts["account"],
        "conid": held.conid,
        "contractDesc": what.symbol if what else "",
        "position": held.size,
        "mktPrice": price,
        "mktValue": price * held.size,
        "currency": what.currency if what else "USD",
        "avgCost": held.cost,
        "avgPrice": held.cost,
        "realizedPnl": 0.0,
        "unrealizedPnl": (price - held.cost) * held.size,
        "exchs": None,
        "expiry": None,
        "putOrCall": None,
        "multiplier": 0.0,
        "strike": "0",
        "exerciseStyle": None,
        "conExchMap": [],
        "assetClass": what.kind if what else "STK",
        "undConid": 0,
        "model": "",
    }


def _sum(world: World, ask: MarketRequest, amount: Decimal, text: str | None) -> dict[str, Any]:
    time = {"timestamp": world.calendar.ms(ask.now), "severity": 0}
    return {"amount": amount, "currency": "USD" if text is None else None, "isNull": False, "value": text, **time}


def _purse(world: World, ask: MarketRequest, currency: str, value: Decimal) -> dict[str, Any]:
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
        "timestamp": world.calendar.ms(ask.now) // 1000,
        "severity": 0,
        "acctcode": ask.parts["account"],
    }


ROUTES = (
    Route("GET", "/portfolio/accounts", accounts),
    Route("GET", "/portfolio/subaccounts", accounts),
    Route("POST", "/portfolio/allocation", allocation, cold={}),
    Route("GET", "/portfolio/positions/{conid}", everywhere, cold={}),
    Route("GET", "/portfolio/{account}/meta", meta, cold={}),
    Route("GET", "/portfolio/{account}/summary", summary, cold={}),
    Route("GET", "/portfolio/{account}/ledger", ledger, cold={}),
    Route("GET", "/portfolio/{account}/allocation", allocation, cold={}),
    Route("GET", "/portfolio/{account}/positions", positions, cold=[]),
    Route("GET", "/portfolio/{account}/positions/{page}", positions, cold=[]),
    Route("POST", "/portfolio/{account}/positions/invalidate", positions, cold=[]),
    Route("GET", "/portfolio/{account}/position/{conid}", position, cold=[]),
    Route("GET", "/portfolio/{account}/combo/positions", lambda world, ask: ok_response([]), cold=[]),
    Route("GET", "/portfolio2/{account}/positions", positions, cold=[]),
)
