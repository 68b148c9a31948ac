"""Quote snapshots and candles of IBKR as quotes and bars. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.models.quotes import Bar, History, Quote, QuoteKind
from ibkr_bridge.translation.numbers import Row, object_of, parse_body, rows_of, to_conid, to_decimal, to_text, to_time

LAST, AVAILABILITY, SYMBOL, UPDATED = "31", "6509", "55", "_updated"
FIELDS: Mapping[str, str] = {
    "last": LAST,
    "bid": "84",
    "bid_size": "88",
    "ask": "86",
    "ask_size": "85",
    "open": "7295",
    "high": "70",
    "low": "71",
    "previous_close": "7741",
    "change": "82",
    "change_percent": "83",
    "volume": "7762",
}
"""Members of a quote, and the numbers of IBKR's fields."""
REQUESTED_FIELDS = (*FIELDS.values(), SYMBOL, AVAILABILITY)
KIND_BY_LETTER: Mapping[str, QuoteKind] = {
    "R": QuoteKind.LIVE,
    "S": QuoteKind.LIVE,  # of a history: it streams
    "D": QuoteKind.DELAYED,
    "Z": QuoteKind.FROZEN,
    "Y": QuoteKind.FROZEN,  # of a delayed quote
    "N": QuoteKind.NONE,  # the user has no subscription
}
CLOSE_MARK = "C"  # before the last price: it is the close of the previous day
FRESH_KINDS = frozenset({QuoteKind.LIVE})


@dataclass(frozen=True)
class QuoteRow:
    """One row of a quote snapshot, translated; only the instrument is missing."""

    conid: int
    symbol: str | None
    kind: QuoteKind
    updated: datetime | None
    figures: Mapping[str, Decimal | None]


@lru_cache(maxsize=32)  # the same answer of the cache is translated for each page that polls
def quote_rows_in(body: bytes) -> tuple[QuoteRow, ...] | None:
    """The rows in an answer of IBKR's; None if it is not a list."""
    rows = parse_body(body)
    return tuple(row for each in rows_of(rows) if (row := read_row(each))) if isinstance(rows, list) else None


def read_row(row: Row) -> QuoteRow | None:
    """A row of a quote snapshot; every field may be missing, and None if it has no contract."""
    conid = to_conid(row.get("conid"))
    if conid is None:
        return None
    figures = {name: to_decimal(row.get(field)) for name, field in FIELDS.items()}
    return QuoteRow(conid, to_text(row.get(SYMBOL)), _kind_of(row, figures), to_time(row.get(UPDATED)), figures)


def quote_of(row: QuoteRow, instruments: Mapping[int, Instrument], now: datetime) -> Quote:
    """A quote, with what is known of its instrument.

    Args:
        instruments: what is known of contracts, by number.
        now: the time of the answer, for a row without a time.
    """
    instrument = instruments.get(row.conid)
    return Quote(
        as_of=row.updated or now,
        stale=row.kind not in FRESH_KINDS,
        conid=row.conid,
        symbol=instrument.symbol if instrument else row.symbol,
        kind=row.kind,
        currency=instrument.currency if instrument else None,
        **row.figures,
    )


def read_quote(row: Row, instruments: Mapping[int, Instrument], now: datetime) -> Quote | None:
    """A row of IBKR's stream as a quote; None if it has no contract."""
    translated = read_row(row)
    return quote_of(translated, instruments, now) if translated is not None else None


def _kind_of(row: Row, figures: Mapping[str, Decimal | None]) -> QuoteKind:
    if all(figures[name] is None for name in ("last", "bid", "ask")):
        return QuoteKind.NONE
    letter = (to_text(row.get(AVAILABILITY)) or "")[:1]
    kind = KIND_BY_LETTER.get(letter, QuoteKind.LIVE)
    is_close = (to_text(row.get(LAST)) or "").startswith(CLOSE_MARK)
    return QuoteKind.CLOSED if is_close and kind is not QuoteKind.DELAYED else kind


def read_history(
    body: object, instrument: Instrument | None, conid: int, time_zone: str | None, as_of: datetime
) -> History | None:
    """The candles of IBKR as bars; None if there are none to read."""
    chart = object_of(body)
    if not isinstance(chart.get("data"), list):
        return None
    factor = to_decimal(chart.get("volumeFactor")) or Decimal(1)
    kind = KIND_BY_LETTER.get((to_text(chart.get("mdAvailability")) or "")[:1], QuoteKind.LIVE)
    return History(
        as_of=as_of,
        stale=kind not in FRESH_KINDS,
        conid=conid,
        symbol=instrument.symbol if instrument else to_text(chart.get("symbol")),
        period=to_text(chart.get("timePeriod")) or "",
        bar="",
        kind=kind,
        time_zone=time_zone,
        outside_hours=chart.get("outsideRth") is True,
        bars=[bar for row in rows_of(chart["data"]) if (bar := _read_bar(row, factor))],
    )


def _read_bar(row: Row, volume_factor: Decimal) -> Bar | None:
    start, volume = to_time(row.get("t")), to_decimal(row.get("v"))
    first, high, low, last = (to_decimal(row.get(name)) for name in ("o", "h", "l", "c"))
    if start is None or first is None or high is None or low is None or last is None:
        return None
    return Bar(start, first, high, low, last, None if volume is None else to_decimal(volume * volume_factor))


def read_time_zone(body: object, exchange: str | None) -> str | None:
    """The time zone of an exchange in the answer of `/trsrv/secdef/schedule`; None if it is not there."""
    rows = rows_of(body)
    of_exchange = [row for row in rows if exchange is not None and row.get("exchange") == exchange]
    return next((zone for row in (*of_exchange, *rows) if (zone := to_text(row.get("timezone")))), None)
