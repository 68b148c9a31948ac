"""Market data calls: the quote snapshot with its empty first response, candles, releasing of market data lines.

The first snapshot of a contract only opens its market data line and comes back without the requested fields. They are
present a moment later, and computed ones later still. At most 100 lines are open at once. A contract beyond them
always gets the response of a first snapshot; so does a derivative that no search of this session has found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.availability import CLOSED, DELAY_S, DELAYED, MISSING
from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.instruments import Instrument
from ibkr_bridge.sim.market.lines import MarketDataLines
from ibkr_bridge.sim.market.quotes import Quotes
from ibkr_bridge.sim.market.world import World

FIRST_PRICE_DELAY_S = 0.3
"""Time from the opening of a market data line to its first prices."""
COMPUTED_DELAY_S = 1.2
"""Time from the opening of a market data line to its first computed fields."""
MAX_CONIDS = 100
MAX_FIELDS = 50

BAR_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "m": 30 * 86_400, "y": 365 * 86_400, "S": 1, "s": 1}
BAR_SECONDS |= {"hour": 3600, "day": 86_400}  # the stream's spelling
MAX_CANDLES = 1000

FIELDS: dict[str, Callable[[Quotes, Instrument, float], str]] = {
    "31": lambda quotes, instrument, now: f"{quotes.last_price(instrument.conid, now):,}",
    "84": lambda quotes, instrument, now: f"{quotes.bid_price(instrument.conid, now):,}",
    "86": lambda quotes, instrument, now: f"{quotes.ask_price(instrument.conid, now):,}",
    "85": lambda quotes, instrument, now: f"{quotes.shown_size(instrument.conid, 'BUY', now):,}",
    "88": lambda quotes, instrument, now: f"{quotes.shown_size(instrument.conid, 'SELL', now):,}",
    "87": lambda quotes, instrument, now: "42.1M",
    "7762": lambda quotes, instrument, now: "42100000",
    "70": lambda quotes, instrument, now: f"{instrument.price * Decimal('1.012'):,.2f}",
    "71": lambda quotes, instrument, now: f"{instrument.price * Decimal('0.988'):,.2f}",
    "7295": lambda quotes, instrument, now: f"{instrument.price:,}",
    "7296": lambda quotes, instrument, now: f"{instrument.price:,}",
    "7741": lambda quotes, instrument, now: f"{instrument.price:,}",
    "7635": lambda quotes, instrument, now: f"{quotes.last_price(instrument.conid, now):,}",
    "82": lambda quotes, instrument, now: f"{quotes.last_price(instrument.conid, now) - instrument.price:+,}",
    "83": lambda quotes, instrument, now: (
        f"{(quotes.last_price(instrument.conid, now) / instrument.price - 1) * 100:.2f}%"
    ),
    "55": lambda quotes, instrument, now: instrument.symbol,
    "6008": lambda quotes, instrument, now: str(instrument.conid),
    "6070": lambda quotes, instrument, now: instrument.kind,
    "7051": lambda quotes, instrument, now: instrument.name,
    "7283": lambda quotes, instrument, now: "21.4%",
}
"""Fields by number; strings with thousands separators, as IBKR sends them."""
COMPUTED = frozenset({"7283"})
AVAILABILITY = "6509"
SERVER = {"server_id": "q0", "6119": "q0"}
LAST = "31"
BOTH_SIDES = frozenset({"84", "85", "86", "88"})
"""Bid and offer with their sizes; a closed market has none."""


def snapshot(world: World, request: MarketRequest) -> MarketResponse:
    """Quotes of several contracts; the first row of a contract comes without its fields."""
    conids = re.findall(r"\d+", ",".join(part.partition("@")[0] for part in request.query.get("conids", "").split(",")))
    fields = [field for field in request.query.get("fields", "").split(",") if field]
    if not conids:
        return error_response(400, "Bad Request: empty conids")
    if len(conids) > MAX_CONIDS or len(fields) > MAX_FIELDS:
        return error_response(400, "Bad Request: too many conids or fields")
    return ok_response([_snapshot_row(world, int(conid), fields, request.now) for conid in conids])


def history(world: World, request: MarketRequest) -> MarketResponse:
    """Candles up to now; volumes are to be multiplied by `volumeFactor`."""
    conid = request.query.get("conid", "")
    instrument = world.quotes.instrument(int(conid)) if conid.isdigit() else None
    if instrument is None:
        return error_response(400, "Bad Request: no such conid")
    chart = draw_chart(world, instrument, request.query, request.now)
    return error_response(500, "Chart data unavailable") if chart is None else ok_response(chart)


def draw_chart(world: World, instrument: Instrument, query: Mapping[str, str], now: float) -> dict[str, Any] | None:
    """The candles of one contract and their description; None if period or bar is not a span of time."""
    period, bar = parse_span(query.get("period", "1d")), parse_span(query.get("bar", "1h"))
    if not period or not bar:
        return None
    points = max(min(period // bar, MAX_CANDLES), 1)
    first = now - now % bar - (points - 1) * bar
    data = [_candle(world, instrument, first + number * bar, bar) for number in range(points)]
    return _chart_body(instrument, query, data, world.calendar.utc_at(first).strftime("%Y%m%d-%H:%M:%S"), bar)


def unsubscribe(world: World, request: MarketRequest) -> MarketResponse:
    """Release one market data line."""
    lines = _lines(world)
    conid = request.form.get("conid")
    if not isinstance(conid, int) or not lines.close_line(conid):
        return error_response(500, "unknown")
    return ok_response({"success": True})


def unsubscribe_all(world: World, request: MarketRequest) -> MarketResponse:
    """Release all market data lines."""
    _lines(world).clear()
    return ok_response({"unsubscribed": True})


def _snapshot_row(world: World, conid: int, fields: list[str], now: float) -> dict[str, Any]:
    row: dict[str, Any] = {"conidEx": str(conid), "conid": conid}
    instrument, lines = world.quotes.instrument(conid), _lines(world)
    if instrument is None:
        return row
    if instrument.is_derivative and not world.was_searched(conid):
        return row
    line = lines.open_line(conid, now)
    if line is None or now - line.opened_at < FIRST_PRICE_DELAY_S:
        return row
    return (
        row
        | {"_updated": world.calendar.epoch_ms(now), **SERVER, AVAILABILITY: world.quotes.availability.code_of(conid)}
        | shown_fields(world.quotes, instrument, fields, line.opened_at, now)
    )


def shown_fields(
    quotes: Quotes, instrument: Instrument, fields: list[str], opened_at: float, now: float
) -> dict[str, str]:
    """The available ones of the requested fields, for a market data line opened at `opened_at`."""
    kind = quotes.availability.kind_of(instrument.conid)
    if kind == MISSING:
        return {}
    has_computed = now - opened_at >= COMPUTED_DELAY_S
    known = {field for field in FIELDS if has_computed or field not in COMPUTED}
    moment = now - DELAY_S if kind == DELAYED else now
    shown = {field: FIELDS[field](quotes, instrument, moment) for field in fields if field in known}
    return _closed_fields(instrument, shown) if kind == CLOSED else shown


def _closed_fields(instrument: Instrument, fields: dict[str, str]) -> dict[str, str]:
    """The fields of a closed market: the last price is the former close, with a C in front."""
    left = {field: text for field, text in fields.items() if field not in BOTH_SIDES}
    return left | ({LAST: f"C{instrument.price:,}"} if LAST in left else {})


def _lines(world: World) -> MarketDataLines:
    return world.sessions.brokerage.lines if world.sessions.brokerage else MarketDataLines()


def parse_span(text: str) -> int:
    """The seconds of `2h`, `1d` or `5min`; 0 if the text is not a span of time."""
    match = re.fullmatch(r"(\d{1,4})([A-Za-z]+)", text)
    return int(match[1]) * BAR_SECONDS.get(match[2], 0) if match else 0


def _candle(world: World, instrument: Instrument, start: float, bar: int) -> dict[str, Any]:
    prices = [world.quotes.last_price(instrument.conid, start + bar * part / 4) for part in range(5)]
    return {
        "o": prices[0],
        "c": prices[-1],
        "h": max(prices),
        "l": min(prices),
        "v": 1000 + int(start) % 500,
        "t": world.calendar.epoch_ms(start),
    }


def _chart_body(
    instrument: Instrument, query: Mapping[str, str], data: list[dict[str, Any]], start: str, bar: int
) -> dict[str, Any]:
    return {
        "serverId": "20477",
        "symbol": instrument.symbol,
        "text": instrument.name,
        "priceFactor": 100,
        "startTime": start,
        "high": f"{max(each['h'] for each in data)}/1/0.00",
        "low": f"{min(each['l'] for each in data)}/1/0.00",
        "timePeriod": query.get("period", "1d"),
        "barLength": bar,
        "mdAvailability": "S",
        "mktDataDelay": 0,
        "outsideRth": query.get("outsideRth") == "true",
        "tradingDayDuration": 1440,
        "volumeFactor": 40,
        "priceDisplayRule": 1,
        "priceDisplayValue": "2",
        "negativeCapable": False,
        "messageVersion": 2,
        "data": data,
        "points": len(data),
        "travelTime": 48,
    }


ROUTES = (
    Route("GET", "/iserver/marketdata/snapshot", snapshot, RequiredSession.ACCOUNTS, cold=[]),
    Route("GET", "/iserver/marketdata/history", history, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/marketdata/unsubscribe", unsubscribe, RequiredSession.BROKERAGE),
    Route("GET", "/iserver/marketdata/unsubscribeall", unsubscribe_all, RequiredSession.BROKERAGE),
)
