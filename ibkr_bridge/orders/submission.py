"""The order submitter: every order call of a profile goes through here and ends in exactly one state of the journal.

The steps: find a duplicate, check the rules, take the lock, write the journal entry, send the first byte. The response
is interpreted (`response.py`), written to the journal and returned. The bridge never sends an order again. If nothing
was sent, the caller gets an error that says so. If the response is lost, the order is `unknown` and the reconciler
searches for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BadRequest, BridgeError
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.models.orders import BRIDGE_COID_PREFIX
from ibkr_bridge.orders.exchange import ExchangeStep, InterpretResponse, refusal_of
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord, cut, digest_of_key
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.settled_rows import Names
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.questions import Questions
from ibkr_bridge.orders.reconciliation.matching import match_criteria
from ibkr_bridge.orders.reconciliation.modify_matching import figures_of_ticket
from ibkr_bridge.orders.reconciliation.possible_duplicates import similarity
from ibkr_bridge.orders.replay import replay
from ibkr_bridge.orders.request import UNKNOWN_OPEN, OrderRequest
from ibkr_bridge.orders.response import interpret_cancel, interpret_modification, interpret_placement
from ibkr_bridge.orders.serialization import OrderLock
from ibkr_bridge.orders.tickets import check_lengths, shown_tickets, with_coids

LOCKED_OPERATIONS: Mapping[OrderOperation, InterpretResponse] = {
    OrderOperation.PLACE: interpret_placement,
    OrderOperation.MODIFY: interpret_modification,
}
UNLOCKED_OPERATIONS: Mapping[OrderOperation, InterpretResponse] = {
    OrderOperation.CANCEL: interpret_cancel,
    OrderOperation.ANSWER: interpret_cancel,
}
SAME_REFUSAL_S = 60.0  # seconds between two entries of the same refusal: a loop must not fill the disk
MAX_REFUSALS = 1000  # refusals that are recognised as the same


class OrderSubmitter:
    """Carries out the order calls of one profile.

    Args:
        wait_for_unsettled: waits until the unsettled orders of an earlier run that block a new one are found; raises if
            that takes too long.
        add_coids: whether orders without a cOID get one.
    """

    def __init__(
        self,
        repository: OrderRepository,
        clock: Clock,
        wait_for_unsettled: Callable[[OrderRequest], Awaitable[None]],
        *,
        add_coids: bool,
    ) -> None:
        self.repository = repository
        self._clock = clock
        self.lock = OrderLock(clock)
        self.questions = Questions(repository, self.lock)
        self._wait_for_unsettled = wait_for_unsettled
        self._add_coids = add_coids
        self._refusals: dict[tuple[str, str, str], OrderRecord] = {}
        self._refusal_times: deque[float] = deque(maxlen=MAX_REFUSALS)

    def __repr__(self) -> str:
        return f"<OrderSubmitter {self.lock!r} {self.repository.index!r}>"

    async def submit(self, order_request: OrderRequest) -> Response:
        """Carry out one order call and return its response.

        Raises:
            BridgeError: nothing was sent, or (`OrderUnknown`) the outcome is unknown.
        """
        if order_request.operation is OrderOperation.REPLY:
            return await self.questions.submit_reply(order_request)
        if order_request.operation is OrderOperation.MODIFY:
            await self.repository.restore_named(Names(order_ids=(order_request.path_id,)))
        record = self._new_record(order_request)
        try:
            call = await self._with_coids(record, order_request)
            earlier = await self.repository.find_duplicate(
                record, unknown_open=UNKNOWN_OPEN in order_request.confirmations
            )
        except BridgeError as exc:
            self._record_refusal(record, order_request, (exc.code, exc.detail))
            raise
        if earlier is not None:
            order_request.record = earlier
            return await replay(earlier, order_request)
        order_request.record = record
        in_flight = record.in_flight = InFlightOrder(record.fingerprint, [order_request.is_connected])
        self.repository.index.add(record)
        try:
            return await in_flight.run(self._check_and_send(order_request, record, call))
        finally:
            if record.in_flight is in_flight:
                record.in_flight = None

    def on_delivery(self, record: OrderRecord, *, arrived: bool) -> None:
        """Record whether a response reached its caller; a delivery that was recorded can turn out to be wrong later."""
        if record.state in (None, OrderState.REFUSED) or (
            record.is_delivered if arrived else record.disconnected_at is not None
        ):
            return
        if not arrived and record.is_delivered and record.was_undelivered:
            return  # delivered, undelivered and delivered again: one correction is enough
        record.was_undelivered = record.was_undelivered or (record.is_delivered and not arrived)
        self.repository.append_eventually(record, OrderEvent.TOLD if arrived else OrderEvent.LEFT, {})

    def _new_record(self, order_request: OrderRequest) -> OrderRecord:
        """The record of a new order."""
        order_id = self.repository.new_id()
        key = digest_of_key(order_request.idempotency_key)
        record = OrderRecord(
            order_id,
            order_request.operation,
            cut(order_request.account) if order_request.account is not None else None,
            order_request.owner,
            order_request.request_id,
            order_request.fingerprint,
            key,
        )
        record.has_own_identity = key is not None
        record.tickets = tuple(shown_tickets(order_request.call.tickets))
        record.match_criteria = match_criteria(
            order_request.operation, order_request.path_id, order_request.call.tickets
        )
        if order_request.operation is OrderOperation.MODIFY:
            record.match_criteria = {
                **record.match_criteria,
                "was": dict(self.repository.index.figures_of(order_request.path_id)),
            }
        return record

    async def _with_coids(self, record: OrderRecord, order_request: OrderRequest) -> Call:
        """The call as it is sent: a placement whose orders have cOIDs to be found by, if that is possible.

        Raises:
            BadRequest: its body cannot be parsed as an order.
        """
        try:
            if order_request.operation is not OrderOperation.CANCEL:  # a cancel is never refused because of its body
                check_lengths(order_request.call.tickets)
            if order_request.operation is not OrderOperation.PLACE:
                return order_request.call
            placement = with_coids(order_request.call, BRIDGE_COID_PREFIX + record.id, add=self._add_coids)
        except BadRequest:
            await order_request.check_rules()  # a refusal by the rules takes precedence over a malformed body
            raise
        record.coids, record.has_own_identity = placement.names, record.has_own_identity or placement.has_own_identity
        tickets = order_request.call.tickets.tickets
        figures = {"figures": figures_of_ticket(tickets[0])} if placement.names and len(tickets) == 1 else {}
        other_accounts = order_request.facts.accounts - {record.account}
        record.match_criteria = {
            **similarity(order_request.call.tickets.unambiguous, other_accounts),
            **figures,
        }
        return replace(order_request.call, body=placement.body)

    async def _check_and_send(self, order_request: OrderRequest, record: OrderRecord, call: Call) -> Response:
        """Check the rules, send the call and confirm its questions, until it is finished or a question is open."""
        try:
            await order_request.check_rules()
            if order_request.operation in LOCKED_OPERATIONS:
                await self._acquire_lock(order_request, record)
            return await self._send(order_request, record, call)
        except BaseException as exc:
            if record.state is None:
                self._record_refusal(record, order_request, refusal_of(exc))
            raise
        finally:
            if record.state is not OrderState.QUESTION:
                self.lock.release(record)

    async def _acquire_lock(self, order_request: OrderRequest, record: OrderRecord) -> None:
        if order_request.operation is OrderOperation.PLACE:
            await self._wait_for_unsettled(order_request)
        in_flight = record.in_flight
        await self.lock.acquire(
            record, order_request.remaining_wait(), in_flight.is_wanted if in_flight else order_request.is_connected
        )

    async def _send(self, order_request: OrderRequest, record: OrderRecord, call: Call) -> Response:
        read = {**LOCKED_OPERATIONS, **UNLOCKED_OPERATIONS}[order_request.operation]
        step = ExchangeStep(call, order_request.facts, OrderEvent.SENT, self._record_facts(record, order_request), read)
        try:
            response, outcome = await self.questions.exchange.run(record, order_request, step)
        finally:
            if order_request.operation is OrderOperation.CANCEL and record.state not in (None, OrderState.REFUSED):
                self.questions.on_cancel_sent()  # it was sent, whatever the outcome
        return await self.questions.confirm_listed(record, order_request, response, outcome)

    def _record_facts(self, record: OrderRecord, order_request: OrderRequest) -> dict[str, object]:
        """All that a later run of the bridge has to know of it."""
        identity_facts = {
            "account": record.account,
            "idempotency": record.idempotency_digest,
            "coids": list(record.coids),
        }
        origin_facts = {
            "owner": record.owner,
            "key": order_request.key_label,
            "request": record.request_id,
            "method": order_request.call.method,
        }
        matching_facts = {
            "fingerprint": record.fingerprint,
            "own_name": record.has_own_identity,
            "wanted": dict(record.match_criteria),
        }
        shown_facts = {"tickets": [dict(ticket) for ticket in record.tickets]}
        return {"kind": record.operation.value, **identity_facts, **origin_facts, **matching_facts, **shown_facts}

    def _record_refusal(self, record: OrderRecord, order_request: OrderRequest, refusal: tuple[str, str]) -> None:
        """Write why nothing was sent; the same refusal of the same call is written once a minute."""
        code, reason = refusal
        which = record.owner, record.fingerprint, code
        earlier = self._refusals.get(which)
        ages = self.repository.index.ages
        if earlier is not None and ages.seconds_since(earlier.updated, earlier.updated_mark) < SAME_REFUSAL_S:
            self.repository.index.remove(record)
            order_request.record = earlier
            return
        if not self._may_write_refusal():
            self.repository.index.remove(record)
            order_request.record = None
            return
        order_request.record = self._refusals[which] = record
        self.repository.append_eventually(
            record, OrderEvent.REFUSED, {**self._record_facts(record, order_request), "code": code, "error": reason}
        )
        self.repository.index.add_refused(record)
        while len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def _may_write_refusal(self) -> bool:
        """1000 at once and then one a second: a caller in a loop must not fill the disk."""
        now = self._clock.now()
        if len(self._refusal_times) == MAX_REFUSALS and now - self._refusal_times[0] < MAX_REFUSALS:
            return False
        self._refusal_times.append(now)
        return True
