"""Which instrument a symbol stands for, and what is known of an instrument.

What was found is remembered for hours, so that a page that asks for fifty symbols every second costs no call for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

import msgspec

from ibkr_bridge.api.plain.instrument_directory import InstrumentDirectory
from ibkr_bridge.api.plain.plain_reader import PlainReader, if_soon
from ibkr_bridge.errors import AmbiguousSymbol, BadRequest, BridgeError, InstrumentNotFound
from ibkr_bridge.ibkr import reads
from ibkr_bridge.models.base import AssetClass, Side
from ibkr_bridge.models.instruments import Candidate, Instrument
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.translation.contract_rules import ContractRules, read_rules
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
MAX_SYMBOLS = 50  # of one read of stocks
MAX_CANDIDATES = 50  # in one answer
_DIRECTORIES: WeakKeyDictionary[object, InstrumentDirectory] = WeakKeyDictionary()


def directory_of(profile: Profile) -> InstrumentDirectory:
    """What the profile has found so far."""
    return _DIRECTORIES.setdefault(profile.streaming.hub, InstrumentDirectory())


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
    directory = directory_of(reader.profile)
    conid = directory.find(query)
    if conid is None:
        conid = choose_only(reader, query, await find_candidates(reader, query), field).conid
        directory.remember_symbol(query, conid)
    return conid


async def look_up_stocks(reader: PlainReader, queries: Iterable[SymbolQuery]) -> None:
    """Find the stocks among some symbols with few reads; what is no stock is left to `resolve_symbol`."""
    directory = directory_of(reader.profile)
    unknown = [query for query in queries if _may_be_stock(query) and directory.find(query) is None]
    for start in range(0, len(unknown), MAX_SYMBOLS):
        part = unknown[start : start + MAX_SYMBOLS]
        symbols = ",".join(dict.fromkeys(query.symbol for query in part))
        value = await _fetch(reader, reads.stocks(symbols))
        for query in part:
            found = choose(choose_stock(read_stocks(value, query), query), query, reader.now.date())
            if len(found) == 1:
                directory.remember_symbol(query, found[0].conid)


def _may_be_stock(query: SymbolQuery) -> bool:
    is_pair = query.asset_class is None and PAIR.fullmatch(query.symbol) is not None
    return not is_pair and (query.asset_class is None or query.asset_class in LISTED_CLASSES)


def choose_only(
    reader: PlainReader, query: SymbolQuery, candidates: Sequence[Candidate], field: str = "symbol"
) -> Candidate:
    """The candidate that a symbol stands for, if there is exactly one.

    Raises:
        InstrumentNotFound, AmbiguousSymbol: none, or several.
    """
    chosen = choose(candidates, query, reader.now.date())
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
    directory, wanted = directory_of(reader.profile), list(dict.fromkeys(conids))
    found = directory.describe(wanted)
    unknown = [conid for conid in wanted if conid not in found]
    for start in range(0, len(unknown), MAX_CONIDS):
        value = await _fetch(reader, reads.definitions(unknown[start : start + MAX_CONIDS]))
        instruments = read_instruments(value)
        directory.remember(instruments)
        found |= {instrument.conid: instrument for instrument in instruments}
    return [found[conid] for conid in wanted if conid in found]


async def describe_if_possible(reader: PlainReader, conids: Iterable[int]) -> Mapping[int, Instrument]:
    """The same by number; empty if IBKR does not answer. The caller has something to show without it."""
    try:
        return {each.conid: each for each in await fetch_instruments(reader, conids)}
    except BridgeError:
        return {}


async def fetch_rules(reader: PlainReader, conid: int, side: Side) -> ContractRules | None:
    """What IBKR allows for a contract; None if IBKR does not say now: then its answer to the order says it."""
    fetched = await if_soon(reader.fetch(reads.contract_rules(conid, is_buy=side is Side.BUY)))
    return read_rules(fetched.body) if fetched is not None else None
