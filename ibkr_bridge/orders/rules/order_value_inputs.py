"""The largest value of each ticket of an order: fetches the facts from which `order_value.py` computes it.

At most four kinds of reads, if needed: the instruments' definitions, a quote if no limit bounds the price, the
account's base currency, and exchange rates if currencies differ. If a read fails, or its response is not understood,
the fact and the value stay unknown; that is not an error of its own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, discard
from ibkr_bridge.calls.parameters import contract_ids
from ibkr_bridge.calls.reader import fetch
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.catalogue import EXCHANGE_RATE, PORTFOLIO, SNAPSHOT, TRSRV_SECDEF, api_path
from ibkr_bridge.orders.rules.order_value import (
    ONE,
    InstrumentFacts,
    Quote,
    TicketMembers,
    contract_id_of,
    estimate_value,
    needs_quote,
)

LAST, BID, ASK, AVAILABILITY, UPDATED = "31", "84", "86", "6509", "_updated"
REAL_TIME = "R"  # the first letter of 6509; delayed, frozen and unsubscribed ones are not current (OAS, SW2)
CLOSED, HALTED = "C", "H"  # before a last price: the close of the day before; the price of a halted market (SW2)
MAX_TIME_MS = 1e14  # milliseconds; an update time thousands of years ahead is invalid
DISPLAYED_NUMBER = re.compile(r"(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", re.ASCII)  # IBKR writes thousands separators
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
ACCOUNT_MEMBERS = frozenset({"acctid", "accountid", "account", "acct"})

QUOTE_FIELDS = (LAST, BID, ASK, AVAILABILITY)

JsonObject = Mapping[str, Any]
StreamedQuote = Callable[[str, Collection[str]], JsonObject | None]
"""Returns the latest quote of a contract that IBKR streams with all of these fields; None if there is none."""


def no_streamed_quote(_: str, __: Collection[str]) -> JsonObject | None:
    """For a profile without streams."""
    return None


async def estimate_order_values(
    context: CallContext,
    account: str | None,
    now: Callable[[], float] = time.time,
    streamed_quote: StreamedQuote = no_streamed_quote,
) -> tuple[Decimal | None, ...]:
    """The largest value of each ticket of an order call, in the account's base currency; None if it is not bounded.

    Args:
        context: the order call; a `BridgeError` of a read for it is not passed on.
        account: the account in the call's path; without one no ticket has a value, as the currency is unknown.
        now: the wall-clock time in seconds since 1970, to compare with the update time of a quote.
        streamed_quote: returns a quote that IBKR streams anyway: it needs no call and no market data line.
    """
    tickets = context.call.tickets.unambiguous
    conids = contract_ids(filter(None, map(contract_id_of, tickets)))
    if account is None or not conids or not all(_concerns_account(ticket, account) for ticket in tickets):
        return (None,) * len(tickets)
    definitions = await _fetch_definitions(context, conids)
    base = await _fetch_base_currency(context, account)
    rates = {
        each: await _fetch_exchange_rate(context, each, base)
        for each in dict.fromkeys(map(_currency_of, definitions.values()))
    }
    quoted = contract_ids(filter(None, (contract_id_of(ticket) for ticket in tickets if needs_quote(ticket))))
    quotes = await _find_quotes(context, quoted, now, streamed_quote)
    facts = {
        conid: InstrumentFacts(
            str(row.get("assetClass")),
            _parse_price(row.get("multiplier")),
            rates[_currency_of(row)],
            quotes.get(conid),
        )
        for conid, row in definitions.items()
    }
    return tuple(
        estimate_value(ticket, facts.get(contract_id_of(ticket) or "", InstrumentFacts())) for ticket in tickets
    )


def _concerns_account(ticket: TicketMembers, account: str) -> bool:
    """Whether the ticket names no other account; another one may have another base currency."""
    accounts = [value for name, value in ticket.items() if name.lower() in ACCOUNT_MEMBERS]
    return all(value in (None, "", account) for value in accounts)


# -- the reads


async def _fetch_definitions(context: CallContext, conids: list[str]) -> dict[str, JsonObject]:
    body = await _fetch_json(context, TRSRV_SECDEF, f"?conids={','.join(conids)}")
    rows = _rows_by_conid(body.get("secdef") if isinstance(body, dict) else None)
    return {conid: rows[conid] for conid in conids if conid in rows}


async def _fetch_base_currency(context: CallContext, account: str) -> str | None:
    """From the account's attributes: /portfolio/accounts has it too, but is limited to one call in 5 s."""
    body = await _fetch_json(context, (*PORTFOLIO, quote(account, safe=""), "meta"))
    is_it = isinstance(body, dict) and account in (body.get("accountId"), body.get("id"))
    return _currency_of(body) if is_it else None


async def _fetch_exchange_rate(context: CallContext, source: str | None, base: str | None) -> Decimal | None:
    """One unit of a currency in another."""
    if source is None or base is None or source == base:
        return ONE if source is not None and base is not None else None
    body = await _fetch_json(context, EXCHANGE_RATE, f"?source={source}&target={base}")
    return _parse_price(body.get("rate")) if isinstance(body, dict) else None


async def _find_quotes(
    context: CallContext, conids: list[str], now: Callable[[], float], streamed_quote: StreamedQuote
) -> dict[str, Quote | None]:
    """The current quotes of streams, and a snapshot of all other contracts."""
    rows = {conid: streamed_quote(conid, QUOTE_FIELDS) for conid in conids}
    streamed = {conid: read_quote(row, now()) for conid, row in rows.items() if row is not None}
    current = {conid: found for conid, found in streamed.items() if found is not None}
    return {**current, **await _fetch_quotes(context, [conid for conid in conids if conid not in current], now)}


async def _fetch_quotes(context: CallContext, conids: list[str], now: Callable[[], float]) -> dict[str, Quote | None]:
    if not conids:
        return {}
    fields = ",".join(QUOTE_FIELDS)
    body = await _fetch_json(context, SNAPSHOT, f"?conids={','.join(conids)}&fields={fields}")
    return {conid: read_quote(row, now()) for conid, row in _rows_by_conid(body).items()}


async def _fetch_json(context: CallContext, segments: tuple[str, ...], query: str = "") -> Any:
    """Fetch a response as JSON; None if that fails for any reason."""
    try:
        response = await fetch(context, Call("GET", api_path(segments) + query, request_headers(())))
    except BridgeError:
        return None
    discard(response)
    return _parse_exact(response.body) if response.status == 200 and response.body_stream is None else None


# -- reading the responses


def read_quote(row: JsonObject, now: float) -> Quote | None:
    """The highest price of a snapshot's row and its age; None if it is not known to be current.

    The price at which a halted market reopens is unknown; yesterday's close and a bid alone do not show it either. A
    close still counts among the prices of a row that has others.
    """
    last, updated = str(row.get(LAST) or ""), row.get(UPDATED)
    if not str(row.get(AVAILABILITY) or "").startswith(REAL_TIME) or last.startswith(HALTED):
        return None
    if not isinstance(updated, int) or isinstance(updated, bool) or not 0 < updated < MAX_TIME_MS:
        return None
    current_prices = [None if last.startswith(CLOSED) else _parse_price(last), _parse_price(row.get(ASK))]
    prices = [_parse_price(last.removeprefix(CLOSED)), _parse_price(row.get(BID)), *current_prices]
    positive_prices = [price for price in prices if price]
    return Quote(max(positive_prices), now - updated / 1000) if any(current_prices) else None


def _parse_price(value: object) -> Decimal | None:
    """A positive number, as JSON or as text; IBKR sends 0 if there is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    if isinstance(value, str) and not DISPLAYED_NUMBER.fullmatch(value):
        return None
    number = Decimal(value.replace(",", "") if isinstance(value, str) else value)
    return number if number.is_finite() and number > 0 else None


def _currency_of(row: JsonObject) -> str | None:
    currency = row.get("currency")
    return currency if isinstance(currency, str) and CURRENCY.fullmatch(currency) else None


def _rows_by_conid(rows: object) -> dict[str, JsonObject]:
    row_list: Iterable[Any] = rows if isinstance(rows, list) else ()
    return {str(row.get("conid")): row for row in row_list if isinstance(row, dict)}


def _parse_exact(body: bytes) -> Any:
    """A body as JSON, its numbers exactly as written; None if it is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # Decimal takes no exponent of twenty digits
        return None
