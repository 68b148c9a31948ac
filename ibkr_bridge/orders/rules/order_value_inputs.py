"""What an order's tickets are worth at most: gathers the facts that `value.py` reckons with.

Four reads at most, of those that are needed: the instruments' definitions, a quote where no limit bounds the price, the
account's base currency, exchange rates where currencies differ. A read that fails, or tells something odd, leaves its
fact unknown, and the value with it; that is never an error of its own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
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
REAL_TIME = "R"  # the first letter of 6509; delayed, frozen and unsubscribed ones are no price of now (OAS, SW2)
CLOSED, HALTED = "C", "H"  # before a last price: the day before's close; that of a market that is halted (SW2)
MAX_TIME_MS = 1e14  # milliseconds; a renewal thousands of years from now is none
DISPLAYED_NUMBER = re.compile(r"(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", re.ASCII)  # IBKR writes thousands separators
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
ACCOUNT_MEMBERS = frozenset({"acctid", "accountid", "account", "acct"})

JsonObject = Mapping[str, Any]


async def estimate_order_values(
    context: CallContext, account: str | None, now: Callable[[], float] = time.time
) -> tuple[Decimal | None, ...]:
    """The most each ticket of an order call is worth, in the account's base currency; None for what is not bounded.

    Args:
        context: the order call; what a read for it raises as a `BridgeError` goes no further.
        account: the one the call's path names; without one nothing has a value, as nobody knows in which currency.
        now: the wall's time, seconds since 1970: IBKR says of a quote when it was renewed.
    """
    tickets = context.call.tickets.unambiguous
    conids = contract_ids(filter(None, map(contract_id_of, tickets)))
    if account is None or not conids or not all(_concerns_account(ticket, account) for ticket in tickets):
        return (None,) * len(tickets)
    known = await _fetch_definitions(context, conids)
    base = await _fetch_base_currency(context, account)
    rates = {
        each: await _fetch_exchange_rate(context, each, base)
        for each in dict.fromkeys(map(_currency_of, known.values()))
    }
    quoted = contract_ids(filter(None, (contract_id_of(ticket) for ticket in tickets if needs_quote(ticket))))
    quotes = await _fetch_quotes(context, quoted, now)
    facts = {conid: _instrument_facts(row, rates[_currency_of(row)], quotes.get(conid)) for conid, row in known.items()}
    return tuple(
        estimate_value(ticket, facts.get(contract_id_of(ticket) or "", InstrumentFacts())) for ticket in tickets
    )


def _concerns_account(ticket: TicketMembers, account: str) -> bool:
    """Whether no other account is named in it, which may have another base currency."""
    named = [value for name, value in ticket.items() if name.lower() in ACCOUNT_MEMBERS]
    return all(value in (None, "", account) for value in named)


def _instrument_facts(row: JsonObject, rate: Decimal | None, quoted: Quote | None) -> InstrumentFacts:
    return InstrumentFacts(str(row.get("assetClass")), _parse_price(row.get("multiplier")), rate, quoted)


# -- the reads


async def _fetch_definitions(context: CallContext, conids: list[str]) -> dict[str, JsonObject]:
    told = await _told(context, TRSRV_SECDEF, f"?conids={','.join(conids)}")
    found = _rows_by_conid(told.get("secdef") if isinstance(told, dict) else None)
    return {conid: found[conid] for conid in conids if conid in found}


async def _fetch_base_currency(context: CallContext, account: str) -> str | None:
    """Told with the account's attributes: /portfolio/accounts tells the same, but only once in five seconds."""
    told = await _told(context, (*PORTFOLIO, quote(account, safe=""), "meta"))
    is_it = isinstance(told, dict) and account in (told.get("accountId"), told.get("id"))
    return _currency_of(told) if is_it else None


async def _fetch_exchange_rate(context: CallContext, source: str | None, base: str | None) -> Decimal | None:
    """One unit of a currency in another."""
    if source is None or base is None or source == base:
        return ONE if source is not None and base is not None else None
    told = await _told(context, EXCHANGE_RATE, f"?source={source}&target={base}")
    return _parse_price(told.get("rate")) if isinstance(told, dict) else None


async def _fetch_quotes(context: CallContext, conids: list[str], now: Callable[[], float]) -> dict[str, Quote | None]:
    if not conids:
        return {}
    fields = ",".join((LAST, BID, ASK, AVAILABILITY))
    told = await _told(context, SNAPSHOT, f"?conids={','.join(conids)}&fields={fields}")
    return {conid: read_quote(row, now()) for conid, row in _rows_by_conid(told).items()}


async def _told(context: CallContext, segments: tuple[str, ...], query: str = "") -> Any:
    """What a read tells; None where it tells nothing, for whatever reason."""
    try:
        response = await fetch(context, Call("GET", api_path(segments) + query, request_headers(())))
    except BridgeError:
        return None
    discard(response)
    return _parse_exact(response.body) if response.status == 200 and response.body_stream is None else None


# -- how they are read


def read_quote(row: JsonObject, now: float) -> Quote | None:
    """The highest price of a snapshot's row and its age; None where it is not known to be one of now.

    What a halted market will pay when it opens again nobody knows; yesterday's close and a bid alone tell nothing of it
    either. A close still counts among the prices of a row that has others.
    """
    last, updated = str(row.get(LAST) or ""), row.get(UPDATED)
    if not str(row.get(AVAILABILITY) or "").startswith(REAL_TIME) or last.startswith(HALTED):
        return None
    if not isinstance(updated, int) or isinstance(updated, bool) or not 0 < updated < MAX_TIME_MS:
        return None
    of_now = [None if last.startswith(CLOSED) else _parse_price(last), _parse_price(row.get(ASK))]
    prices = [_parse_price(last.removeprefix(CLOSED)), _parse_price(row.get(BID)), *of_now]
    known = [price for price in prices if price]
    return Quote(max(known), now - updated / 1000) if any(of_now) else None


def _parse_price(value: object) -> Decimal | None:
    """A positive number, as JSON or as text; 0 is how IBKR says that there is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    if isinstance(value, str) and not DISPLAYED_NUMBER.fullmatch(value):
        return None
    number = Decimal(value.replace(",", "") if isinstance(value, str) else value)
    return number if number.is_finite() and number > 0 else None


def _currency_of(row: JsonObject) -> str | None:
    told = row.get("currency")
    return told if isinstance(told, str) and CURRENCY.fullmatch(told) else None


def _rows_by_conid(rows: object) -> dict[str, JsonObject]:
    listed: Iterable[Any] = rows if isinstance(rows, list) else ()
    return {str(row.get("conid")): row for row in listed if isinstance(row, dict)}


def _parse_exact(body: bytes) -> Any:
    """A body as JSON, its numbers as they stand there; None where it is none."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # Decimal takes no exponent of twenty digits
        return None
