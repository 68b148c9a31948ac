"""Instruments: what a symbol stands for, and one instrument by its number."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, enum_parameter, text_parameter
from ibkr_bridge.api.plain.plain_reader import PlainReader
from ibkr_bridge.api.plain.symbol_resolution import (
    MAX_CANDIDATES,
    choose_only,
    fetch_instruments,
    find_candidates,
    parse_conid,
    symbol_query,
    the_first,
)
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.models.instruments import InstrumentSearch


async def search_instruments(request: web.Request) -> web.Response:
    """What a symbol stands for.

    Raises:
        AmbiguousSymbol: several instruments, with all of them in the answer.
    """
    text = text_parameter(request, "symbol")
    if text is None:
        raise BadRequest("symbol is missing", field="symbol", hint="write /instruments?symbol=AAPL")
    query = symbol_query(text, enum_parameter(request, "class", AssetClass))
    reader = PlainReader(request)
    candidates = await find_candidates(reader, query)
    conid = choose_only(reader, query, candidates).conid
    instrument = the_first(await fetch_instruments(reader, [conid]), "symbol")
    return answer(InstrumentSearch(instrument, candidates[:MAX_CANDIDATES]))


async def get_instrument(request: web.Request) -> web.Response:
    """One instrument."""
    conid = parse_conid(request.match_info["conid"], "conid")
    return answer(the_first(await fetch_instruments(PlainReader(request), [conid]), "conid"))
