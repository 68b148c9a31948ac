"""One exchange with IBKR about an order: it is written to the journal before its first byte and after its response.

An error that ends the exchange is written too. An error before the first byte leaves the order as it was. An error
after it means either that IBKR did not process the call, or that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.context import FirstByteHook
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response, read_fully
from ibkr_bridge.errors import (
    BridgeError,
    GatewayForbidden,
    OrderUnknown,
    ReplyNotFound,
    TemporarilyUnavailable,
    UpstreamRefused,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord, StoredResponse
from ibkr_bridge.orders.journal.repository import BRIDGE_ENDED, OrderRepository
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.replay import unknown_error
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.response import OrderOutcome, mark_unprocessed

REFUSED_BEFORE_PROCESSING = (TemporarilyUnavailable, UpstreamRefused, GatewayForbidden)
"""Errors of responses with which IBKR or the Gateway refuses a call before anything processes the order."""
GONE = "caller_gone", "its caller disconnected before it was sent"
STOPPED = "shutting_down", "its call was cancelled before it was sent"
RESPONSE_TOO_LONG = "IBKR's response is too long for a response to an order"
LATE_QUESTION = "IBKR asked a question when no caller was waiting any more"
InterpretResponse = Callable[[int, bytes], OrderOutcome]
Decline = Callable[[str], None]
"""Receives the reply id of a question; the question is declined at the next opportunity."""


@dataclass(frozen=True)
class ExchangeStep:
    """The call, and the journal entry that is written before its first byte."""

    call: Call
    facts: RequestFacts
    event: OrderEvent
    entry_facts: Mapping[str, object]
    read: InterpretResponse

    @property
    def required_state(self) -> OrderState | None:
        """The state that the order must be in."""
        return None if self.event is OrderEvent.SENT else OrderState.QUESTION


class OrderExchange:
    """The exchanges of one profile.

    Args:
        decline: see `Decline`.
    """

    def __init__(self, repository: OrderRepository, decline: Decline) -> None:
        self._repository = repository
        self._decline = decline

    async def run(
        self, record: OrderRecord, order_request: OrderRequest, step: ExchangeStep
    ) -> tuple[Response, OrderOutcome]:
        """Write the entry, send the call, interpret the response, write the outcome.

        Raises:
            BridgeError: nothing was sent, or the response was lost; the state of the record shows which.
        """

        async def write_entry() -> None:
            if record.state is not step.required_state:
                raise ReplyNotFound("this question is over")  # it was declined while the reply waited for admission
            await self._repository.append(record, step.event, step.entry_facts)
            if record.state is not OrderState.SENDING:
                raise ReplyNotFound("this question is over")  # it ended while the entry was being written

        before_first_byte = FirstByteHook(write_entry)
        is_wanted = record.in_flight.is_wanted if record.in_flight is not None else order_request.is_connected
        try:
            response = await order_request.send(
                step.call, step.facts, before_first_byte, is_wanted, self._late_response_handler(record, step.read)
            )
            response = decompress(await read_fully(response))
            if response.body_stream is not None:
                response.body_stream.close()
                raise OrderUnknown(RESPONSE_TOO_LONG)
        except BaseException as exc:
            error = (
                self._record_failure(record, order_request, exc)
                if before_first_byte.has_left
                else self._record_stopped(record, step, exc)
            )
            if error is exc:
                raise
            raise error from exc
        outcome = self._record_response(record, order_request, step.read, response)
        if outcome.event is OrderEvent.LOST:
            raise unknown_error(record)  # an order that the journal calls unknown must not look answered to its caller
        return response, outcome

    def _record_response(
        self, record: OrderRecord, order_request: OrderRequest, read: InterpretResponse, response: Response
    ) -> OrderOutcome:
        outcome = _interpret(read, response)
        own = order_request.operation is not OrderOperation.REPLY
        facts = {**outcome_facts(outcome), "request": order_request.request_id, "own": own}
        if outcome.event is not OrderEvent.LOST:
            facts["answer"] = StoredResponse.from_response(response).facts
        self._repository.append_eventually(record, outcome.event, facts)
        return outcome

    def _record_stopped(self, record: OrderRecord, step: ExchangeStep, exc: BaseException) -> BaseException:
        """Nothing was sent. If the entry is on disk already, a further entry says so."""
        if record.state is OrderState.SENDING:
            code, detail = refusal_of(exc)
            facts = {"code": code, "error": detail, "stopped": True}
            if step.required_state is OrderState.QUESTION:
                self._repository.append_eventually(
                    record, OrderEvent.HELD_BACK, {**facts, "reply": step.entry_facts.get("reply")}
                )
            else:
                self._repository.append_eventually(record, OrderEvent.REFUSED, facts)
                self._repository.index.add_refused(record)
        return exc

    def _record_failure(self, record: OrderRecord, order_request: OrderRequest, exc: BaseException) -> BaseException:
        if isinstance(exc, REFUSED_BEFORE_PROCESSING):
            self._repository.append_eventually(
                record, OrderEvent.TURNED_DOWN, {"error": exc.detail, "code": exc.code, "again": True}
            )
            return exc
        reason = exc.detail if isinstance(exc, BridgeError) else BRIDGE_ENDED
        self._repository.append_eventually(
            record, OrderEvent.LOST, {"error": reason, "request": order_request.request_id}
        )
        return unknown_error(record) if isinstance(exc, BridgeError) else exc

    def _late_response_handler(self, record: OrderRecord, read: InterpretResponse) -> OnLateResponse:
        """Returns the handler of a response that comes after the deadline; it settles the order."""

        def on_late_response(response: Response) -> None:
            complete = decompress(response)
            outcome = _interpret(read, complete)
            if outcome.question is None:
                if outcome.event is not OrderEvent.LOST:
                    self._repository.append_eventually(record, outcome.event, {**outcome_facts(outcome), "late": True})
            elif self._end_late_question(record, outcome):
                for reply in outcome.question.replies:
                    self._decline(reply)

        return on_late_response

    def _end_late_question(self, record: OrderRecord, outcome: OrderOutcome) -> bool:
        """Whether a question that came late has to be declined. An order of which IBKR has a part stays unknown: the
        reconciler finds that part.
        """
        if outcome.order_ids:
            return record.state is OrderState.UNKNOWN
        return self._repository.append_eventually(record, OrderEvent.DECLINED, {"error": LATE_QUESTION, "late": True})


def _interpret(read: InterpretResponse, response: Response) -> OrderOutcome:
    return mark_unprocessed(read(response.status, response.body), response.status, response.body)


def refusal_of(exc: BaseException) -> tuple[str, str]:
    """Why nothing was sent, as the journal stores it: a code and a text."""
    if isinstance(exc, BridgeError):
        return exc.code, exc.detail
    return STOPPED if isinstance(exc, asyncio.CancelledError) else GONE


def outcome_facts(outcome: OrderOutcome) -> dict[str, object]:
    """The outcome in the form that the journal stores."""
    question = outcome.question
    question_facts = {"replies": list(question.replies), "messages": list(question.messages)} if question else {}
    ids = {"order_ids": list(outcome.order_ids)} if outcome.order_ids else {}
    texts = {"status": outcome.status, "error": outcome.error}
    repeat = {"again": True} if outcome.may_be_sent_again else {}
    return {**question_facts, **ids, **repeat, **{name: text for name, text in texts.items() if text}}
