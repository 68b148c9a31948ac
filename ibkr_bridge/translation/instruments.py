"""Symbols, and the instruments that they stand for. Pure.

A symbol may name its exchange: `ES@CME`. A stock is preferred to everything else with the same symbol, a listing in the
United States to all others, and of several expiries the next one. What is still ambiguous then is left to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.models.instruments import Candidate, Instrument
from ibkr_bridge.translation.classes import WORD_BY_CLASS, asset_class_of, right_of
from ibkr_bridge.translation.numbers import Row, object_of, rows_of, to_conid, to_date, to_decimal, to_text

SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_-]{0,31}")
EXCHANGE = re.compile(r"[A-Za-z0-9.]{1,16}")
PAIR = re.compile(r"([A-Z]{3})[./]([A-Z]{3})")
LISTED_CLASSES = frozenset({AssetClass.STOCK, AssetClass.ETF})


@dataclass(frozen=True)
class SymbolQuery:
    """A symbol, and what is said of the instrument that it stands for."""

    symbol: str
    exchange: str = ""
    asset_class: AssetClass | None = None

    @property
    def word(self) -> str:
        """IBKR's word for the class; empty if none is said."""
        return WORD_BY_CLASS[self.asset_class] if self.asset_class is not None else ""


def parse_symbol(text: str, asset_class: AssetClass | None = None) -> SymbolQuery | None:
    """Parse `AAPL` or `ES@CME`; None if the text is no symbol."""
    symbol, mark, exchange = text.strip().partition("@")
    is_valid = SYMBOL.fullmatch(symbol) is not None and (not mark or EXCHANGE.fullmatch(exchange) is not None)
    return SymbolQuery(symbol.upper(), exchange.upper(), asset_class) if is_valid else None


def read_stocks(body: object, query: SymbolQuery) -> list[tuple[Candidate, bool]]:
    """The stocks in the answer of `/trsrv/stocks`, each with whether it is listed in the United States."""
    found = []
    for row in rows_of(object_of(body).get(query.symbol)):
        for contract in rows_of(row.get("contracts")):
            conid = to_conid(contract.get("conid"))
            if conid is not None:
                candidate = Candidate(
                    *(conid, query.symbol, to_text(row.get("name")), asset_class_of(row.get("assetClass"))),
                    *(to_text(contract.get("exchange")), None),
                )
                found.append((candidate, contract.get("isUS") is True))
    return found


def read_futures(body: object, query: SymbolQuery) -> list[Candidate]:
    """The futures with a symbol in the answer of `/trsrv/futures`, the next to expire first."""
    rows = rows_of(object_of(body).get(query.symbol))
    found = [
        Candidate(
            *(conid, query.symbol, None, AssetClass.FUTURE, query.exchange or None),
            to_date(row.get("expirationDate")),
        )
        for row in rows
        if (conid := to_conid(row.get("conid"))) is not None
    ]
    return sorted(found, key=lambda each: (each.expiry or date.max, each.conid))


def read_search(body: object, query: SymbolQuery) -> list[Candidate]:
    """The instruments with exactly this symbol in the answer of a contract search."""
    found = []
    for row in rows_of(body):
        conid, symbol = to_conid(row.get("conid")), (to_text(row.get("symbol")) or "").upper()
        words = [str(section.get("secType", "")) for section in rows_of(row.get("sections"))]
        word = words[0] if words else to_text(row.get("secType"))
        if conid is not None and symbol == query.symbol:
            name, exchange = to_text(row.get("companyName")), to_text(row.get("description"))
            found.append(Candidate(conid, symbol, name, asset_class_of(word), exchange, None))
    return found


def read_pairs(body: object, query: SymbolQuery) -> list[Candidate]:
    """The currency pair that a symbol such as `EUR.USD` stands for, in the answer of `/iserver/currency/pairs`."""
    rows = (row for listed in object_of(body).values() for row in rows_of(listed))
    wanted = query.symbol.replace("/", ".")
    found = [(to_conid(row.get("conid")), to_text(row.get("symbol"))) for row in rows]
    return [
        Candidate(conid, wanted, None, AssetClass.CURRENCY, "IDEALPRO", None)
        for conid, symbol in dict.fromkeys(found)
        if conid is not None and symbol == wanted
    ]


def choose_stock(found: Iterable[tuple[Candidate, bool]], query: SymbolQuery) -> list[Candidate]:
    """The stocks that a symbol may stand for: those at its exchange, else those of the United States, else all."""
    listed = list(found)
    if query.exchange:
        return [candidate for candidate, _ in listed if (candidate.exchange or "").upper() == query.exchange]
    american = [candidate for candidate, is_american in listed if is_american]
    return american or [candidate for candidate, _ in listed]


def choose(candidates: Iterable[Candidate], query: SymbolQuery, today: date) -> list[Candidate]:
    """The candidates that fit what is said of the class and the exchange; of futures only the next to expire.

    Those may be several: one symbol has contracts of several sizes, such as DAX with 25, 5 and 1 euro a point.
    """
    fitting = [
        each
        for each in candidates
        if (query.asset_class is None or _is_of_class(each.asset_class, query.asset_class))
        and (not query.exchange or (each.exchange or "").upper() == query.exchange)
    ]
    dated = [each for each in fitting if each.expiry is not None and each.expiry >= today]
    return [each for each in dated if each.expiry == dated[0].expiry] or fitting


def _is_of_class(found: AssetClass, wanted: AssetClass) -> bool:
    return found is wanted or {found, wanted} <= LISTED_CLASSES


def read_instruments(body: object) -> list[Instrument]:
    """The instruments in the answer of `/trsrv/secdef`."""
    rows = rows_of(object_of(body).get("secdef"))
    return [instrument for row in rows if (instrument := _read_instrument(row))]


def _read_instrument(row: Row) -> Instrument | None:
    conid = to_conid(row.get("conid"))
    symbol = to_text(row.get("ticker")) or to_text(row.get("symbol"))
    if conid is None or symbol is None:
        return None
    asset_class, currency = asset_class_of(row.get("assetClass")), to_text(row.get("currency"))
    if asset_class is AssetClass.CURRENCY and currency is not None and "." not in symbol:
        symbol = f"{symbol}.{currency}"  # the pair, as everybody writes it
    return Instrument(
        conid=conid,
        symbol=symbol,
        name=to_text(row.get("name")),
        asset_class=asset_class,
        currency=currency,
        exchange=to_text(row.get("listingExchange")),
        exchanges=[name for name in (to_text(row.get("allExchanges")) or "").split(",") if name],
        multiplier=to_decimal(row.get("multiplier")) or Decimal(1),
        expiry=to_date(row.get("expiry")),
        strike=to_decimal(row.get("strike")) or None,
        right=right_of(row.get("putOrCall")),
    )
