"""Changing, cancelling and answering orders.

IBKR wants the complete ticket of a change, so it is made of what the order is now, and of what the journal knows of it.
"""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, read_struct
from ibkr_bridge.api.plain.journal import describe, fetch_row, find_placement, find_record, is_number, order_view
from ibkr_bridge.api.plain.order_calls import account_of, order_of, submit
from ibkr_bridge.api.plain.plain_reader import PlainReader
from ibkr_bridge.api.plain.symbol_resolution import (
    fetch_rules,
)
from ibkr_bridge.errors import (
    OrderInProgress,
    OrderNotFound,
    OrderNotPlaced,
    OrderNotWorking,
    ReplyNotFound,
)
from ibkr_bridge.ibkr import reads
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.models.base import Side
from ibkr_bridge.models.orders import Order, OrderChange, QuestionAnswer
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.server.app_keys import REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.request_parsing import idempotency_key
from ibkr_bridge.translation.contract_rules import check_change
from ibkr_bridge.translation.numbers import Row
from ibkr_bridge.translation.orders import (
    is_over,
    row_with_journal,
    row_with_ticket,
)
from ibkr_bridge.translation.ticket_changes import changed_ticket
from ibkr_bridge.translation.tickets import (
    encode_body,
)

NEVER_SENT = frozenset({None, OrderState.REFUSED})
NO_FURTHER_ANSWER = frozenset({OrderState.UNKNOWN, OrderState.SENDING})


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
    path = reads.modification(account_of(record, row), number)
    made = await submit(request, path, encode_body(ticket), identity=encode_body(change))
    if (pending := _pending_change(request, made)) is not None:
        return answer(pending)
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
    path = reads.modification(account_of(earlier, None), number)
    made = await submit(request, path, b"{}", identity=encode_body(change), must_not_be_sent=True)
    if (pending := _pending_change(request, made)) is not None:
        return answer(pending)
    row = await fetch_row(PlainReader(request), number)
    return answer(_describe_changed(request, record, row or {"orderId": number}))


def _pending_change(request: web.Request, made: OrderRecord | None) -> Order | None:
    """The change itself, as long as it is not made; None if it is.

    Raises:
        BridgeError: IBKR refused it.
    """
    order = order_of(request, made)
    return None if made is not None and made.state is OrderState.PLACED else order


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
    order_of(request, await submit(request, reads.cancel(account_of(made, row), number), b""))
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
        await submit(request, reads.reply(reply_id), body)
    answered = request[REQUEST_CONTEXT].order_record or record
    return answer(order_of(request, answered, is_wanted=sent.confirm))


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
