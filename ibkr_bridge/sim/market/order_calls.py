"""Placing, confirming, changing and cancelling orders.

IBKR holds one question at a time for a user. Any other order call before the reply cancels it: the reply id is then
"not found" and the order was never placed. A status of 200 does not mean success, since refusals have it too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ibkr_bridge.sim.market.availability import MISSING
from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.dispatch import (
    Handler,
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.previews import describe_preview, foresee
from ibkr_bridge.sim.market.questions import Change, PendingQuestion
from ibkr_bridge.sim.market.tickets import CONFIRMATION, BadTicketError, questions, read_ticket
from ibkr_bridge.sim.market.world import World

ALL_ORDERS = -1
PROMPT = (
    "If your order is not immediately executable, our systems may, depending on market conditions, reject your order "
    "if its limit price is more that the allowed amount away from the reference price at that time.\n"
    "Use the Price Management Algo?"
)
OPTIONS = ("Use on this order", "Always use", "Do not use")
CONSENTING_OPTIONS = frozenset({*OPTIONS[:2], "Yes"})
"""The order is placed only with one of these options."""
NO_QUOTES = (
    "21/You are trying to submit an order without having market data for this instrument. \n"
    "IB strongly recommends against this kind of blind trading which may result in erroneous or unexpected trades."
)


NO_QUOTES_QUESTION = "o354"


def order_call(handler: Handler) -> Handler:
    """Decorate a call that cancels the open question, and that answers an unreadable ticket with 500."""

    def call(world: World, request: MarketRequest) -> MarketResponse:
        world.questions.clear()
        try:
            return handler(world, request)
        except BadTicketError as problem:
            return error_response(500, str(problem))

    return call


@order_call
def place_orders(world: World, request: MarketRequest) -> MarketResponse:
    """Place one ticket, or a bracket of several tickets that belong together."""
    changes = [Change(None, order) for order in _read_orders(world, request)]
    return _refusal(world, request, changes) or _question_or_apply(world, request, changes)


@order_call
def modify_order(world: World, request: MarketRequest) -> MarketResponse:
    """Change an order; the body is the complete ticket, not a patch."""
    old = _find_order(world, request)
    if old is None or not old.is_working:
        return error_response(200, f"OrderID {request.parts['order']} doesn't exist")
    ticket = {"cOID": old.coid} | request.form
    order = read_ticket(ticket, old.account, world.quotes, request.now)
    changes = [Change(old.number, order)]
    return _refusal(world, request, changes) or _question_or_apply(world, request, changes)


@order_call
def cancel_order(world: World, request: MarketRequest) -> MarketResponse:
    """Cancel one order, or with -1 all orders of the account."""
    account, order = _read_account(world, request), _find_order(world, request)
    everything = request.parts["order"] == str(ALL_ORDERS)
    if not everything and (order is None or order.account != account or not order.is_working):
        return error_response(200, f"OrderID {request.parts['order']} doesn't exist")
    working = [each.number for each in world.book.orders(request.now) if each.is_working and each.account == account]
    world.book.cancel(working if order is None else [order.number], request.now)
    number, conid = (order.number, order.conid) if order else (ALL_ORDERS, ALL_ORDERS)
    return ok_response({"msg": "Request was submitted", "order_id": number, "conid": conid, "account": account})


def reply_to_question(world: World, request: MarketRequest) -> MarketResponse:
    """Answer the question if it is still open."""
    pending = world.questions.take_question(request.parts["reply"], world.sessions.brokerage)
    if pending is None:
        return error_response(400, f"reply id not found: '{request.parts['reply']}'")
    if request.form.get("confirmed") is not True:
        return error_response(200, "Order not confirmed ")
    return _question_or_apply(world, request, pending.changes, frozenset({*pending.confirmed, *pending.message_ids}))


@order_call
def whatif(world: World, request: MarketRequest) -> MarketResponse:
    """The cost of an order, without placing it; IBKR warns if no market data line of its contract is open."""
    order = _read_orders(world, request)[0]
    has_line = world.sessions.brokerage is not None and order.conid in world.sessions.brokerage.lines
    is_quoted = has_line and world.quotes.availability.kind_of(order.conid) != MISSING
    preview = describe_preview(foresee(world, order, request.now), order)
    return ok_response({**preview, "warn": None if is_quoted else NO_QUOTES})


def suppress_questions(world: World, request: MarketRequest) -> MarketResponse:
    """Do not ask these questions again in this brokerage session."""
    names = request.form.get("messageIds")
    if not isinstance(names, list) or len(names) > 51:
        return error_response(400, "Bad Request: messageIds")
    if world.sessions.brokerage:
        world.sessions.brokerage.suppressed = {str(name) for name in names}
    return ok_response({"status": "submitted"})


def reset_suppression(world: World, request: MarketRequest) -> MarketResponse:
    """Ask all questions again."""
    if world.sessions.brokerage:
        world.sessions.brokerage.suppressed.clear()
    return ok_response({"status": "submitted"})


def _question_or_apply(
    world: World, request: MarketRequest, changes: list[Change], confirmed: frozenset[str] = frozenset()
) -> MarketResponse:
    skipped = confirmed | (world.sessions.brokerage.suppressed if world.sessions.brokerage else set())
    unanswered: dict[str, str] = {}
    for change in changes:
        if world.quotes.availability.kind_of(change.order.conid) == MISSING and NO_QUOTES_QUESTION not in skipped:
            unanswered[NO_QUOTES_QUESTION] = f"{NO_QUOTES[3:]}\n{CONFIRMATION}"
        last = world.quotes.last_price(change.order.conid, request.now)
        present_order = None if change.order_number is None else world.book.find(change.order_number, request.now)
        unanswered |= {
            name: text
            for name, text in questions(change.order, last, present_order)
            if name not in skipped | {*unanswered}
        }
    if unanswered:
        names = tuple(unanswered) if world.questions.asks_together else tuple(unanswered)[:1]
        pending = world.questions.open_question(changes, confirmed, names, world.sessions.brokerage)
        return _question_response(pending, [unanswered[name] for name in names])
    return _send_prompt(world, changes) if request.fault == "prompt" else _apply_all(world, request, changes)


def _apply_all(world: World, request: MarketRequest, changes: list[Change]) -> MarketResponse:
    """Apply all changes, or none if a cOID was taken or an order ended while the question was open."""
    return _refusal(world, request, changes) or ok_response([_apply(world, change) for change in changes])


def _refusal(world: World, request: MarketRequest, changes: list[Change]) -> MarketResponse | None:
    """IBKR's refusal if it cannot accept these changes, whatever is confirmed; None if it can."""
    reasons = (_name_refusal, _change_refusal, _funds_refusal)
    words = next((words for reason in reasons if (words := reason(world, request.now, changes))), None)
    return None if words is None else error_response(200, words)


def _name_refusal(world: World, now: float, changes: list[Change]) -> str | None:
    """Whether a name is taken, or that of a parent is unknown."""
    new = [change.order for change in changes if change.order_number is None]
    names = [order.coid for order in new if order.coid]
    for name in names:
        if world.book.has_coid(name, now) or names.count(name) > 1:
            return f"Order couldn't be submitted: Local order ID={name} is already registered."
    for order in new:
        if order.parent and order.parent not in names and not world.book.has_coid(order.parent, now):
            # This text is invented; IBKR's own is not known.
            return f"Order couldn't be submitted: no order is called {order.parent}."
    return None


def _change_refusal(world: World, now: float, changes: list[Change]) -> str | None:
    """Whether an order that is to be changed has ended."""
    for number in (change.order_number for change in changes if change.order_number is not None):
        old = world.book.find(number, now)
        if old is None or not old.is_working:
            return f"OrderID {number} doesn't exist"
    return None


def _funds_refusal(world: World, now: float, changes: list[Change]) -> str | None:
    """Whether an account has not the funds for an order. The children of a bracket close what it opens."""
    parents = (change.order for change in changes if not change.order.parent)
    return next((words for order in parents if (words := foresee(world, order, now).funds_error)), None)


def _send_prompt(world: World, changes: list[Change]) -> MarketResponse:
    """Answer with a prompt, IBKR's other form of a question: the order has a number and waits for a notification."""
    first = changes[0]
    number = world.book.reserve_number() if first.order_number is None else first.order_number
    if first.order_number is None:
        changes = [replace(first, order=replace(first.order, number=number)), *changes[1:]]
    prompt = world.questions.open_prompt(number, changes, world.sessions.brokerage)
    members = {"options": list(OPTIONS), "type": "M", "messageId": "p12", "prompt": True}
    return ok_response({"orderId": number, "reqId": prompt.request_id, "dismissable": [], "text": PROMPT, **members})


def answer_prompt(world: World, request: MarketRequest) -> MarketResponse:
    """Answer a prompt. The response is always "Request was submitted"."""
    form = request.form
    number, request_id = str(form.get("orderId", "")), str(form.get("reqId", ""))
    prompt = (
        world.questions.take_prompt(int(number), request_id, world.sessions.brokerage) if number.isdigit() else None
    )
    if prompt is not None and form.get("text") in CONSENTING_OPTIONS:
        _apply_all(world, request, prompt.changes)
    return ok_response("Request was submitted")


def _question_response(pending: PendingQuestion, texts: list[str]) -> MarketResponse:
    options = {"messageIds": list(pending.message_ids), "messageOptions": ["Yes", "No"]}
    return ok_response([{"id": pending.id, "message": texts, "isSuppressed": False, **options}])


def _apply(world: World, change: Change) -> dict[str, Any]:
    book = world.book
    order = book.add(change.order) if change.order_number is None else book.change(change.order_number, change.order)
    row = {"order_id": str(order.number), "order_status": order.state, "encrypt_message": "1"}
    return row | ({"local_order_id": order.coid} if order.coid else {})


def _read_orders(world: World, request: MarketRequest) -> list[Order]:
    account = _read_account(world, request)
    return [read_ticket(ticket, account, world.quotes, request.now) for ticket in _tickets(request)]


def _tickets(request: MarketRequest) -> list[dict[str, Any]]:
    body = request.json()
    tickets = body.get("orders") if isinstance(body, dict) else body
    if not isinstance(tickets, list) or not tickets or not all(isinstance(each, dict) for each in tickets):
        raise BadTicketError("Bad Request: orders")
    return tickets


def _read_account(world: World, request: MarketRequest) -> str:
    account = request.parts["account"]
    return world.accounts[0] if account in world.groups else account  # this IBKR gives a group's orders to one account


def _find_order(world: World, request: MarketRequest) -> Order | None:
    number = request.parts["order"]
    return world.book.find(int(number), request.now) if number.isdigit() else None


ROUTES = (
    Route("POST", "/iserver/account/{account}/orders", place_orders, RequiredSession.ACCOUNTS),
    Route("POST", "/iserver/account/{account}/orders/whatif", whatif, RequiredSession.ACCOUNTS),
    Route("POST", "/iserver/account/{account}/order/{order}", modify_order, RequiredSession.ACCOUNTS),
    Route("DELETE", "/iserver/account/{account}/order/{order}", cancel_order, RequiredSession.ACCOUNTS),
    Route("POST", "/iserver/reply/{reply}", reply_to_question, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/notification", answer_prompt, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/questions/suppress", suppress_questions, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/questions/suppress/reset", reset_suppression, RequiredSession.BROKERAGE),
)
