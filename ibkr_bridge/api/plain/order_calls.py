"""Placing, changing, answering, cancelling and previewing orders.

Each of these becomes one order call of IBKR's, which goes the way of every order: rules, lock, journal, stages. The
answer is the order as the journal has it then; what IBKR refused is an error with the order in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec
from aiohttp import web

from ibkr_bridge.api.order_submission import submit_order
from ibkr_bridge.api.plain.accounts import find_account
from ibkr_bridge.api.plain.answers import answer, read_struct
from ibkr_bridge.api.plain.journal import describe, fetch_row, find_placement, find_record, is_number, order_view
from ibkr_bridge.api.plain.plain_reader import PlainReader, to_fetched
from ibkr_bridge.api.plain.symbol_resolution import (
    ORDER_CHECK_TIMEOUT_S,
    SYMBOL_HINT,
    fetch_instruments,
    fetch_rules,
    resolve_symbol,
    the_first,
)
from ibkr_bridge.calls.context import CallContext, CallerGone
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import (
    BridgeError,
    OrderInProgress,
    OrderNotFound,
    OrderNotPlaced,
    OrderNotWorking,
    OrderRejected,
    ReplyNotFound,
    ValidationFailed,
)
from ibkr_bridge.ibkr import reads
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.ibkr.reads import OrderPath, Subject
from ibkr_bridge.models.base import Side
from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.models.orders import BRIDGE_COID_PREFIX, Order, OrderChange, OrderTicket, QuestionAnswer
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.server.app_keys import DRAIN, REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.request_parsing import build_context, idempotency_key
from ibkr_bridge.translation.contract_rules import check_change, check_rules
from ibkr_bridge.translation.instruments import SymbolQuery, parse_symbol
from ibkr_bridge.translation.numbers import Row, to_conid
from ibkr_bridge.translation.order_answers import read_preview
from ibkr_bridge.translation.orders import (
    is_over,
    row_with_journal,
    row_with_ticket,
)
from ibkr_bridge.translation.ticket_changes import changed_ticket
from ibkr_bridge.translation.tickets import (
    check_ticket,
    encode_body,
    placement_body,
)

NAME_CHARACTERS = 24  # of a name that the bridge gives a parent order
NEVER_SENT = frozenset({None, OrderState.REFUSED})
GONE_WORDS = "doesn't exist"  # IBKR's of an order that has ended: `OrderID 12 doesn't exist`
UNCHANGED_HINT = "the order itself is as it was: GET /orders/{id} shows it; do not send it as a new one"
NO_FURTHER_ANSWER = frozenset({OrderState.UNKNOWN, OrderState.SENDING})


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
    await _submit(request, reads.placement(placement.account), placement.body, must_not_be_sent=placement.is_repeat)
    record = request[REQUEST_CONTEXT].order_record
    return answer(_with_instrument(_order_of(request, record), placement.instrument))


async def preview_order(request: web.Request) -> web.Response:
    """What an order would cost, and what it would do to the account. Nothing is placed."""
    placement = await _read_placement(request, is_order=False)
    context = _context(request, reads.preview(placement.account), placement.body)
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
    try:
        async with asyncio.timeout(ORDER_CHECK_TIMEOUT_S):
            found = await fetch_instruments(reader, [conid])
    except (TimeoutError, BridgeError):
        return None
    return the_first(found, "conid" if ticket.conid else "symbol")


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


async def change_order(request: web.Request) -> web.Response:
    """Change a working order. While IBKR asks about the change, the answer is the change itself, to be answered."""
    change = await read_struct(request, OrderChange)
    record, number = await _placed(request)
    earlier = await _earlier_change(request, number)
    if earlier is not None:
        return await _repeat_change(request, change, record, earlier, number)
    row = await fetch_row(PlainReader(request, serves_order=True), number)
    if row is None:
        raise OrderNotFound("IBKR has no such order, or does not say what it is now")
    if is_over(row):
        raise OrderNotWorking("the order is over: it was filled, cancelled or rejected")
    row = row_with_journal(row, await _ticket_of(request, record, number))
    ticket = changed_ticket(row, change)
    rules = await fetch_rules(PlainReader(request), ticket["conid"], Side(ticket["side"].lower()))
    if rules is not None:
        check_change(change, rules)
    path = reads.modification(_account_of(record, row), number)
    await _submit(request, path, encode_body(ticket), identity=encode_body(change))
    made = request[REQUEST_CONTEXT].order_record
    order = _order_of(request, made)
    if made is None or made.state is not OrderState.PLACED:
        return answer(order)
    return answer(_describe_changed(request, record, row_with_ticket(row, ticket)))


async def _ticket_of(request: web.Request, record: OrderRecord | None, number: str) -> Row:
    """What the journal knows of the ticket of an order; empty if it was made elsewhere."""
    if record is not None:
        return order_view(request).ticket_of(record)
    parent = await find_placement(request, number)
    return dict(zip(parent.order_ids, parent.tickets, strict=False)).get(number, {}) if parent is not None else {}


async def _earlier_change(request: web.Request, number: str) -> OrderRecord | None:
    """The change of this order that was sent with the key of the request; None if there is none."""
    earlier = await profile_of(request).orders.repository.find_by_identity(idempotency_key(request), None)
    if earlier is None or earlier.operation is not OrderOperation.MODIFY or earlier.state in NEVER_SENT:
        return None
    return earlier if earlier.match_criteria.get("order") == number else None


async def _repeat_change(
    request: web.Request, change: OrderChange, record: OrderRecord | None, earlier: OrderRecord, number: str
) -> web.Response:
    """The answer to a change that is sent again with its key: nothing is sent, whatever the order is by now.

    Raises:
        IdempotencyMismatch: the key belongs to another change.
    """
    path = reads.modification(_account_of(earlier, None), number)
    await _submit(request, path, b"{}", identity=encode_body(change), must_not_be_sent=True)
    made = request[REQUEST_CONTEXT].order_record
    order = _order_of(request, made)
    if made is None or made.state is not OrderState.PLACED:
        return answer(order)
    row = await fetch_row(PlainReader(request), number)
    return answer(_describe_changed(request, record, row or {"orderId": number}))


def _describe_changed(request: web.Request, record: OrderRecord | None, row: Row) -> Order:
    order = describe(request, record, (row,)) if record is not None else order_view(request).describe_row(row)
    if order is None:
        raise OrderNotFound("IBKR has no such order")
    return order


async def cancel_order(request: web.Request) -> web.Response:
    """Cancel an order. An open question of IBKR's about it is answered with no."""
    record = await find_record(request, request.match_info["id"])
    if record is not None and record.state is OrderState.QUESTION:
        return await _answer_question(request, record, QuestionAnswer(confirm=False))
    record, number = await _placed(request)
    made = record or await find_placement(request, number)  # a child of a bracket is in the journal with its parent
    row = None if made is not None else await fetch_row(PlainReader(request, serves_order=True), number)
    await _submit(request, reads.cancel(_account_of(made, row), number), b"")
    _order_of(request, request[REQUEST_CONTEXT].order_record)
    return answer(_describe_changed(request, record, {**(row or {}), "orderId": number, "status": "PendingCancel"}))


async def answer_question(request: web.Request) -> web.Response:
    """Answer IBKR's question about an order. The answer no is a success: the order is then not placed."""
    sent = await read_struct(request, QuestionAnswer)
    record = await find_record(request, request.match_info["id"])
    if record is None:
        raise OrderNotFound("there is no such order")
    return await _answer_question(request, record, sent)


async def _answer_question(request: web.Request, record: OrderRecord, sent: QuestionAnswer) -> web.Response:
    reply_id = sent.question_id or next(iter(record.reply_ids), None)
    if reply_id is None or reply_id not in (*record.reply_ids, *record.sent_replies):
        raise ReplyNotFound("the order has no such question", field="question_id")
    body = encode_body({"confirmed": sent.confirm})
    with suppress(*() if sent.confirm else (OrderNotPlaced,)):  # that is what a no asks for
        await _submit(request, reads.reply(reply_id), body)
    answered = request[REQUEST_CONTEXT].order_record or record
    return answer(_order_of(request, answered, is_wanted=sent.confirm))


async def _placed(request: web.Request) -> tuple[OrderRecord | None, str]:
    """The record and IBKR's number of the order that the path names.

    Raises:
        OrderNotFound: there is none that IBKR has.
        OrderInProgress: nobody knows yet whether IBKR has it.
    """
    order_id = request.match_info["id"]
    record = await find_record(request, order_id)
    number = next(iter(record.order_ids), None) if record is not None else order_id
    if number is not None and is_number(number):
        return record, number
    if record is not None and record.state in NO_FURTHER_ANSWER:
        raise OrderInProgress("it is not known yet whether IBKR has this order", retry_after=5.0)
    raise OrderNotFound("IBKR has no such order")


def _account_of(record: OrderRecord | None, row: Row | None) -> str:
    """The account of an order.

    Raises:
        OrderNotFound: nothing says which one it is.
    """
    account = record.account if record is not None else None
    account = account or (str(row["acct"]) if row is not None and row.get("acct") else None)
    if account is None:
        raise OrderNotFound("IBKR has no such order")
    return account


async def _submit(
    request: web.Request, path: OrderPath, body: bytes, *, identity: bytes = b"", must_not_be_sent: bool = False
) -> None:
    """Submit an order call.

    Args:
        identity: what the caller wrote, if the body was made from it and from what IBKR shows now.
        must_not_be_sent: whether it is a repetition, whose answer the journal has.
    """
    context = _context(request, path, body)
    if must_not_be_sent:
        context.preconditions.append(_refuse_repeat)
    request_context = request[REQUEST_CONTEXT]
    request_context.timing = context.timing
    with request.app[DRAIN].order_counter:
        await submit_order(request, profile_of(request), context, path.segments, identity)
    request_context.source = context.source


def _refuse_repeat(_: CallContext) -> None:
    """Stop the repeat of an order that has ended meanwhile: its instrument was taken from that order."""
    raise OrderInProgress("the order that this call repeats has just ended", retry_after=1.0)


def _context(request: web.Request, path: OrderPath, body: bytes) -> CallContext:
    endpoint = endpoint_of(path.method, path.target)
    headers = request_headers(JSON_HEADERS if body else ())
    call = Call(path.method, path.target, headers, body, is_change=endpoint.effect is not Effect.READ)
    return build_context(request, call, endpoint, path.segments, max_wait_s=profile_of(request).settings.max_wait_s)


def _order_of(request: web.Request, record: OrderRecord | None, *, is_wanted: bool = True) -> Order:
    """The order that a call has made or changed.

    Args:
        record: what was sent.
        is_wanted: whether the caller wanted the order to be placed.

    Raises:
        OrderRejected, OrderNotWorking, OrderNotPlaced: IBKR refused it.
    """
    if record is None:
        raise OrderNotFound("the journal has no such order")
    order = describe(request, record)
    if record.state is OrderState.REJECTED or (record.state is OrderState.NOT_PLACED and is_wanted):
        raise _refusal(record, order)
    return order


def _refusal(record: OrderRecord, order: Order) -> BridgeError:
    words, members = order.error or "without a reason", {"order": msgspec.to_builtins(order)}
    if record.state is OrderState.NOT_PLACED:
        hint = None if record.operation is OrderOperation.PLACE else UNCHANGED_HINT
        return OrderNotPlaced(f"order {record.id} is not placed: {words}", hint=hint, members=members)
    if record.operation is OrderOperation.CANCEL:
        return OrderNotWorking(f"IBKR did not cancel it: {words}", members=members)
    if record.operation is OrderOperation.MODIFY and GONE_WORDS in words:
        return OrderNotWorking(f"IBKR did not change it: {words}", members=members)
    if record.operation is OrderOperation.MODIFY:
        return OrderRejected(f"IBKR rejected the change: {words}", hint=UNCHANGED_HINT, members=members)
    return OrderRejected(f"IBKR rejected it: {words}", members=members)
