"""IBKR's questions: to the caller unchanged, confirmed where the caller said so beforehand, declined after a minute.

A question belongs to the key whose order it is about, and its id is good once. The bridge says yes by itself only to
messages that the request names, all of them; it says no where nobody answers in time, as a question that hangs keeps
everybody else from placing orders.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.context import CallerGone, FirstByteHook
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Response, read_fully
from ibkr_bridge.calls.order_tickets import OrderTickets
from ibkr_bridge.errors import BadRequest, BridgeError, OrderInProgress, OrderNotPlaced, OrderUnknown, ReplyNotFound
from ibkr_bridge.ibkr.catalogue import REPLY, api_path
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.exchange import ExchangeStep, OrderExchange
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord, StoredResponse
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.replay import join, stored_response
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.response import OrderOutcome, Question, interpret_partial_reply, interpret_placement
from ibkr_bridge.orders.serialization import OrderLock, PendingQuestion
from ibkr_bridge.orders.tickets import check_names

LOCKED_DECLINE_WAIT_S = (
    1.0  # seconds; others wait for the line meanwhile, and IBKR forgets its question with the session anyhow
)
DECLINE_WAIT_S = 10.0  # seconds; longer than a session takes to be found ready after a start
MAX_CONFIRMATIONS = 20  # questions the bridge confirms for one call; clients that loop allow as many
JSON_HEADERS = (("Content-Type", "application/json"),)
NO_REPLY = "nobody replied in time"
DECLINED_BY_CALLER = "its caller declined"
ENDED_BY_CANCEL = "a cancel came in between, which ends IBKR's question"
SendReply = Callable[[Call, float], Awaitable[None]]
"""Sends a call of our own, waits so many seconds for session and turn, and does not mind what comes of it."""


class Questions:
    """The questions of one line."""

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
        """Confirm what the caller said may be confirmed; the last answer is the caller's, a question hangs.

        Raises:
            BridgeError: a confirmation left and its answer was lost.
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
                self._lock.hold_for_question(
                    record, question, order_request.facts
                )  # it did not leave: the caller may still answer
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
        """Pass on a caller's reply to a question that hangs.

        Raises:
            ReplyNotFound: there is none of this id, or it is over.
            OrderInProgress: it is another key's, or another reply to it is on its way.
            BridgeError: nothing left, or it was lost.
        """
        reply, pending = order_request.path_id, self._lock.pending
        of_this = pending is not None and reply in pending.question.replies
        record = pending.record if pending is not None and of_this else self._repository.index.find_by_reply(reply)
        if record is None:
            raise ReplyNotFound("no question of this bridge has this id")
        if record.owner != order_request.owner:
            raise OrderInProgress("this question was asked to the owner of another key")
        order_request.record = record
        if reply in record.sent_replies:
            return await self._replay_reply(record, order_request)
        if pending is None or not of_this:
            raise ReplyNotFound("this question is over")
        return await self._send_reply(pending, record, order_request)

    async def _replay_reply(self, record: OrderRecord, order_request: OrderRequest) -> Response:
        fingerprint, stored = record.sent_replies[order_request.path_id]
        if fingerprint != order_request.fingerprint:
            raise ReplyNotFound("this question has been answered otherwise")
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
            raise OrderInProgress("another reply to this question is on its way", retry_after=1.0)
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
                pending.is_answered = False  # it did not leave
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

        is_written = False

        async def write_entry() -> None:
            nonlocal is_written
            if record.state is not OrderState.QUESTION:
                raise ReplyNotFound("this question is over")
            try:
                await self._repository.append(
                    record, OrderEvent.LOST if record.order_ids else OrderEvent.DECLINED, facts
                )
            finally:
                is_written = record.state is not OrderState.QUESTION

        before_first_byte = FirstByteHook(write_entry)
        try:
            response = decompress(
                await read_fully(
                    await order_request.send(
                        order_request.call, order_request.facts, before_first_byte, order_request.is_connected, noop
                    )
                )
            )
        except OrderUnknown as exc:  # of the no alone: what was never confirmed is never placed
            raise declined_response(record) from exc
        except BaseException as exc:
            if is_written and not before_first_byte.has_left:
                self.decline_later(
                    order_request.path_id
                )  # the journal says no already: IBKR is told when there is time
                if isinstance(exc, (BridgeError, CallerGone)):
                    raise declined_response(record) from exc
            raise
        record.sent_replies[order_request.path_id] = (order_request.fingerprint, StoredResponse.from_response(response))
        return response

    # -- questions nobody answers

    def on_cancel_sent(self) -> None:
        """An order call went out in between: IBKR has forgotten whatever it asked."""
        pending = self._lock.pending
        if pending is not None and pending.record.state is OrderState.QUESTION:
            self._repository.end_question(pending.record, OrderEvent.DROPPED, {"error": ENDED_BY_CANCEL})
            self._lock.release(pending.record)

    def decline_later(self, reply_id: str) -> None:
        """A question nobody waits for: it is declined at the next chance."""
        self._to_decline.append(reply_id)
        self._lock.on_question()  # whoever declines looks now

    async def decline_expired(self, now: float, send: SendReply) -> None:
        """Decline what has waited too long, and what nobody waits for.

        Args:
            now: by the chain's clock.
            send: see `Reply`.
        """
        await self._decline_abandoned(send)
        pending = self._lock.pending
        if pending is None or now < pending.expires_at or pending.record.state is not OrderState.QUESTION:
            return
        if self._repository.is_writing(pending.record):
            return  # a reply is about to leave; it moves the order, and then this is looked at once more
        pending.is_over = True  # a reply that still waits for its turn is too late
        self._repository.end_question(pending.record, OrderEvent.DECLINED, {"error": NO_REPLY})
        try:
            for reply in pending.question.replies:
                await send(build_reply_call(reply, confirmed=False), LOCKED_DECLINE_WAIT_S)
        finally:
            self._lock.release(pending.record)

    async def _decline_abandoned(self, send: SendReply) -> None:
        """Each in a turn of its own. Where somebody has the line, their order ends IBKR's question anyhow; a no of ours
        would end theirs."""
        while self._to_decline:
            reply = self._to_decline.popleft()
            if self._lock.try_acquire(reply):
                try:
                    await send(build_reply_call(reply, confirmed=False), DECLINE_WAIT_S)
                finally:
                    self._lock.release(reply)


def _may_confirm(order_request: OrderRequest, question: Question) -> bool:
    """Whether the caller confirmed all of it beforehand, and is still there to hear what comes of it."""
    return (
        question.can_be_confirmed
        and order_request.confirmations.issuperset(question.messages)
        and order_request.is_connected()
    )


def build_reply_call(reply_id: str, *, confirmed: bool) -> Call:
    """A reply of our own to a question; its id is made of plain characters, see `verdict.REPLY_ID`."""
    body = json.dumps({"confirmed": confirmed}, separators=(",", ":")).encode()
    return Call("POST", api_path((*REPLY, reply_id)), request_headers(JSON_HEADERS), body, is_change=True)


def is_declining(reply: OrderTickets) -> bool:
    """Whether a caller's reply says no.

    Raises:
        BadRequest: it says neither yes nor no, or both.
    """
    check_names(reply)
    confirmed = reply.top.get("confirmed")
    spelled = [name for name in reply.top if name.lower() == "confirmed"]
    if not isinstance(confirmed, bool) or len(spelled) > 1:
        raise BadRequest("the reply says neither yes nor no", hint='send {"confirmed": true} or {"confirmed": false}')
    return not confirmed


def declined_response(record: OrderRecord) -> OrderNotPlaced:
    """What is told of a no whose answer was lost, or forgotten over a restart."""
    return OrderNotPlaced(f"order {record.id} was declined, and is not placed")


def noop(_: Response) -> None:
    """The late answer to a no: it changes nothing."""
