"""One Gateway and all that serves it. Lines are kept by name; usually there is one.

The road of a call stands here, one method after the other: is the session up, does the guard agree, is it remembered,
whose turn is it, is the caller still there, then ask, and read what the answer says about the session.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace

from ibkr_bridge import events
from ibkr_bridge.cache.cached_reads import CachedReads, ReadOptions, cache_key
from ibkr_bridge.cache.response_cache import CacheEntry
from ibkr_bridge.cache.singleflight import SharedCall
from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.context import CallContext, CallerGone, CallTiming
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, FetchCall, Response, read_fully
from ibkr_bridge.calls.parameters import check_list_sizes
from ibkr_bridge.config.settings import Mode, Settings
from ibkr_bridge.errors import Busy, GatewayError, OrderUnknown, ShuttingDown
from ibkr_bridge.ibkr.bodies import demands_accounts_first
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import CacheTag, Composition, Endpoint, Layer, OrderOperation
from ibkr_bridge.limits.admission import AdmissionController, Permit, no_second_call_error, noop
from ibkr_bridge.limits.admission_queue import Priority
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.limits.persistent_windows import PersistentWindows
from ibkr_bridge.orders.rules.order_value_inputs import estimate_order_values
from ibkr_bridge.orders.rules.rules import RuleContext, first_refusal, rules_for
from ibkr_bridge.orders.rules.trading_pause import TradingPause
from ibkr_bridge.orders.service import OrderRequestInfo, OrderService
from ibkr_bridge.orders.suppressed_questions import SuppressedQuestions
from ibkr_bridge.quirks.completion import CompleteReads
from ibkr_bridge.quirks.order_filters import fetch_filtered_orders, without_filters
from ibkr_bridge.quirks.position_pages import fetch_all_positions
from ibkr_bridge.session.gate import Explaining
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.state_machine import Observation, SessionState
from ibkr_bridge.session.unavailable import RETRY_AFTER_S, unavailable_error
from ibkr_bridge.streaming.service import StreamService
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore

Composer = Callable[[FetchCall, Call], Awaitable[Response]]
COMPOSERS: Mapping[Composition, Composer] = {
    Composition.FILTERED: fetch_filtered_orders,
    Composition.PAGES: fetch_all_positions,
}


@dataclass
class Profile:
    """One Gateway, its session, the turns before it, what it said lately, its hand brake."""

    name: str
    settings: Settings
    upstream: GatewayClient
    cookies: CookieStore
    keeper: Keeper
    admission: AdmissionController
    penalty_box: PenaltyBox
    persistent_windows: PersistentWindows
    trading_pause: TradingPause
    explaining: Explaining
    completion: CompleteReads
    orders: OrderService
    suppressed_questions: SuppressedQuestions
    streaming: StreamService
    cached_reads: CachedReads | None
    """None where nothing is shared or remembered."""

    async def execute(self, context: CallContext) -> Response:
        """Take a call the whole road.

        Raises:
            BridgeError: nothing was sent, or nothing usable came back; the class says which.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        check_list_sizes(context.endpoint, context.call)
        if context.endpoint.operation is OrderOperation.PREVIEW:
            return await self.orders.preview(context, lambda: self.handle(context))
        compose = COMPOSERS.get(context.endpoint.composition) if context.endpoint.composition else None
        return await (compose(self._part_sender(context), context.call) if compose else self.handle(context))

    async def execute_order(self, context: CallContext, order_info: OrderRequestInfo) -> Response:
        """Take an order call to the desk, and from there the same road.

        Raises:
            BridgeError, CallerGone: see `ask`; `OrderUnknown` where nobody knows what became of it.
        """
        return await self.orders.submit(context, order_info)

    def _part_sender(self, context: CallContext) -> FetchCall:
        """Asks for what an answer is made of; each part goes the whole road."""

        async def ask(call: Call) -> Response:
            part = replace(
                context, call=call, endpoint=endpoint_of(call.method, call.target), source="gateway", age_s=None
            )
            try:
                return await self.handle(part)
            finally:
                context.merge_part(part)

        return ask

    async def handle(self, context: CallContext) -> Response:
        """Take one call the whole road. Raises what `ask` does."""
        self.check_rules(context.facts)
        await self._require_session(context)
        if (response := self.streaming.intercept_call(context)) is not None:
            context.source = "bridge"
            return response
        if self.cached_reads is None or not context.endpoint.is_shareable:
            return await self.completion.handle(_PipelineHandle(self, context))
        asker = ReadOptions(self.remaining_wait(context), context.max_age_s, context.is_connected)
        result = await self.cached_reads.read(
            context.endpoint, context.call, asker, lambda shared_call: self._fetch_shared(context, shared_call)
        )
        context.source, context.age_s = result.source, result.age_s
        return result.response

    async def _fetch_shared(self, context: CallContext, shared_call: SharedCall) -> Response:
        """Ask for all who wait for it, not for the first of them alone."""
        own = replace(
            context,
            is_connected=shared_call.is_wanted,
            wait_s=shared_call.max_wait_s,
            shared_call=shared_call,
            timing=CallTiming(),
        )
        try:
            return await self.completion.handle(_PipelineHandle(self, own))
        finally:
            context.timing.waited_s += own.timing.waited_s
            context.timing.upstream_s += own.timing.upstream_s

    async def fetch_uncached(self, context: CallContext) -> Response:
        """Take a read as it is, past memory and courtesy. Raises what `ask` does."""
        await self._require_session(context)
        return await self.send(context, 0.0)

    async def send(self, context: CallContext, extra_wait_s: float) -> Response:
        """Ask for one call, and notice what its answer tells of the session."""
        endpoint = context.endpoint
        notice = self.completion.observer() if endpoint.satisfies is not None else None
        response = await self._admit_and_send(
            replace(context, is_sent=False) if context.is_sent and endpoint.is_read else context, extra_wait_s
        )
        if endpoint.composition or (self.cached_reads is not None and endpoint.is_shareable):
            response = decompress(await read_fully(response))
        if notice is not None:
            notice(endpoint, context.call, response)
        self.orders.observe_list(context, response)
        self.suppressed_questions.observe(endpoint, context.call, response)
        if response.status != 200 and demands_accounts_first(response.body):
            self._on_session_lost()  # IBKR has another session than the one we know
        return response

    async def _admit_and_send(self, context: CallContext, extra_wait_s: float) -> Response:
        self.penalty_box.check(context.endpoint)
        importance = Priority.ORDERS if context.endpoint.operation else Priority.READS
        expects = context.shared_call.on_estimate if context.shared_call else noop
        began = time.monotonic()
        try:
            wait = self.remaining_wait(context) + extra_wait_s
            permit = await self.admission.acquire(
                context.endpoint, importance, context.key_label, wait, expects, context.is_connected
            )
        finally:
            context.timing.waited_s += time.monotonic() - began
        try:
            return await self.explaining.read(context.endpoint, await self._dispatch(context, permit))
        finally:
            if context.is_sent:
                self._invalidate(*context.endpoint.invalidates)

    def cached_response(
        self, endpoint: Endpoint, key: Hashable, max_age: float | None
    ) -> tuple[CacheEntry, float] | None:
        """What is remembered under a key of `memory_key`, and its age; None where the call has to take the road."""
        if self.cached_reads is None or not self.keeper.is_up(endpoint.layer):
            return None
        return self.cached_reads.peek(key, max_age)

    def cache_key(self, context: CallContext) -> Hashable | None:
        """Under which a call's answer is remembered as it is told; None for what is not, or has to be judged anew."""
        if not context.endpoint.is_shareable or rules_for(context.facts):
            return None
        return (
            cache_key(context.call)
            if context.endpoint.composition in (None, Composition.FILLED) or _is_unfiltered(context)
            else None
        )

    def on_event(self, event: events.Event) -> None:
        """What was known of accounts and prices belongs to one session, and so does IBKR's socket."""
        self.streaming.on_event(event)
        if (
            isinstance(event, events.SessionChanged)
            and event.profile == self.name
            and event.state != SessionState.READY.value
        ):
            self._on_session_lost()

    def _on_session_lost(self) -> None:
        """Another session has to be asked anew."""
        self._invalidate(*(kind for kind in CacheTag if kind is not CacheTag.WORLD))
        self.completion.reset_session()

    def _invalidate(self, *kinds: CacheTag) -> None:
        if self.cached_reads is not None and kinds:
            self.cached_reads.invalidate(*kinds)

    async def require_login(self) -> None:
        """Make sure that somebody is signed in, as a fresh look shows it.

        Raises:
            BridgeError: nobody is, or the Gateway cannot be asked.
        """
        session = await self.keeper.current()
        if not session.has_login:
            raise unavailable_error(self.keeper, session)

    async def with_order_value(self, context: CallContext, account: str | None) -> RequestFacts:
        """What the rules have to know of an order; its worth is asked for only where that is capped."""
        if self.settings.max_order_value is None or context.endpoint.operation not in (
            OrderOperation.PLACE,
            OrderOperation.MODIFY,
        ):
            return context.facts
        return replace(
            context.facts,
            order_values=await estimate_order_values(_PipelineHandle(self, context).fetch, account, context.call),
        )

    # -- before anything is sent

    def check_rules(self, facts: RequestFacts) -> None:
        """Ask the rules.

        Raises:
            Refused: one says no.
        """
        if not rules_for(facts):
            return  # spares every read the look at what holds now, twice
        refusal = first_refusal(facts, self.rule_context())
        if refusal is not None:
            raise refusal.as_error()

    def is_up(self, layer: Layer) -> bool:
        """Whether a layer of the session is up."""
        return self.keeper.is_up(layer)

    def rule_context(self) -> RuleContext:
        """What the rules may lean on now."""
        return RuleContext(
            read_only=self.settings.read_only,
            paper_mode=self.settings.trading_mode is Mode.PAPER,
            paused=self.trading_pause.is_on,
            allowed=self.settings.allowed_accounts,
            max_quantity=self.settings.max_order_quantity,
            max_value=self.settings.max_order_value,
            paid_snapshots=self.settings.allow_paid_snapshots,
            session_accounts=self.keeper.accounts.numbers,
            session_is_paper=self.keeper.accounts.paper,
            login_is_paper=self.keeper.accounts.login_is_paper,
        )

    async def _require_session(self, context: CallContext) -> None:
        if self.keeper.session.state is SessionState.STARTING:
            await self.keeper.current()
        if self.keeper.is_up(context.endpoint.layer):
            return
        began = time.monotonic()
        up = context.wait_s and await self.keeper.wait_until_up(
            context.endpoint.layer, context.wait_s, context.is_stopping
        )
        context.timing.waited_s += time.monotonic() - began
        if context.is_stopping():
            raise ShuttingDown("the bridge is stopping", retry_after=RETRY_AFTER_S)
        if not up:
            raise unavailable_error(self.keeper)

    def remaining_wait(self, context: CallContext) -> float:
        """Seconds that are left for waiting."""
        wait = self.settings.max_wait_s if context.wait_s is None else context.wait_s
        return max(0.0, wait - context.timing.waited_s)

    async def _check_preconditions(
        self, context: CallContext, permit: Permit, check_connection: Callable[[], None]
    ) -> None:
        """The connection stands, nothing is sent yet: much may have changed while we waited.

        An order's entry is written to disk here, which takes time; all is looked at once more behind it. Nothing is
        awaited between that and the first byte.
        """
        self._check(context)
        if context.is_sent and not permit.readmit():
            raise no_second_call_error()
        if context.before_first_byte is not None:
            await context.before_first_byte.write_entry()
            self._check(context)
            check_connection()
            context.before_first_byte.has_left = True
        context.is_sent = permit.is_sent = True
        if context.shared_call is not None:
            context.shared_call.mark_sent()
        self._record_sent(context.endpoint)

    def _check(self, context: CallContext) -> None:
        if not context.is_connected():
            raise CallerGone
        if not self.keeper.is_up(context.endpoint.layer):
            raise unavailable_error(self.keeper)
        self.check_rules(context.facts)
        self.penalty_box.check(context.endpoint)
        if context.endpoint.operation:
            self._last_look_at_order(context)

    def _last_look_at_order(self, context: CallContext) -> None:
        """What goes out now is carried out now, or not at all."""
        if self.upstream.abandoned >= self.admission.limits.slots:
            raise Busy("calls the Gateway never answered hold its places", retry_after=RETRY_AFTER_S)
        if context.deadline is not None and time.monotonic() > context.deadline:
            raise Busy("it could not be sent within its caller's time", retry_after=1.0)

    # -- sent

    def _record_sent(self, endpoint: Endpoint) -> None:
        """A call has just gone out, or is done with over there: its limit counts, and what it makes stale is."""
        self.persistent_windows.record(endpoint)
        self._invalidate(*endpoint.invalidates)

    async def _dispatch(self, context: CallContext, permit: Permit) -> Response:
        sent = time.monotonic()

        def left() -> None:
            permit.release()
            if context.is_sent:
                self._record_sent(context.endpoint)  # also where it was late: what was asked meanwhile does not show it
            if self.keeper.session.observation is Observation.SLOTS_EXHAUSTED:
                self.keeper.request_check()

        try:
            timeout_s = context.endpoint.timeout_s
            look = functools.partial(self._check_preconditions, context, permit)
            return await self.upstream.send(
                context.call, left, look, timeout_s=timeout_s, on_late_response=context.on_late_response
            )
        except GatewayError as exc:
            self.keeper.request_check()
            if not context.call.is_change:
                exc.retry_after = RETRY_AFTER_S
            if context.call.is_change and context.is_sent:
                raise OrderUnknown(f"{exc.detail}; what was asked for may have happened") from exc
            raise
        finally:
            context.timing.upstream_s += time.monotonic() - sent


class _PipelineHandle:
    """One call, and the ways to ask for it and for what it takes: `composed.courtesy.Errand`."""

    __slots__ = ("_context", "_profile", "call", "endpoint")

    def __init__(self, profile: Profile, context: CallContext) -> None:
        self._profile = profile
        self._context = context
        self.endpoint = context.endpoint
        self.call = context.call

    async def send(self, extra_wait_s: float) -> Response:
        """See `Errand.send`."""
        return await self._profile.send(self._context, extra_wait_s)

    async def fetch(self, call: Call, max_age: float | None = None) -> Response:
        """See `Errand.other`."""
        context, endpoint = self._context, endpoint_of(call.method, call.target)
        facts, spent = (
            RequestFacts(endpoint.effect, endpoint.operation),
            context.timing if context.endpoint.is_read else CallTiming(),
        )
        part = replace(
            context,
            call=call,
            endpoint=endpoint,
            facts=facts,
            max_age_s=max_age,
            shared_call=None,
            is_sent=False,
            timing=spent,
        )
        part.before_first_byte, part.on_late_response, part.deadline = None, None, None  # those are the order's own
        return await self._profile.execute(part)

    async def fetch_fresh(self, call: Call) -> Response:
        """See `Errand.anew`."""
        return await self.fetch(call, max_age=0.0)


def _is_unfiltered(context: CallContext) -> bool:
    return context.endpoint.composition is Composition.FILTERED and not without_filters(context.call.target)[1]


Profiles = Mapping[str, Profile]
