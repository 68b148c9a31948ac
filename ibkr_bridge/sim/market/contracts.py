"""Contract search: by symbol, by contract id, chains, currencies, trading hours."""

from __future__ import annotations

from decimal import Decimal

from ibkr_bridge.sim.market.contract_rows import (
    definition_row,
    details_row,
    future_row,
    rules_row,
    search_row,
    stock_row,
)
from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.instruments import (
    FUTURE,
    INSTRUMENTS,
    OPTION,
    PAIRED_CURRENCIES,
    STOCK,
    Instrument,
    derivatives_of,
    find_by_symbol,
)
from ibkr_bridge.sim.market.world import World

MAX_CONIDS = 200
NO_CONTRACTS = "no contracts retrieved"


def search(world: World, request: MarketRequest) -> MarketResponse:
    """Contracts by symbol or name; required before strikes and info of the same symbol."""
    symbol = str(request.query.get("symbol") or request.form.get("symbol") or "")
    matches = find_by_symbol(symbol)
    if not matches:
        return error_response(500, "No symbol found")
    if world.sessions.brokerage:
        found = [*matches, *(derivative for each in matches for derivative in derivatives_of(each.conid))]
        world.sessions.brokerage.searched_conids.update(each.conid for each in found)
    return ok_response([search_row(each) for each in matches])


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
        return error_response(500, NO_CONTRACTS)
    if request.query.get("sectype") != OPTION:
        return ok_response([details_row(instrument)])
    right, strike = request.query.get("right", ""), request.query.get("strike", "")
    options = [
        each
        for each in derivatives_of(instrument.conid)
        if each.right in (right or each.right) and strike in ("", str(each.strike), f"{each.strike}.0")
    ]
    return ok_response([details_row(each) for each in options]) if options else error_response(500, NO_CONTRACTS)


def details(world: World, request: MarketRequest) -> MarketResponse:
    """One contract."""
    instrument = _find_instrument(world, request.parts["conid"])
    return error_response(500, "Contract not found") if instrument is None else ok_response(details_row(instrument))


def details_and_rules(world: World, request: MarketRequest) -> MarketResponse:
    """One contract with its trading rules."""
    instrument = _find_instrument(world, request.parts["conid"])
    return (
        error_response(500, "Contract not found")
        if instrument is None
        else ok_response(details_row(instrument) | {"rules": rules_row(instrument, world.accounts)})
    )


def rules(world: World, request: MarketRequest) -> MarketResponse:
    """The order types and sizes that a contract allows."""
    instrument = _find_instrument(world, str(request.form.get("conid", "")))
    return (
        error_response(500, "Contract not found")
        if instrument is None
        else ok_response(rules_row(instrument, world.accounts))
    )


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
    return ok_response({"secdef": [definition_row(instrument) for instrument in matches]})


def stocks(world: World, request: MarketRequest) -> MarketResponse:
    """Stocks by symbol."""
    symbols = [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
    if not symbols:
        return error_response(400, "Bad Request: symbols")
    return ok_response(
        {symbol: [stock_row(each) for each in INSTRUMENTS if _is(each, symbol, STOCK)] for symbol in symbols}
    )


def futures(world: World, request: MarketRequest) -> MarketResponse:
    """Futures by the symbol of their underlying."""
    symbols = [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
    matches = {symbol: [future_row(each) for each in INSTRUMENTS if _is(each, symbol, FUTURE)] for symbol in symbols}
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
    found = [each for each in PAIRED_CURRENCIES if currency in (each.symbol, each.currency)]
    rows = [{"symbol": each.name, "conid": each.conid, "ccyPair": each.symbol} for each in found]
    return ok_response({currency: rows} if rows else {})


def exchange_rate(world: World, request: MarketRequest) -> MarketResponse:
    """The exchange rate of two currencies."""
    source, target = request.query.get("source", ""), request.query.get("target", "")
    rate = world.quotes.exchange_rate(source, target, request.now)
    return error_response(500, "Invalid currency") if rate is None else ok_response({"rate": rate})


def _find_instrument(world: World, conid: str) -> Instrument | None:
    return world.quotes.instrument(int(conid)) if conid.isdecimal() else None


def _is(instrument: Instrument, symbol: str, kind: str) -> bool:
    return (instrument.symbol, instrument.kind) == (symbol, kind)


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
