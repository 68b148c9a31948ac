"""One exchange with IBKR about an order, written down before its first byte leaves and when its answer has come.

Whatever ends the exchange is written too. Before the first byte an error leaves the order as it was; behind it, it is
known that IBKR would not even look at the call, or else nobody knows what became of it.
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
from ibkr_bridge.orders.response import OrderOutcome

REFUSED_BEFORE_PROCESSING = (TemporarilyUnavailable, UpstreamRefused, GatewayForbidden)
"""What an answer of IBKR's or the Gateway's doors becomes: behind them nobody has seen the order."""
GONE = "caller_gone", "its caller hung up before it was sent"
STOPPED = "shutting_down", "its call was ended before it was sent"
RESPONSE_TOO_LONG = "IBKR's answer is too long to be one"
LATE_QUESTION = "IBKR asked when nobody waited for it any more"
InterpretResponse = Callable[[int, bytes], OrderOutcome]
Decline = Callable[[str], None]
"""Is told the id of a question that has to be answered with no when there is time."""


@dataclass(frozen=True)
class ExchangeStep:
    """What is sent, and what the journal says of it before it leaves."""

    call: Call
    facts: RequestFacts
    event: OrderEvent
    entry_facts: Mapping[str, object]
    read: InterpretResponse

    @property
    def required_state(self) -> OrderState | None:
        """The state an order has to be in for it."""
        return None if self.event is OrderEvent.SENT else OrderState.QUESTION


class OrderExchange:
    """Exchanges of one line.

    Args:
        decline: see `Decline`.
    """

    def __init__(self, repository: OrderRepository, decline: Decline) -> None:
        self._repository = repository
        self._decline = decline

    async def run(
        self, record: OrderRecord, order_request: OrderRequest, step: ExchangeStep
    ) -> tuple[Response, OrderOutcome]:
        """Write down, send, read, write down.

        Raises:
            BridgeError: nothing left, or it was lost; the record tells which.
        """

        async def write_entry() -> None:
            if record.state is not step.required_state:
                raise ReplyNotFound("this question is over")  # it was declined while the reply waited for its turn
            await self._repository.append(record, step.event, step.entry_facts)
            if record.state is not OrderState.SENDING:
                raise ReplyNotFound("this question is over")  # it was ended while the disk took the entry

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
            ended = (
                self._record_failure(record, order_request, exc)
                if before_first_byte.has_left
                else self._stopped(record, step, exc)
            )
            if ended is exc:
                raise
            raise ended from exc
        return response, self._record_response(record, order_request, step.read, response)

    def _record_response(
        self, record: OrderRecord, order_request: OrderRequest, read: InterpretResponse, response: Response
    ) -> OrderOutcome:
        outcome = read(response.status, response.body)
        own = order_request.operation is not OrderOperation.REPLY
        facts = {
            **outcome_facts(outcome),
            "request": order_request.request_id,
            "own": own,
            "answer": StoredResponse.from_response(response).facts,
        }
        self._repository.append_eventually(record, outcome.event, facts)
        return outcome

    def _stopped(self, record: OrderRecord, step: ExchangeStep, exc: BaseException) -> BaseException:
        """Nothing left. Where its entry stands on disk, a further one says so; else nothing has happened."""
        if record.state is OrderState.SENDING:
            code, detail = refusal_of(exc)
            said = {"code": code, "error": detail, "stopped": True}
            if step.required_state is OrderState.QUESTION:
                self._repository.append_eventually(
                    record, OrderEvent.HELD_BACK, {**said, "reply": step.entry_facts.get("reply")}
                )
            else:
                self._repository.append_eventually(record, OrderEvent.REFUSED, said)
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
        """For an answer that comes when its order has been given up: the best evidence there is."""

        def hear(response: Response) -> None:
            outcome = read(response.status, decompress(response).body)
            if outcome.question is None:
                if outcome.event is not OrderEvent.LOST:
                    self._repository.append_eventually(record, outcome.event, {**outcome_facts(outcome), "late": True})
            elif self._repository.append_eventually(
                record, OrderEvent.DECLINED, {"error": LATE_QUESTION, "late": True}
            ):
                for reply in outcome.question.replies:
                    self._decline(reply)

        return hear


def refusal_of(exc: BaseException) -> tuple[str, str]:
    """Why nothing left, as the journal keeps it: a code and words."""
    if isinstance(exc, BridgeError):
        return exc.code, exc.detail
    return STOPPED if isinstance(exc, asyncio.CancelledError) else GONE


def outcome_facts(outcome: OrderOutcome) -> dict[str, object]:
    """A verdict as the journal keeps it."""
    question = outcome.question
    asked = {"replies": list(question.replies), "messages": list(question.messages)} if question else {}
    ids = {"order_ids": list(outcome.order_ids)} if outcome.order_ids else {}
    said = {"status": outcome.status, "error": outcome.error}
    again = {"again": True} if outcome.may_be_sent_again else {}
    return {**asked, **ids, **again, **{name: text for name, text in said.items() if text}}
