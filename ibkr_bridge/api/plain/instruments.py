"""Instruments: what a symbol stands for, and one instrument by its number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, enum_parameter, text_parameter
from ibkr_bridge.api.plain.plain_reader import PlainReader
from ibkr_bridge.errors import AmbiguousSymbol, BadRequest, BridgeError, InstrumentNotFound
from ibkr_bridge.ibkr import reads
from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.models.instruments import Candidate, Instrument, InstrumentSearch
from ibkr_bridge.translation.instruments import (
    LISTED_CLASSES,
    PAIR,
    SymbolQuery,
    choose,
    choose_stock,
    parse_symbol,
    read_futures,
    read_instruments,
    read_pairs,
    read_search,
    read_stocks,
)

SYMBOL_HINT = "write AAPL, ES@CME or EUR.USD"
MAX_CONIDS = 200  # definitions that IBKR gives at once
MAX_CANDIDATES = 50  # in one answer


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
    conid = the_only(choose(candidates, query, reader.now.date()), query, candidates).conid
    instrument = the_first(await fetch_instruments(reader, [conid]), "symbol")
    return answer(InstrumentSearch(instrument, candidates[:MAX_CANDIDATES]))


async def get_instrument(request: web.Request) -> web.Response:
    """One instrument."""
    conid = parse_conid(request.match_info["conid"], "conid")
    return answer(the_first(await fetch_instruments(PlainReader(request), [conid]), "conid"))


def the_first(found: Sequence[Instrument], field: str) -> Instrument:
    """The instrument that was asked for.

    Raises:
        InstrumentNotFound: IBKR does not have it.
    """
    if not found:
        raise InstrumentNotFound("IBKR knows no such instrument", field=field)
    return found[0]


def parse_conid(text: str, field: str) -> int:
    """A contract id that a caller wrote.

    Raises:
        BadRequest: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        raise BadRequest("a conid is a number of at most twelve digits", field=field)
    return int(text)


def symbol_query(text: str, asset_class: AssetClass | None = None, field: str = "symbol") -> SymbolQuery:
    """A symbol that a caller wrote.

    Raises:
        BadRequest: it is none.
    """
    query = parse_symbol(text, asset_class)
    if query is None:
        raise BadRequest("this is not a symbol", field=field, hint=SYMBOL_HINT)
    return query


async def resolve_symbol(reader: PlainReader, query: SymbolQuery, field: str = "symbol") -> int:
    """The number of the instrument that a symbol stands for.

    Raises:
        InstrumentNotFound, AmbiguousSymbol: none, or several.
    """
    candidates = await find_candidates(reader, query)
    return the_only(choose(candidates, query, reader.now.date()), query, candidates, field).conid


def the_only(
    chosen: Sequence[Candidate], query: SymbolQuery, candidates: Sequence[Candidate], field: str = "symbol"
) -> Candidate:
    """The candidate, if there is exactly one.

    Raises:
        InstrumentNotFound, AmbiguousSymbol: none, or several.
    """
    if not chosen:
        at = f" at {query.exchange}" if query.exchange and candidates else ""
        raise InstrumentNotFound(f"IBKR knows no instrument with this symbol{at}", field=field)
    if len(chosen) > 1:
        members = {"candidates": msgspec.to_builtins(list(chosen[:MAX_CANDIDATES]))}
        raise AmbiguousSymbol(f"{len(chosen)} instruments have this symbol", field=field, members=members)
    return chosen[0]


async def find_candidates(reader: PlainReader, query: SymbolQuery) -> list[Candidate]:
    """All that a symbol may stand for: stocks first, then futures, then what a search finds."""
    if query.asset_class is AssetClass.CURRENCY or (query.asset_class is None and PAIR.fullmatch(query.symbol)):
        fetched = await reader.fetch(reads.currency_pairs(query.symbol[-3:]))
        return read_pairs(fetched.value, query)
    for kinds, find in ((LISTED_CLASSES, _find_stocks), (frozenset({AssetClass.FUTURE}), _find_futures)):
        if query.asset_class is None or query.asset_class in kinds:
            found = await find(reader, query)
            if found:
                return found
    return await _search(reader, query)


async def _find_stocks(reader: PlainReader, query: SymbolQuery) -> list[Candidate]:
    return choose_stock(read_stocks(await _fetch(reader, reads.stocks(query.symbol)), query), query)


async def _find_futures(reader: PlainReader, query: SymbolQuery) -> list[Candidate]:
    found = read_futures(await _fetch(reader, reads.futures(query.symbol)), query)
    if not query.exchange or not found:
        return found
    listed = {
        each.conid for each in await fetch_instruments(reader, (each.conid for each in found)) if _is_at(each, query)
    }
    return [each for each in found if each.conid in listed]


def _is_at(instrument: Instrument, query: SymbolQuery) -> bool:
    return query.exchange in {(instrument.exchange or "").upper(), *map(str.upper, instrument.exchanges)}


async def _search(reader: PlainReader, query: SymbolQuery) -> list[Candidate]:
    return read_search(await _fetch(reader, reads.contract_search(query.symbol)), query)


async def _fetch(reader: PlainReader, read: reads.IbkrRead) -> object:
    """What IBKR answers about a symbol; None if it knows none."""
    try:
        return (await reader.fetch(read)).value
    except InstrumentNotFound:
        return None


async def fetch_instruments(reader: PlainReader, conids: Iterable[int]) -> list[Instrument]:
    """The instruments with these numbers, in this order; those that IBKR does not know are left out."""
    wanted = list(dict.fromkeys(conids))
    found: dict[int, Instrument] = {}
    for start in range(0, len(wanted), MAX_CONIDS):
        value = await _fetch(reader, reads.definitions(wanted[start : start + MAX_CONIDS]))
        found |= {instrument.conid: instrument for instrument in read_instruments(value)}
    return [found[conid] for conid in wanted if conid in found]


async def describe_if_possible(reader: PlainReader, conids: Iterable[int]) -> dict[int, Instrument]:
    """The same by number; empty if IBKR does not answer. The caller has something to show without it."""
    try:
        return {each.conid: each for each in await fetch_instruments(reader, conids)}
    except BridgeError:
        return {}
