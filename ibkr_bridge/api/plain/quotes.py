"""Quotes of several instruments, and the price history of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, boolean_parameter, list_parameter, text_parameter
from ibkr_bridge.api.plain.plain_reader import Fetched, PlainReader
from ibkr_bridge.api.plain.symbol_resolution import (
    describe_if_possible,
    look_up_stocks,
    parse_conid,
    resolve_symbol,
    symbol_query,
)
from ibkr_bridge.errors import (
    AmbiguousSymbol,
    BadRequest,
    BridgeError,
    InstrumentNotFound,
    UpstreamError,
)
from ibkr_bridge.ibkr import reads
from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.models.quotes import Quote, QuoteKind, QuoteList, QuoteProblem
from ibkr_bridge.translation.classes import WORD_BY_CLASS
from ibkr_bridge.translation.quotes import REQUESTED_FIELDS, quote_of, quote_rows_in, read_history, read_time_zone

MAX_QUOTES = 100  # instruments in one snapshot of IBKR's
PERIOD = re.compile(r"[1-9][0-9]{0,3}(?:min|h|d|w|m|y)")
BAR = re.compile(r"[1-9][0-9]?(?:min|h|d|w|m)")
DEFAULT_PERIOD, DEFAULT_BAR = "1d", "5min"
NO_QUOTE_CODE = "no_quote"  # of a problem: IBKR knows the instrument and sends nothing for it
Wanted = Mapping[str, int]
"""What was asked for, as it was written, and its number."""


async def list_quotes(request: web.Request) -> web.Response:
    """The quotes of symbols and conids, and why some have none."""
    symbols, numbers = list_parameter(request, "symbols"), list_parameter(request, "conids")
    _check_count(len(symbols) + len(numbers))
    queries = {text: symbol_query(text, field="symbols") for text in symbols}
    wanted = {text: parse_conid(text, "conids") for text in numbers}
    reader = PlainReader(request)
    await look_up_stocks(reader, queries.values())
    problems: list[QuoteProblem] = []
    for text, query in queries.items():
        try:
            wanted[text] = await resolve_symbol(reader, query, "symbols")
        except (InstrumentNotFound, AmbiguousSymbol) as exc:
            problems.append(QuoteProblem(text, exc.code, exc.detail))
    ordered = {text: wanted[text] for text in (*symbols, *numbers) if text in wanted}
    quotes = await fetch_quotes(reader, ordered.values()) if ordered else {}
    listed = list(dict.fromkeys(conid for conid in ordered.values() if conid in quotes))
    return answer(QuoteList([quotes[conid] for conid in listed], [*problems, *_without_quote(ordered, quotes)]))


def _check_count(count: int) -> None:
    if not count:
        raise BadRequest("symbols and conids are missing", field="symbols", hint="write /quotes?symbols=AAPL,ES@CME")
    if count > MAX_QUOTES:
        raise BadRequest(f"{count} instruments are more than {MAX_QUOTES}", field="symbols")


def _without_quote(ordered: Wanted, quotes: Mapping[int, Quote]) -> list[QuoteProblem]:
    """The problems of those that IBKR sends nothing for."""
    empty = [text for text, conid in ordered.items() if conid not in quotes or quotes[conid].kind is QuoteKind.NONE]
    detail = "IBKR sends no quote for it: the subscription to market data may be missing, or it does not trade now"
    return [QuoteProblem(text, NO_QUOTE_CODE, detail) for text in empty]


async def fetch_quotes(reader: PlainReader, conids: Iterable[int]) -> dict[int, Quote]:
    """The quotes of some instruments by number."""
    numbers = list(dict.fromkeys(conids))
    instruments = await describe_if_possible(reader, numbers)
    fetched = await reader.fetch(reads.quote_snapshot(numbers, REQUESTED_FIELDS))
    rows = fetched.translate(quote_rows_in)
    return {row.conid: quote_of(row, instruments, fetched.as_of) for row in rows}


async def get_history(request: web.Request) -> web.Response:
    """The price history of one instrument. The volumes are in units; the time zone is that of its exchange."""
    period = _span(request, "period", PERIOD, DEFAULT_PERIOD)
    bar = _span(request, "bar", BAR, DEFAULT_BAR)
    outside_hours = boolean_parameter(request, "outside_hours", default=False)
    reader = PlainReader(request)
    conid = await _instrument_of_query(request, reader)
    instrument = (await describe_if_possible(reader, [conid])).get(conid)
    fetched = await reader.fetch(reads.price_history(conid, period, bar, outside_hours=outside_hours))
    zone = await _time_zone(reader, instrument) if instrument is not None else None
    history = read_history(fetched.value, instrument, conid, zone, fetched.as_of)
    if history is None:
        raise UpstreamError("IBKR sent no price history", retry_after=5.0)
    return answer(msgspec.structs.replace(history, period=period, bar=bar))


def _span(request: web.Request, name: str, pattern: re.Pattern[str], default: str) -> str:
    text = text_parameter(request, name) or default
    if not pattern.fullmatch(text):
        raise BadRequest(
            f"{name} is not a span of time",
            field=name,
            hint="write 1d, 2w, 6m or 1y for a period, 5min or 1h for a bar",
        )
    return text


async def _instrument_of_query(request: web.Request, reader: PlainReader) -> int:
    symbol, number = text_parameter(request, "symbol"), text_parameter(request, "conid")
    if (symbol is None) == (number is None):
        raise BadRequest("the request needs either a symbol or a conid", field="symbol")
    return parse_conid(number, "conid") if number else await resolve_symbol(reader, symbol_query(symbol or ""))


async def _time_zone(reader: PlainReader, instrument: Instrument) -> str | None:
    """The time zone of its exchange; None if IBKR does not say."""
    word = WORD_BY_CLASS.get(instrument.asset_class)
    if word is None:
        return None
    try:
        fetched: Fetched = await reader.fetch(reads.trading_schedule(word, instrument.symbol))
    except BridgeError:
        return None
    return read_time_zone(fetched.value, instrument.exchange)
