"""Placing and previewing orders: what a ticket needs of IBKR before it is sent, and that a repeat is none."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, replace

import msgspec
from aiohttp import web

from ibkr_bridge.api.plain.accounts import find_account
from ibkr_bridge.api.plain.answers import answer, read_struct
from ibkr_bridge.api.plain.order_calls import call_context, order_of, submit
from ibkr_bridge.api.plain.plain_reader import PlainReader, if_soon, to_fetched
from ibkr_bridge.api.plain.symbol_resolution import (
    SYMBOL_HINT,
    fetch_instruments,
    fetch_rules,
    resolve_symbol,
    the_first,
)
from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.errors import (
    ValidationFailed,
)
from ibkr_bridge.ibkr import reads
from ibkr_bridge.ibkr.reads import Subject
from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.models.orders import BRIDGE_COID_PREFIX, Order, OrderTicket
from ibkr_bridge.server.app_keys import profile_of
from ibkr_bridge.server.request_parsing import idempotency_key
from ibkr_bridge.translation.contract_rules import check_rules
from ibkr_bridge.translation.instruments import SymbolQuery, parse_symbol
from ibkr_bridge.translation.numbers import to_conid
from ibkr_bridge.translation.order_answers import read_preview
from ibkr_bridge.translation.tickets import (
    check_ticket,
    placement_body,
)

NAME_CHARACTERS = 24  # of a name that the bridge gives a parent order


@dataclass(frozen=True)
class Placement:
    """One order to place."""

    account: str
    body: bytes
    instrument: Instrument | None
    """None if IBKR does not describe it."""
    is_repeat: bool = False
    """Whether the journal answers it: it repeats an order, and was not checked as a new one is."""


async def place_order(request: web.Request) -> web.Response:
    """Place one order; the answer may be a question of IBKR's."""
    placement = await _read_placement(request, is_order=True)
    path = reads.placement(placement.account)
    record = await submit(request, path, placement.body, must_not_be_sent=placement.is_repeat)
    return answer(_with_instrument(order_of(request, record), placement.instrument))


async def preview_order(request: web.Request) -> web.Response:
    """What an order would cost, and what it would do to the account. Nothing is placed."""
    placement = await _read_placement(request, is_order=False)
    context = call_context(request, reads.preview(placement.account), placement.body)
    try:
        response = await profile_of(request).execute(context)
    except CallerGone as exc:
        raise ConnectionResetError("the caller disconnected") from exc
    fetched = await to_fetched(request, context, response, Subject.INSTRUMENT)
    return answer(read_preview(fetched.value))


async def _read_placement(request: web.Request, *, is_order: bool) -> Placement:
    """The order of a request, with its account and its instrument.

    Args:
        is_order: whether it is to be placed, and not only previewed.

    Raises:
        BridgeError: the ticket is not valid, or its account or instrument does not exist.
    """
    ticket = await read_struct(request, OrderTicket)
    check_ticket(ticket)
    again = await _repeated_conid(request, ticket) if is_order else None
    if again is not None:
        return replace(_placement(request, ticket, request.match_info["id"], again, None), is_repeat=True)
    needed, optional = PlainReader(request, serves_order=is_order), PlainReader(request)
    account = await find_account(request, needed)
    conid = ticket.conid or await resolve_symbol(needed, _symbol_of(ticket))
    instrument, rules = await asyncio.gather(
        _describe(optional, ticket, conid), fetch_rules(optional, conid, ticket.side)
    )
    if rules is not None:
        check_rules(ticket, account.id, rules)
    return _placement(request, ticket, account.id, conid, instrument)


async def _describe(reader: PlainReader, ticket: OrderTicket, conid: int) -> Instrument | None:
    """The instrument of a ticket; None if IBKR does not say: then it says at the placement whether it has it.

    Raises:
        InstrumentNotFound: there is none.
    """
    found = await if_soon(fetch_instruments(reader, [conid]))
    return the_first(found, "conid" if ticket.conid else "symbol") if found is not None else None


async def _repeated_conid(request: web.Request, ticket: OrderTicket) -> int | None:
    """The instrument of the order that this request may repeat; None if it repeats none.

    A repeated request gets the answer of the first one whatever happens to IBKR meanwhile, so it must ask IBKR nothing.
    Whether it is the same request is for the journal to say, which compares the bodies.
    """
    repository = profile_of(request).orders.repository
    earlier = await repository.find_by_identity(idempotency_key(request), ticket.client_order_id)
    if earlier is None or not earlier.tickets or earlier.account != request.match_info["id"]:
        return None
    return ticket.conid or to_conid(earlier.tickets[0].get("conid"))


def _placement(
    request: web.Request, ticket: OrderTicket, account: str, conid: int, instrument: Instrument | None
) -> Placement:
    """The placement. Its body depends on the request alone: sent again with its key, it must be the same."""
    symbol = _symbol_of(ticket).symbol if ticket.symbol is not None else None
    return Placement(account, placement_body(ticket, conid, symbol, _parent_name(request)), instrument)


def _symbol_of(ticket: OrderTicket) -> SymbolQuery:
    """The symbol of a ticket.

    Raises:
        ValidationFailed: it is none.
    """
    query = parse_symbol(ticket.symbol or "")
    if query is None:
        raise ValidationFailed("this is not a symbol", field="symbol", hint=SYMBOL_HINT)
    return query


def _with_instrument(order: Order, instrument: Instrument | None) -> Order:
    """The order with what is known of its instrument."""
    if instrument is None:
        return order
    return msgspec.structs.replace(
        order, symbol=instrument.symbol, asset_class=instrument.asset_class, currency=instrument.currency
    )


def _parent_name(request: web.Request) -> str:
    """A name for the parent of a bracket: the same one if the same request is sent again with its Idempotency-Key."""
    key = idempotency_key(request)
    text = hashlib.sha256(key.encode()).hexdigest() if key else secrets.token_hex(NAME_CHARACTERS)
    return f"{BRIDGE_COID_PREFIX}b-{text[:NAME_CHARACTERS]}"
