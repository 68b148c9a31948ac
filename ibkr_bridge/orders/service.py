"""Orders of one profile: requests go to the submitter, and what the submitter sends goes through all stages.

The bridge's own work with orders is here too: it declines questions that nobody answers, and fetches the lists in which
the reconciler searches for orders whose response was lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from urllib.parse import quote

from ibkr_bridge.calls.context import CallContext, CallerGone, FirstByteHook
from ibkr_bridge.calls.facts import READ_FACTS, RequestFacts
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response, discard, read_fully
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.catalogue import ORDERS_LIST, TRADES, api_path, endpoint_of
from ibkr_bridge.ibkr.endpoint import Layer, OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.reconciliation.ibkr_rows import OrderListing, read_orders, read_trades
from ibkr_bridge.orders.reconciliation.possible_duplicates import templates_of
from ibkr_bridge.orders.reconciliation.reconciler import Reconciler
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import OrderRequest, SendOrderCall
from ibkr_bridge.orders.rules.guard import OrderGuard
from ibkr_bridge.orders.submission import OrderSubmitter

Pipeline = Callable[[CallContext], Awaitable[Response]]
BRIDGE_KEY_LABEL = "bridge"  # the label under which the bridge's own calls are admitted
SEND_GRACE_S = 2.0
"""Seconds after the caller's wait time in which an order may still be sent: a connection takes time to open."""
MAX_LIST_BYTES = 64 * 1024 * 1024  # bytes; a day of very many trades
LIST_WAIT_S = 12.0  # seconds; IBKR allows the list of orders once in 5 s, and callers request it too
IDLE_S = 3600.0  # seconds; any change wakes the loop
RECENT_S = 60.0  # seconds after a placement in which IBKR's stream may not show it yet
MIN_INTERVAL_S = 0.5  # seconds between two rounds at least, if nothing changes


@dataclass(frozen=True)
class OrderDependencies:
    """The parts of the profile that the order service uses: they are built after it, so `connect` passes them in."""

    pipeline: Pipeline
    """All stages."""
    uncached: Pipeline
    """All stages except those of the cache."""
    prepare: Callable[[CallContext], Awaitable[None]]
    """Fetches what IBKR wants before a call."""
    guard: OrderGuard
    is_up: Callable[[Layer], bool]


@dataclass(frozen=True)
class JournalStatus:
    """Whether the journal can be written, and the states of the last orders."""

    problem: str | None = field(
        metadata={"doc": "Why the journal cannot be written and orders are refused; null while it can."}
    )
    orders: Mapping[str, int] = field(
        metadata={"doc": "How many orders of the last day are in each state.", "unit": "orders"}
    )
    question: str | None = field(
        metadata={"doc": "Id of the order about which IBKR has asked a question; null if there is none."}
    )


class OrderService:
    """The orders of one profile. It calls the stages; they do not know it.

    Args:
        schedule: when to search for orders whose response was lost.
        add_coids: whether a placement without a cOID gets one.
    """

    def __init__(
        self, repository: OrderRepository, clock: Clock, schedule: ReconcileSchedule, *, add_coids: bool
    ) -> None:
        self.repository = repository
        self._clock = clock
        self._refresh_delay_s = schedule.refresh_delay_s
        self.reconciler = Reconciler(repository, clock, schedule)
        self.submitter = OrderSubmitter(repository, clock, self.reconciler.wait_for_unsettled, add_coids=add_coids)
        self._wake = asyncio.Event()
        self._dependencies: OrderDependencies | None = None
        repository.subscribe(lambda _: self._wake.set())
        self.submitter.lock.on_question = self._wake.set

    def __repr__(self) -> str:
        return f"<OrderService {self.submitter!r}>"

    def status(self) -> JournalStatus:
        """Whether the journal can be written, how many orders are in each state, and which order has an open
        question.
        """
        pending = self.submitter.lock.pending
        question = pending.record.id if pending is not None else None
        return JournalStatus(self.repository.journal.problem, dict(self.repository.index.counts()), question)

    @property
    def dependencies(self) -> OrderDependencies:
        """What the service uses of the rest of the profile."""
        if self._dependencies is None:
            raise RuntimeError("the profile has not been built")
        return self._dependencies

    def connect(self, dependencies: OrderDependencies) -> None:
        """Use these parts of the profile from now on."""
        self._dependencies = dependencies
        self.reconciler.fetch_order_lists = self.fetch_order_lists

    async def load(self) -> None:
        """Read the entries of earlier runs; their open questions are declined.

        Raises:
            JournalUnavailable: the journal cannot be read.
        """
        for reply_id in await self.repository.load():
            self.submitter.questions.decline_later(reply_id)

    async def submit(self, order_request: OrderRequest) -> Response:
        """Carry out one request about an order.

        Raises:
            BridgeError: nothing was sent, or (`OrderUnknown`) the outcome is unknown.
            CallerGone: nothing was sent, and the caller has gone.
        """
        await self.load()  # if that failed before; until it succeeds no order may be sent
        context = order_request.context
        context.execute = self.dependencies.pipeline
        context.deadline = time.monotonic() + context.remaining_wait() + SEND_GRACE_S
        order_request.send = self._make_sender(order_request)
        order_request.check_rules = lambda: self._check_rules(order_request)
        try:
            return await self.submitter.submit(order_request)
        finally:
            context.source = order_request.source if order_request.source != "gateway" else context.source

    async def preview(self, context: CallContext) -> Response:
        """Send a preview. It changes nothing, but IBKR drops an open question because of it, so it takes the lock.

        Raises:
            OrderInProgress: another order holds the lock for too long.
            Busy: too many previews wait already.
        """
        context.execute = self.dependencies.pipeline
        await self.dependencies.prepare(context)  # what IBKR wants first is fetched before orders have to wait for it
        await self.submitter.lock.acquire_for_preview(
            context, context.remaining_wait(), context.is_connected, has_reduced_share=context.has_reduced_share
        )
        try:
            return await self.dependencies.pipeline(context)
        finally:
            self.submitter.lock.release(context)

    async def _check_rules(self, order_request: OrderRequest) -> None:
        """Apply the rules, with the value of the order if there is a limit."""
        in_flight = order_request.record.in_flight if order_request.record is not None else None
        is_connected = in_flight.is_wanted if in_flight is not None else order_request.is_connected
        valued = replace(order_request.context, facts=order_request.facts, is_connected=is_connected)
        order_request.facts = await self.dependencies.guard.with_order_value(valued, order_request.account)
        self.dependencies.guard.check(order_request.facts)

    def _make_sender(self, order_request: OrderRequest) -> SendOrderCall:
        """Returns the function that sends each call of a request; the time before its first call counts as waiting."""
        context, is_first = order_request.context, True

        async def send(
            call: Call,
            facts: RequestFacts,
            before_first_byte: FirstByteHook,
            is_connected: Callable[[], bool],
            on_late_response: OnLateResponse,
        ) -> Response:
            nonlocal is_first
            if is_first:
                is_first, context.timing.waited_s = False, time.monotonic() - order_request.started_at
            part = context.part(call, endpoint_of(call.method, call.target))
            part.facts, part.is_connected, part.is_sent = facts, is_connected, False
            part.before_first_byte, part.on_late_response = before_first_byte, on_late_response
            try:
                return await self.dependencies.pipeline(part)
            finally:
                context.is_sent = context.is_sent or part.is_sent

        return send

    # -- the bridge's own part

    async def run_loop(self) -> NoReturn:
        """Decline questions that nobody answers, until cancelled."""
        while True:
            self._wake.clear()
            await self.submitter.questions.decline_expired(self._clock.now(), self._decline)
            pending = self.submitter.lock.pending
            remaining_s = IDLE_S if pending is None else pending.expires_at - self._clock.now()
            # A reply that is being sent may turn out unsent, so an expired question is looked at again.
            await self._clock.wait(self._wake, max(remaining_s, MIN_INTERVAL_S))

    async def _decline(self, call: Call, wait_s: float) -> None:
        endpoint = endpoint_of(call.method, call.target)
        # No rule applies to a decline of the bridge's own: hence the facts of a read.
        context = CallContext(call, endpoint, READ_FACTS, BRIDGE_KEY_LABEL, wait_s=wait_s)
        with suppress(BridgeError, CallerGone):  # IBKR also drops its question by itself
            discard(await self.dependencies.pipeline(context))

    async def fetch_order_lists(self, account: str | None) -> OrderListing | None:
        """Fetch the lists of orders and trades anew; None if that is not possible now."""
        if not self.dependencies.is_up(Layer.BROKERAGE):
            return None
        account_query = f"accountId={quote(account, safe='')}" if account else ""
        try:
            discard(await self.dependencies.uncached(_uncached_read(ORDERS_LIST, "force=true", account_query)))
            await self._clock.wait(asyncio.Event(), self._refresh_delay_s)
            orders = await read_fully(
                await self.dependencies.pipeline(_uncached_read(ORDERS_LIST, account_query)), MAX_LIST_BYTES
            )
            trades = await read_fully(
                await self.dependencies.pipeline(_uncached_read(TRADES, "days=2")), MAX_LIST_BYTES
            )
        except (BridgeError, CallerGone):
            return None
        if orders.status != 200 or trades.status != 200 or orders.body_stream or trades.body_stream:
            discard(orders)
            discard(trades)
            return None
        rows, is_whole = read_orders(orders.body)
        return OrderListing(rows, read_trades(trades.body), is_whole, account)

    def recent_rows(self) -> list[dict[str, Any]]:
        """Rows of the orders that IBKR confirmed a moment ago, in the form of its list, as far as they are known."""
        rows = []
        for record in self.repository.index.newest_first():
            if not record.created:  # it waits to be sent, and the journal has no entry of it yet
                continue
            if self.repository.index.ages.seconds_since(record.created, record.created_mark) > RECENT_S:
                break
            if record.operation is OrderOperation.PLACE and record.state is OrderState.PLACED:
                rows += [row_of_record(record, order_id) for order_id in record.order_ids]
        return rows

    def observe_list(self, context: CallContext, response: Response) -> None:
        """Search a list that a caller fetched, if an order is not settled."""
        if not self.reconciler.has_unsettled or response.status != 200 or response.body_stream is not None:
            return
        if context.endpoint.segments == ORDERS_LIST:
            self.reconciler.observe(OrderListing(orders=read_orders(response.body)[0]))
        elif context.endpoint.segments == TRADES:
            self.reconciler.observe(OrderListing(trades=read_trades(response.body)))


def row_of_record(record: OrderRecord, order_id: str) -> dict[str, Any]:
    """One order in the form of IBKR's list. What only IBKR knows, such as its fills, is left out."""
    ticket = next(iter(templates_of(record)), {}) if len(record.order_ids) == 1 else {}
    row = {
        "acct": record.account,
        "account": record.account,
        "order_ref": record.coids[0] if len(record.coids) == 1 else None,
        "status": record.ibkr_status,
        "conid": int(ticket["conid"]) if str(ticket.get("conid", "")).isdigit() else None,
        "side": ticket.get("side"),
    }
    members = {name: value for name, value in row.items() if value}
    return {"orderId": int(order_id) if order_id.isdigit() else order_id, **members}


def _uncached_read(segments: tuple[str, ...], *query: str) -> CallContext:
    """A read of the bridge's own that is never answered from the cache."""
    query_string = "&".join(filter(None, query))
    call = Call("GET", api_path(segments) + (f"?{query_string}" if query_string else ""), request_headers(()))
    endpoint = endpoint_of(call.method, call.target)
    return CallContext(
        *(call, endpoint, READ_FACTS, BRIDGE_KEY_LABEL), serves_order=True, wait_s=LIST_WAIT_S, max_age_s=0.0
    )
