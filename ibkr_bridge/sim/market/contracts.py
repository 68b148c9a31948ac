"""Contract search: by symbol, by contract id, chains, currencies, trading hours."""

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
from ibkr_bridge.sim.market.quotes import INSTRUMENTS, Instrument
from ibkr_bridge.sim.market.world import World

MONTHS = "JUL26;SEP26;DEC26"
MAX_CONIDS = 200


def search(world: World, request: MarketRequest) -> MarketResponse:
    """Contracts by symbol or name; required before strikes and info of the same symbol."""
    symbol = str(request.query.get("symbol") or request.form.get("symbol") or "")
    matches = world.quotes.find_by_symbol(symbol)
    if not matches:
        return error_response(500, "No symbol found")
    if world.sessions.brokerage:
        world.sessions.brokerage.searched_conids.update(each.conid for each in matches)
    return ok_response([_search_row(each) for each in matches])


def strikes(world: World, request: MarketRequest) -> MarketResponse:
    """Strikes around the price; empty unless a search has found the contract."""
    instrument = _find_instrument(world, request.query.get("conid", ""))
    if instrument is None or not request.query.get("month"):
        return error_response(400, "Bad Request: conid or month")
    if not world.was_searched(instrument.conid):
        return ok_response({"call": [], "put": []})
    around = [instrument.price + Decimal(5 * step) for step in range(-5, 6)]
    return ok_response({"call": around, "put": around})


def info(world: World, request: MarketRequest) -> MarketResponse:
    """One derivative, or the contract itself; unknown unless a search has found it."""
    instrument = _find_instrument(world, request.query.get("conid", ""))
    if instrument is None or not world.was_searched(instrument.conid):
        return error_response(500, "no contracts retrieved")
    return ok_response([_details_row(instrument)])


def details(world: World, request: MarketRequest) -> MarketResponse:
    """One contract."""
    instrument = _find_instrument(world, request.parts["conid"])
    return error_response(500, "Contract not found") if instrument is None else ok_response(_details_row(instrument))


def details_and_rules(world: World, request: MarketRequest) -> MarketResponse:
    """One contract with its trading rules."""
    instrument = _find_instrument(world, request.parts["conid"])
    return (
        error_response(500, "Contract not found")
        if instrument is None
        else ok_response(_details_row(instrument) | {"rules": _rules_row(instrument)})
    )


def rules(world: World, request: MarketRequest) -> MarketResponse:
    """The order types and sizes that a contract allows."""
    instrument = _find_instrument(world, str(request.form.get("conid", "")))
    return error_response(500, "Contract not found") if instrument is None else ok_response(_rules_row(instrument))


def algos(world: World, request: MarketRequest) -> MarketResponse:
    """Order algorithms; the first response is empty."""
    first = world.is_first_request(f"algos {request.parts['conid']}")
    return ok_response(
        {"algos": [] if first else [{"name": "Adaptive", "id": "Adaptive"}, {"name": "TWAP", "id": "Twap"}]}
    )


def definitions(world: World, request: MarketRequest) -> MarketResponse:
    """Several contracts at once, 200 at most."""
    text = request.query.get("conids") or ",".join(str(each) for each in request.form.get("conids", []))
    conids = [conid for conid in text.split(",") if conid]
    if not conids or len(conids) > MAX_CONIDS:
        return error_response(400, "Bad Request: conids")
    matches = [instrument for conid in conids if (instrument := _find_instrument(world, conid))]
    return ok_response({"secdef": [_definition_row(instrument) for instrument in matches]})


def stocks(world: World, request: MarketRequest) -> MarketResponse:
    """Stocks by symbol."""
    symbols = [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
    if not symbols:
        return error_response(400, "Bad Request: symbols")
    return ok_response(
        {symbol: [_stock_row(each) for each in INSTRUMENTS if _is(each, symbol, "STK")] for symbol in symbols}
    )


def futures(world: World, request: MarketRequest) -> MarketResponse:
    """Futures by the symbol of their underlying."""
    symbols = [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
    matches = {symbol: [_future_row(each) for each in INSTRUMENTS if _is(each, symbol, "FUT")] for symbol in symbols}
    return ok_response({symbol: rows for symbol, rows in matches.items() if rows})


def all_conids(world: World, request: MarketRequest) -> MarketResponse:
    """All contracts listed at an exchange."""
    exchange = request.query.get("exchange", "")
    matches = [each for each in INSTRUMENTS if each.exchange == exchange]
    return ok_response([{"ticker": each.symbol, "conid": each.conid, "exchange": exchange} for each in matches])


def schedule(world: World, request: MarketRequest) -> MarketResponse:
    """The trading hours."""
    hours = [{"openingTime": "0930", "closingTime": "1600", "prop": "LIQUID"}]
    day = {
        "tradingScheduleDate": world.calendar.utc_at(request.now).strftime("%Y%m%d"),
        "sessions": hours,
        "tradingtimes": [],
    }
    return ok_response(
        [{"id": "p1", "tradeVenueId": "v1", "exchange": "NASDAQ", "timezone": "America/New_York", "schedules": [day]}]
    )


def pairs(world: World, request: MarketRequest) -> MarketResponse:
    """Currency pairs of one currency."""
    currency = request.query.get("currency", "")
    eur = {"symbol": "EUR.USD", "conid": 12087792, "ccyPair": "EUR"}
    return ok_response({currency: [eur]} if currency in ("USD", "EUR") else {})


def exchange_rate(world: World, request: MarketRequest) -> MarketResponse:
    """The exchange rate of two currencies."""
    source, target = request.query.get("source"), request.query.get("target")
    dollars = {"USD": Decimal(1), "EUR": world.quotes.last_price(12087792, request.now)}
    if source not in dollars or target not in dollars:
        return error_response(500, "Invalid currency")
    return ok_response({"rate": round(dollars[source] / dollars[target], 6)})


def _find_instrument(world: World, conid: str) -> Instrument | None:
    return world.quotes.instrument(int(conid)) if conid.isdecimal() else None


def _is(instrument: Instrument, symbol: str, kind: str) -> bool:
    return (instrument.symbol, instrument.kind) == (symbol, kind)


def _search_row(instrument: Instrument) -> dict[str, Any]:
    sections: list[dict[str, str]] = [{"secType": instrument.kind}]
    if instrument.kind == "STK":
        sections.append({"secType": "OPT", "months": MONTHS, "exchange": "SMART;CBOE"})
    return {
        "conid": str(instrument.conid),
        "companyHeader": f"{instrument.name} - {instrument.exchange}",
        "companyName": instrument.name,
        "symbol": instrument.symbol,
        "description": instrument.exchange,
        "restricted": None,
        "sections": sections,
    }


def _details_row(instrument: Instrument) -> dict[str, Any]:
    return {
        "con_id": instrument.conid,
        "conid": instrument.conid,
        "symbol": instrument.symbol,
        "ticker": instrument.symbol,
        "company_name": instrument.name,
        "instrument_type": instrument.kind,
        "secType": instrument.kind,
        "exchange": instrument.exchange,
        "valid_exchanges": f"SMART,{instrument.exchange}",
        "currency": instrument.currency,
        "multiplier": "50" if instrument.kind == "FUT" else None,
        "smart_available": True,
        "local_symbol": instrument.symbol,
        "underlying_con_id": 0,
        "r_t_h": True,
        "trading_class": instrument.symbol,
    }


def _rules_row(instrument: Instrument) -> dict[str, Any]:
    kinds = ["limit", "market", "stop", "stop_limit"]
    return {
        "algoEligible": True,
        "canTradeAcctIds": [],
        "orderTypes": kinds,
        "orderTypesOutside": ["limit"],
        "defaultSize": 100,
        "sizeIncrement": 1,
        "tifTypes": ["DAY/o,a", "GTC/o,a"],
        "limitPrice": instrument.price,
        "increment": instrument.tick,
        "incrementDigits": -int(instrument.tick.as_tuple().exponent),
        "forceOrderPreview": False,
        "preview": True,
    }


def _definition_row(instrument: Instrument) -> dict[str, Any]:
    return {
        "conid": instrument.conid,
        "currency": instrument.currency,
        "name": instrument.name,
        "assetClass": instrument.kind,
        "ticker": instrument.symbol,
        "listingExchange": instrument.exchange,
        "multiplier": 50.0 if instrument.kind == "FUT" else 0.0,
        "incrementRules": [{"lowerEdge": 0.0, "increment": instrument.tick}],
        "allExchanges": f"SMART,{instrument.exchange}",
        "hasOptions": instrument.kind == "STK",
        "strike": "0",
    }


def _stock_row(instrument: Instrument) -> dict[str, Any]:
    listed = [{"conid": instrument.conid, "exchange": instrument.exchange, "isUS": True}]
    return {"name": instrument.name, "chineseName": None, "assetClass": instrument.kind, "contracts": listed}


def _future_row(instrument: Instrument) -> dict[str, Any]:
    dates = {"expirationDate": 20260918, "ltd": 20260917}
    return {"symbol": instrument.symbol, "conid": instrument.conid, "underlyingConid": 11004968} | dates


ROUTES = (
    Route("GET POST", "/iserver/secdef/search", search, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/secdef/strikes", strikes, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/secdef/info", info, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/contract/rules", rules, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/contract/{conid}/info", details, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/contract/{conid}/info-and-rules", details_and_rules, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/contract/{conid}/algos", algos, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/currency/pairs", pairs, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/exchangerate", exchange_rate, RequiredSession.BROKERAGE),
    Route("GET POST", "/trsrv/secdef", definitions),
    Route("GET", "/trsrv/secdef/schedule", schedule),
    Route("GET", "/trsrv/stocks", stocks),
    Route("GET", "/trsrv/futures", futures),
    Route("GET", "/trsrv/all-conids", all_conids),
)
