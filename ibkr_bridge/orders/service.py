"""How orders travel: what a caller wants becomes a wish at the desk, and what the desk sends takes the line's road.

The desk knows orders and no road, the line knows the road and no orders; here they meet. The bridge's own part is here
too: declining questions nobody answers, and looking for orders whose answer was lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol
from urllib.parse import quote

from ibkr_bridge.calls.context import CallContext, CallerGone
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response, discard, read_fully
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.catalogue import ORDERS_LIST, TRADES, api_path, endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect, Layer
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.reconciliation.ibkr_rows import OrderListing, read_orders, read_trades
from ibkr_bridge.orders.reconciliation.reconciler import Reconciler
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import Departure, OrderRequest, SendOrderCall
from ibkr_bridge.orders.submission import OrderSubmitter

BRIDGE_KEY_LABEL = "bridge"  # the key under which the bridge's own calls take turns
SEND_GRACE_S = (
    2.0  # seconds beyond its caller's patience in which an order may still leave: a connection takes time to make
)
MAX_LIST_BYTES = 64 * 1024 * 1024  # bytes; a day of very many trades
LIST_WAIT_S = 12.0  # seconds; IBKR takes the list of orders once in five, and callers want it too
IDLE_S = 3600.0  # seconds; whatever moves wakes the loop
MIN_INTERVAL_S = 0.5  # seconds between two rounds at least, where nothing moves


class CallExecutor(Protocol):
    """The line, as orders see it."""

    async def handle(self, context: CallContext) -> Response:
        """Take one call the whole road."""
        ...

    async def execute(self, context: CallContext) -> Response:
        """See `Line.ask`."""
        ...

    async def fetch_uncached(self, context: CallContext) -> Response:
        """Take a read as it is, past memory and courtesy."""
        ...

    async def with_order_value(self, context: CallContext, account: str | None) -> RequestFacts:
        """What the rules have to know of an order, its worth included."""
        ...

    def check_rules(self, facts: RequestFacts) -> None:
        """Ask the rules."""
        ...

    def remaining_wait(self, context: CallContext) -> float:
        """Seconds a caller would still wait."""
        ...

    def is_up(self, layer: Layer) -> bool:
        """Whether a layer of the session is up."""
        ...


@dataclass(frozen=True)
class OrderRequestInfo:
    """Whose order it is, and what the request says besides its call."""

    owner: str = ""
    """Which key, without telling it."""
    request_id: str = ""
    """The request's id."""
    idempotency_key: str | None = None
    """Its Idempotency-Key."""
    confirm: frozenset[str] = frozenset()
    """The words of X-Bridge-Confirm."""
    account: str | None = None
    """The account its path names."""
    path_id: str = ""
    """The last part of its path."""


class OrderService:
    """The orders of one line.

    Args:
        search: when to look for lost orders.
        add_names: whether orders without a cOID get one.
    """

    def __init__(
        self, repository: OrderRepository, clock: Clock, search: ReconcileSchedule, *, add_names: bool
    ) -> None:
        self.repository = repository
        self._clock = clock
        self._between = search.refresh_delay_s
        self.reconciler = Reconciler(repository, clock, search)
        self.submitter = OrderSubmitter(repository, clock, self.reconciler.wait_for_unsettled, add_coids=add_names)
        self._wake = asyncio.Event()
        self._road: CallExecutor | None = None
        repository.subscribe(lambda _: self._wake.set())
        self.submitter.lock.on_question = self._wake.set

    def __repr__(self) -> str:
        return f"<OrderService {self.submitter!r}>"

    @property
    def executor(self) -> CallExecutor:
        """The line whose orders these are."""
        if self._road is None:
            raise RuntimeError("the line has not been built")
        return self._road

    def connect(self, executor: CallExecutor) -> None:
        """Use this line."""
        self._road = executor
        self.reconciler.fetch_order_lists = self.fetch_order_lists

    async def load(self) -> None:
        """Take up what earlier runs wrote; questions of theirs are declined.

        Raises:
            JournalDown: it cannot be read.
        """
        for reply in await self.repository.load():
            self.submitter.questions.decline_later(reply)

    async def submit(self, context: CallContext, order_info: OrderRequestInfo) -> Response:
        """Take an order call to the desk.

        Raises:
            BridgeError: nothing was sent, or nobody knows.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        await self.load()  # where that failed before; until then no order may leave
        began = time.monotonic()
        context.deadline = began + self.executor.remaining_wait(context) + SEND_GRACE_S
        order_request = self._order_request(context, order_info, began)
        try:
            return await self.submitter.submit(order_request)
        finally:
            context.order_record = order_request.record
            context.source = order_request.source if order_request.source != "gateway" else context.source

    async def preview(self, context: CallContext, work: Callable[[], Awaitable[Response]]) -> Response:
        """Ask what an order would do: it changes nothing, but kills a question that hangs, so it waits its turn.

        Raises:
            OrderInProgress: an order is not through in time.
        """
        await self.submitter.lock.acquire(context, self.executor.remaining_wait(context), context.is_connected)
        try:
            return await work()
        finally:
            self.submitter.lock.release(context)

    def _order_request(self, context: CallContext, order_info: OrderRequestInfo, began: float) -> OrderRequest:
        kind = context.endpoint.operation
        if kind is None:
            raise ValueError("no order call")
        road = self.executor

        async def weigh() -> None:
            in_flight = order_request.record.in_flight if order_request.record is not None else None
            is_connected = (
                in_flight.is_wanted if in_flight is not None else context.is_connected
            )  # any of those who wait
            order_request.facts = await road.with_order_value(
                replace(context, facts=order_request.facts, is_connected=is_connected), order_info.account
            )
            road.check_rules(order_request.facts)

        order_request = OrderRequest(
            kind,
            context.call,
            context.facts,
            self._make_sender(context, began),
            weigh,
            lambda: remaining_wait(road, context, began),
        )
        order_request.is_connected, order_request.key_label, order_request.owner, order_request.request_id = (
            context.is_connected,
            context.key_label,
            order_info.owner,
            order_info.request_id,
        )
        order_request.idempotency_key, order_request.confirmations = order_info.idempotency_key, order_info.confirm
        order_request.account, order_request.path_id = order_info.account, order_info.path_id
        return order_request

    def _make_sender(self, context: CallContext, began: float) -> SendOrderCall:
        """Sends what the desk sends for a caller; the time until its first call was all waiting."""
        is_first = True

        async def send(
            call: Call,
            facts: RequestFacts,
            before_first_byte: Departure,
            is_connected: Callable[[], bool],
            on_late_response: OnLateResponse,
        ) -> Response:
            nonlocal is_first
            if is_first:
                is_first, context.timing.waited_s = False, time.monotonic() - began
            endpoint = endpoint_of(call.method, call.target)
            part = replace(context, call=call, endpoint=endpoint, facts=facts, is_connected=is_connected, is_sent=False)
            part.before_first_byte, part.on_late_response = before_first_byte, on_late_response
            try:
                return await self.executor.handle(part)
            finally:
                context.is_sent = context.is_sent or part.is_sent

        return send

    # -- the bridge's own part

    async def run_loop(self) -> NoReturn:
        """Decline what nobody answers, for ever."""
        while True:
            self._wake.clear()
            await self.submitter.questions.decline_expired(self._clock.now(), self._decline)
            pending = self.submitter.lock.pending
            left = IDLE_S if pending is None else pending.expires_at - self._clock.now()
            await self._clock.wait(self._wake, max(left, MIN_INTERVAL_S))  # a reply on its way may come back unsent

    async def _decline(self, call: Call, wait: float) -> None:
        endpoint, facts = (
            endpoint_of(call.method, call.target),
            RequestFacts(Effect.READ, None),
        )  # no rule stands in the way of a no
        with suppress(BridgeError, CallerGone):  # IBKR forgets its question by itself as well
            discard(await self.executor.handle(CallContext(call, endpoint, facts, BRIDGE_KEY_LABEL, wait)))

    async def fetch_order_lists(self, account: str | None) -> OrderListing | None:
        """A fresh list of orders, and one of trades; None where they cannot be had now."""
        if not self.executor.is_up(Layer.BROKERAGE):
            return None
        of = f"accountId={quote(account, safe='')}" if account else ""
        try:
            discard(await self.executor.fetch_uncached(_uncached_read(ORDERS_LIST, "force=true", of)))
            await self._clock.wait(asyncio.Event(), self._between)
            orders = await read_fully(await self.executor.execute(_uncached_read(ORDERS_LIST, of)), MAX_LIST_BYTES)
            trades = await read_fully(await self.executor.execute(_uncached_read(TRADES, "days=2")), MAX_LIST_BYTES)
        except (BridgeError, CallerGone):
            return None
        if orders.status != 200 or trades.status != 200 or orders.body_stream or trades.body_stream:
            discard(orders)
            discard(trades)
            return None
        rows, is_whole = read_orders(orders.body)
        return OrderListing(rows, read_trades(trades.body), is_whole, account)

    def observe_list(self, context: CallContext, response: Response) -> None:
        """A caller asked for a list: read it too, where anything is missing."""
        if not self.reconciler.has_unsettled or response.status != 200 or response.body_stream is not None:
            return
        if context.endpoint.segments == ORDERS_LIST:
            self.reconciler.observe(OrderListing(orders=read_orders(response.body)[0]))
        elif context.endpoint.segments == TRADES:
            self.reconciler.observe(OrderListing(trades=read_trades(response.body)))


def remaining_wait(executor: CallExecutor, context: CallContext, began: float) -> float:
    """Seconds a caller would still wait, counted from when its order came: also before anything was asked for it."""
    return max(0.0, executor.remaining_wait(context) + context.timing.waited_s - (time.monotonic() - began))


def _uncached_read(segments: tuple[str, ...], *query: str) -> CallContext:
    """A read of our own, never from memory."""
    asked = "&".join(filter(None, query))
    call = Call("GET", api_path(segments) + (f"?{asked}" if asked else ""), request_headers(()))
    endpoint = endpoint_of(call.method, call.target)
    return CallContext(call, endpoint, RequestFacts(Effect.READ, None), BRIDGE_KEY_LABEL, LIST_WAIT_S, max_age_s=0.0)
