"""IBKR's questions: passed to the caller unchanged, confirmed if the request allows it, declined after 60 s.

A question belongs to the key whose order it is about, and its id can be used once. The bridge confirms a question by
itself only if the request names all its messages (X-Bridge-Confirm). It declines a question that nobody answers in
time, since an open question keeps all other callers from placing orders.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.context import CallerGone, FirstByteHook
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call, Response, noop, read_fully
from ibkr_bridge.calls.order_tickets import OrderTickets
from ibkr_bridge.errors import BadRequest, BridgeError, OrderInProgress, OrderNotPlaced, OrderUnknown, ReplyNotFound
from ibkr_bridge.ibkr.catalogue import REPLY, api_path
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.exchange import ExchangeStep, OrderExchange
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord, StoredResponse
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.settled_rows import Names
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.replay import join, stored_response
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.response import OrderOutcome, Question, interpret_partial_reply, interpret_placement
from ibkr_bridge.orders.serialization import OrderLock, PendingQuestion
from ibkr_bridge.orders.tickets import check_names

LOCKED_DECLINE_WAIT_S = 1.0
"""Seconds; other orders wait for the lock meanwhile, and IBKR drops its question with the session anyhow."""
DECLINE_WAIT_S = 10.0  # seconds; longer than the keeper needs to find the session ready after a start
MAX_CONFIRMATIONS = 20  # questions the bridge confirms for one call; clients that loop allow as many
NO_REPLY = "no reply came in time"
DECLINED_BY_CALLER = "its caller declined"
ENDED_BY_CANCEL = "a cancel was sent in between, which ends IBKR's question"
SendReply = Callable[[Call, float], Awaitable[None]]
"""Sends a call of the bridge's own, waiting at most so many seconds for session and admission; errors are ignored."""


class Questions:
    """The questions of one profile."""

    def __init__(self, repository: OrderRepository, lock: OrderLock) -> None:
        self._repository = repository
        self._lock = lock
        self._to_decline: deque[str] = deque()
        self.exchange = OrderExchange(repository, self.decline_later)

    def __repr__(self) -> str:
        return f"<Questions {self._lock.pending!r}, {len(self._to_decline)} to decline>"

    async def confirm_listed(
        self, record: OrderRecord, order_request: OrderRequest, response: Response, outcome: OrderOutcome
    ) -> Response:
        """Confirm the questions that the caller allowed, and return the last response.

        If the last response is a question, the lock is held until the caller replies.

        Raises:
            BridgeError: a confirmation was sent and its response was lost.
        """
        rounds = 0
        while (question := outcome.question) is not None:
            if rounds >= MAX_CONFIRMATIONS or not _may_confirm(order_request, question):
                self._lock.hold_for_question(record, question, order_request.facts)
                return response
            rounds += 1
            try:
                response, outcome = await self._send_confirmation(record, order_request, question.replies[0])
            except (BridgeError, CallerGone):
                if record.state is not OrderState.QUESTION:
                    raise
                # The confirmation was not sent, so the caller may still reply.
                self._lock.hold_for_question(record, question, order_request.facts)
                return response
        return response

    async def _send_confirmation(
        self, record: OrderRecord, order_request: OrderRequest, reply_id: str
    ) -> tuple[Response, OrderOutcome]:
        entry_facts = {"reply": reply_id, "by": "X-Bridge-Confirm", "request": order_request.request_id}
        facts = replace(order_request.facts, operation=OrderOperation.REPLY, is_declining=False)
        call = build_reply_call(reply_id, confirmed=True)
        step = ExchangeStep(call, facts, OrderEvent.CONFIRMED, entry_facts, interpret_placement)
        return await self.exchange.run(record, order_request, step)

    # -- replies of callers

    async def submit_reply(self, order_request: OrderRequest) -> Response:
        """Send a caller's reply to an open question.

        Raises:
            ReplyNotFound: no question has this id, or it is over.
            OrderInProgress: it belongs to another key, or another reply to it is being sent.
            BridgeError: nothing was sent, or the response was lost.
        """
        reply, pending = order_request.path_id, self._lock.pending
        of_this = pending is not None and reply in pending.question.replies
        if not of_this:
            await self._repository.restore_named(Names(replies=(reply,)))
            pending = self._lock.pending
            of_this = pending is not None and reply in pending.question.replies
        record = pending.record if pending is not None and of_this else self._repository.index.find_by_reply(reply)
        if record is None:
            raise ReplyNotFound("no question of this bridge has this id")
        if record.owner != order_request.owner:
            raise OrderInProgress("this question belongs to an order that was sent with another key")
        order_request.record = record
        if reply in record.sent_replies:
            return await self._replay_reply(record, order_request)
        if pending is None or not of_this:
            raise ReplyNotFound("this question is over")
        return await self._send_reply(pending, record, order_request)

    async def _replay_reply(self, record: OrderRecord, order_request: OrderRequest) -> Response:
        fingerprint, stored = record.sent_replies[order_request.path_id]
        if fingerprint != order_request.fingerprint:
            raise ReplyNotFound("this question was answered with another reply")
        in_flight = record.in_flight
        if in_flight is not None and not in_flight.done.is_set():
            order_request.source = "shared"
            return await join(record, in_flight, order_request)
        order_request.source = "cache" if stored is not None else "bridge"
        if stored is None and record.state is OrderState.NOT_PLACED:
            raise declined_response(record)
        return stored.as_response if stored is not None else stored_response(record)

    async def _send_reply(self, pending: PendingQuestion, record: OrderRecord, order_request: OrderRequest) -> Response:
        declines = is_declining(order_request.call.tickets)
        if pending.is_answered:
            raise OrderInProgress("another reply to this question is being sent", retry_after=1.0)
        pending.is_answered = True
        order_request.facts = replace(pending.facts, operation=order_request.facts.operation, is_declining=declines)
        in_flight = record.in_flight = InFlightOrder(order_request.fingerprint, [order_request.is_connected])
        work = (
            self._decline_for_caller(record, order_request)
            if declines
            else self._confirm_for_caller(record, order_request)
        )
        try:
            return await in_flight.run(work)
        finally:
            record.in_flight = None
            if record.state is OrderState.QUESTION and self._lock.pending is pending:
                pending.is_answered = False  # the reply was not sent
            elif record.state is not OrderState.QUESTION and not pending.is_over:
                self._lock.release(record)

    async def _confirm_for_caller(self, record: OrderRecord, order_request: OrderRequest) -> Response:
        await order_request.check_rules()
        facts = {
            "reply": order_request.path_id,
            "by": "its caller",
            "request": order_request.request_id,
            "fingerprint": order_request.fingerprint,
        }
        rest = tuple(reply for reply in record.reply_ids if reply != order_request.path_id)
        step = ExchangeStep(
            order_request.call,
            order_request.facts,
            OrderEvent.CONFIRMED,
            facts,
            lambda status, body: interpret_partial_reply(status, body, rest),
        )
        response, outcome = await self.exchange.run(record, order_request, step)
        return await self.confirm_listed(record, order_request, response, outcome)

    async def _decline_for_caller(self, record: OrderRecord, order_request: OrderRequest) -> Response:
        await order_request.check_rules()
        facts = {
            "reply": order_request.path_id,
            "error": DECLINED_BY_CALLER,
            "request": order_request.request_id,
            "fingerprint": order_request.fingerprint,
        }

        async def write_entry() -> None:
            if record.state is not OrderState.QUESTION:
                raise ReplyNotFound("this question is over")
            # A decline places nothing, so it does not wait for the disk: a full disk must not keep a caller from it.
            self._repository.append_eventually(
                record, OrderEvent.LOST if record.order_ids else OrderEvent.DECLINED, facts
            )

        on_late_response = noop  # a late response to a decline changes nothing
        try:
            response = await order_request.send(
                *(order_request.call, order_request.facts, FirstByteHook(write_entry)),
                *(order_request.is_connected, on_late_response),
            )
            response = decompress(await read_fully(response))
        except OrderUnknown as exc:  # only the response to the decline is lost: nothing was ever confirmed
            raise declined_response(record) from exc
        record.sent_replies[order_request.path_id] = (order_request.fingerprint, StoredResponse.from_response(response))
        return response

    # -- questions that nobody answers

    def on_cancel_sent(self) -> None:
        """A cancel was sent in between: IBKR has dropped its question."""
        pending = self._lock.pending
        if pending is not None and pending.record.state is OrderState.QUESTION:
            self._repository.end_question(pending.record, OrderEvent.DROPPED, {"error": ENDED_BY_CANCEL})
            self._lock.release(pending.record)

    def decline_later(self, reply_id: str) -> None:
        """Decline a question that no caller waits for at the next opportunity."""
        self._to_decline.append(reply_id)
        self._lock.on_question()  # wakes the loop that declines

    async def decline_expired(self, now: float, send: SendReply) -> None:
        """Decline a question whose time is over, and all that no caller waits for.

        Args:
            now: the time of the profile's clock.
            send: see `SendReply`.
        """
        await self._decline_abandoned(send)
        pending = self._lock.pending
        if pending is None or now < pending.expires_at or pending.record.state is not OrderState.QUESTION:
            return
        if self._repository.is_writing(pending.record):
            return  # a reply is about to be sent; it changes the order's state, which starts another round
        pending.is_over = True  # a reply that still waits for admission is too late
        self._repository.end_question(pending.record, OrderEvent.DECLINED, {"error": NO_REPLY})
        try:
            for reply in pending.question.replies:
                await send(build_reply_call(reply, confirmed=False), LOCKED_DECLINE_WAIT_S)
        finally:
            self._lock.release(pending.record)

    async def _decline_abandoned(self, send: SendReply) -> None:
        """Decline each question under the lock. If another order holds the lock, that order already cancels IBKR's old
        question; declining now would cancel theirs.
        """
        while self._to_decline:
            reply = self._to_decline.popleft()
            if self._lock.try_acquire(reply):
                try:
                    await send(build_reply_call(reply, confirmed=False), DECLINE_WAIT_S)
                finally:
                    self._lock.release(reply)


def _may_confirm(order_request: OrderRequest, question: Question) -> bool:
    """Whether the request confirms all messages of the question, and its caller is still connected."""
    return (
        question.can_be_confirmed
        and order_request.confirmations.issuperset(question.messages)
        and order_request.is_connected()
    )


def build_reply_call(reply_id: str, *, confirmed: bool) -> Call:
    """A reply of the bridge's own; the id needs no quoting, see `response.REPLY_ID`."""
    body = json.dumps({"confirmed": confirmed}, separators=(",", ":")).encode()
    return Call("POST", api_path((*REPLY, reply_id)), request_headers(JSON_HEADERS), body, is_change=True)


def is_declining(reply: OrderTickets) -> bool:
    """Whether a caller's reply says no.

    Raises:
        BadRequest: `confirmed` is missing, is not a boolean, or is spelled in two ways.
    """
    check_names(reply)
    confirmed = reply.top.get("confirmed")
    spelled = [name for name in reply.top if name.lower() == "confirmed"]
    if not isinstance(confirmed, bool) or len(spelled) > 1:
        raise BadRequest(
            "the reply must contain confirmed with true or false",
            hint='send {"confirmed": true} or {"confirmed": false}',
        )
    return not confirmed


def declined_response(record: OrderRecord) -> OrderNotPlaced:
    """The error for a declined question whose response was lost, or was dropped by a restart."""
    return OrderNotPlaced(f"order {record.id} was declined, and is not placed")
