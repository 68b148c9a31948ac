"""Placing, confirming, changing and cancelling orders.

IBKR holds one question at a time for a user. Whatever other order call comes before the reply kills it: the reply id is
then "not found" and the order was never placed. That a request was answered with 200 says nothing; refusals do too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from ibkr_bridge.sim.market.questions import Change, Pending
from ibkr_bridge.sim.market.tickets import BadTicketError, questions, read_ticket
from ibkr_bridge.sim.market.world import World

EVERY_ORDER = -1
PROMPT = (
    "If your order is not immediately executable, our systems may, depending on market conditions, reject your order "
    "if its limit price is more that the allowed amount away from the reference price at that time.\n"
    "Use the Price Management Algo?"
)
OPTIONS = ("Use on this order", "Always use", "Do not use")
CONSENT = frozenset({*OPTIONS[:2], "Yes"})
"""Options with which the order is placed; with any other one it is not."""
NO_QUOTES = (
    "21/You are trying to submit an order without having market data for this instrument. \n"
    "IB strongly recommends against this kind of blind trading which may result in erroneous or unexpected trades."
)


def order_call(handler: Handler) -> Handler:
    """Mark a call that kills a hanging question, and whose unreadable tickets are answered with 500."""

    def call(world: World, ask: MarketRequest) -> MarketResponse:
        world.desk.clear()
        try:
            return handler(world, ask)
        except BadTicketError as problem:
            return error_response(500, str(problem))

    return call


@order_call
def place(world: World, ask: MarketRequest) -> MarketResponse:
    """Take one ticket, or a bracket: several that belong together."""
    changes = [Change(None, order) for order in _read(world, ask)]
    return _obstacle(world, ask, changes) or _ask_or_do(world, ask, changes)


@order_call
def modify(world: World, ask: MarketRequest) -> MarketResponse:
    """Change an order: the body is the whole ticket, not a patch."""
    old = _order(world, ask)
    if old is None or not old.is_working:
        return error_response(200, f"OrderID {ask.parts['order']} doesn't exist")
    ticket = {"cOID": old.coid} | ask.form
    order = read_ticket(ticket, old.account, world.quotes, ask.now)
    return _ask_or_do(world, ask, [Change(old.number, order)])


@order_call
def cancel(world: World, ask: MarketRequest) -> MarketResponse:
    """Ask for one order, or with -1 all orders of the account, to be cancelled."""
    account, order = _account(world, ask), _order(world, ask)
    everything = ask.parts["order"] == str(EVERY_ORDER)
    if not everything and (order is None or order.account != account or not order.is_working):
        return error_response(200, f"OrderID {ask.parts['order']} doesn't exist")
    working = [each.number for each in world.book.orders(ask.now) if each.is_working and each.account == account]
    world.book.cancel(working if order is None else [order.number], ask.now)
    number, conid = (order.number, order.conid) if order else (EVERY_ORDER, EVERY_ORDER)
    return ok_response({"msg": "Request was submitted", "order_id": number, "conid": conid, "account": account})


def reply(world: World, ask: MarketRequest) -> MarketResponse:
    """Answer the question that hangs, if it still does."""
    pending = world.desk.take(ask.parts["reply"], world.sessions.brokerage)
    if pending is None:
        return error_response(400, f"reply id not found: '{ask.parts['reply']}'")
    if ask.form.get("confirmed") is not True:
        return error_response(200, "Order not confirmed ")
    return _ask_or_do(world, ask, pending.changes, frozenset({*pending.confirmed, pending.asked}))


@order_call
def whatif(world: World, ask: MarketRequest) -> MarketResponse:
    """What an order would cost, without placing it; IBKR warns where the instrument's quotes are not open."""
    order = _read(world, ask)[0]
    worth = order.size * (order.price or world.quotes.last(order.conid, ask.now))
    sums = {"current": "1,000,000", "change": f"{worth / 4:,.2f}", "after": f"{1_000_000 - worth / 4:,.2f}"}
    amount = {"amount": f"{worth:,.2f} USD", "commission": "1 USD", "total": f"{worth + 1:,.2f} USD"}
    place_now = {"current": "0", "change": f"{order.size}", "after": f"{order.size}"}
    equity = {"equity": sums, "initial": sums, "maintenance": sums, "position": place_now}
    quoted = world.sessions.brokerage is not None and order.conid in world.sessions.brokerage.lines
    return ok_response({"amount": amount, **equity, "warn": None if quoted else NO_QUOTES, "error": None})


def suppress(world: World, ask: MarketRequest) -> MarketResponse:
    """Never ask these questions again in this brokerage session."""
    names = ask.form.get("messageIds")
    if not isinstance(names, list) or len(names) > 51:
        return error_response(400, "Bad Request: messageIds")
    if world.sessions.brokerage:
        world.sessions.brokerage.suppressed = {str(name) for name in names}
    return ok_response({"status": "submitted"})


def unsuppress(world: World, ask: MarketRequest) -> MarketResponse:
    """Ask everything again."""
    if world.sessions.brokerage:
        world.sessions.brokerage.suppressed.clear()
    return ok_response({"status": "submitted"})


def _ask_or_do(
    world: World, ask: MarketRequest, changes: list[Change], confirmed: frozenset[str] = frozenset()
) -> MarketResponse:
    quiet = confirmed | (world.sessions.brokerage.suppressed if world.sessions.brokerage else set())
    for change in changes:
        last = world.quotes.last(change.order.conid, ask.now)
        before = None if change.number is None else world.book.find(change.number, ask.now)
        for name, text in questions(change.order, last, before):
            if name not in quiet:
                return _question(world.desk.open_question(changes, confirmed, name, world.sessions.brokerage), text)
    return _prompt(world, changes) if ask.fault == "prompt" else _do(world, ask, changes)


def _do(world: World, ask: MarketRequest, changes: list[Change]) -> MarketResponse:
    """All of it, or nothing where a name was taken or an order ended while the question hung."""
    return _obstacle(world, ask, changes) or ok_response([_done(world, change) for change in changes])


def _obstacle(world: World, ask: MarketRequest, changes: list[Change]) -> MarketResponse | None:
    """Why IBKR cannot take these as they are, whatever is confirmed; None if it can."""
    new = [change.order for change in changes if change.number is None]
    names = [order.coid for order in new if order.coid]
    for name in names:
        if world.book.knows(name, ask.now) or names.count(name) > 1:
            return error_response(200, f"Order couldn't be submitted: Local order ID={name} is already registered.")
    for order in new:
        if order.parent and order.parent not in names and not world.book.knows(order.parent, ask.now):
            # The words are ours; IBKR's own are not known.
            return error_response(200, f"Order couldn't be submitted: no order is called {order.parent}.")
    for number in (change.number for change in changes if change.number is not None):
        old = world.book.find(number, ask.now)
        if old is None or not old.is_working:
            return error_response(200, f"OrderID {number} doesn't exist")
    return None


def _prompt(world: World, changes: list[Change]) -> MarketResponse:
    """The other way of asking back: the order has its number already, and waits for a notification's answer."""
    first = changes[0]
    number = world.book.number() if first.number is None else first.number
    if first.number is None:
        changes = [replace(first, order=replace(first.order, number=number)), *changes[1:]]
    prompt = world.desk.prompt(number, changes, world.sessions.brokerage)
    about = {"options": list(OPTIONS), "type": "M", "messageId": "p12", "prompt": True}
    return ok_response({"orderId": number, "reqId": prompt.request, "dismissable": [], "text": PROMPT, **about})


def notify(world: World, ask: MarketRequest) -> MarketResponse:
    """Answer a prompt; that the request was submitted is all that is ever said."""
    form = ask.form
    number, request = str(form.get("orderId", "")), str(form.get("reqId", ""))
    prompt = world.desk.answered(int(number), request, world.sessions.brokerage) if number.isdigit() else None
    if prompt is not None and form.get("text") in CONSENT:
        _do(world, ask, prompt.changes)
    return ok_response("Request was submitted")


def _question(pending: Pending, text: str) -> MarketResponse:
    options = {"messageIds": [pending.asked], "messageOptions": ["Yes", "No"]}
    return ok_response([{"id": pending.id, "message": [text], "isSuppressed": False, **options}])


def _done(world: World, change: Change) -> dict[str, Any]:
    book = world.book
    order = book.add(change.order) if change.number is None else book.change(change.number, change.order)
    done = {"order_id": str(order.number), "order_status": order.state, "encrypt_message": "1"}
    return done | ({"local_order_id": order.coid} if order.coid else {})


def _read(world: World, ask: MarketRequest) -> list[Order]:
    account = _account(world, ask)
    return [read_ticket(ticket, account, world.quotes, ask.now) for ticket in _tickets(ask)]


def _tickets(ask: MarketRequest) -> list[dict[str, Any]]:
    body = ask.json()
    tickets = body.get("orders") if isinstance(body, dict) else body
    if not isinstance(tickets, list) or not tickets or not all(isinstance(each, dict) for each in tickets):
        raise BadTicketError("Bad Request: orders")
    return tickets


def _account(world: World, ask: MarketRequest) -> str:
    if ask.parts["account"] not in world.accounts:
        raise BadTicketError("Bad Request: invalid account")
    return ask.parts["account"]


def _order(world: World, ask: MarketRequest) -> Order | None:
    number = ask.parts["order"]
    return world.book.find(int(number), ask.now) if number.isdigit() else None


ROUTES = (
    Route("POST", "/iserver/account/{account}/orders", place, RequiredSession.ACCOUNTS),
    Route("POST", "/iserver/account/{account}/orders/whatif", whatif, RequiredSession.ACCOUNTS),
    Route("POST", "/iserver/account/{account}/order/{order}", modify, RequiredSession.ACCOUNTS),
    Route("DELETE", "/iserver/account/{account}/order/{order}", cancel, RequiredSession.ACCOUNTS),
    Route("POST", "/iserver/reply/{reply}", reply, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/notification", notify, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/questions/suppress", suppress, RequiredSession.BROKERAGE),
    Route("POST", "/iserver/questions/suppress/reset", unsuppress, RequiredSession.BROKERAGE),
)
