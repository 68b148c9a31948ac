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
from ibkr_bridge.cache.cached_reads import Asker, Reads, key_of
from ibkr_bridge.cache.response_cache import Kept
from ibkr_bridge.cache.singleflight import Flight
from ibkr_bridge.calls.content_encoding import unpacked
from ibkr_bridge.calls.context import CallerGone, Spent, Trip
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.calls.messages import Answer, Ask, Call, whole
from ibkr_bridge.calls.parameters import refuse_too_many
from ibkr_bridge.config.settings import Mode, Settings
from ibkr_bridge.errors import Busy, GatewayTrouble, OrderUnknown, Stopping
from ibkr_bridge.ibkr.bodies import wants_accounts
from ibkr_bridge.ibkr.catalogue import met
from ibkr_bridge.ibkr.endpoint import Endpoint, Holds, Layer, Made, Order
from ibkr_bridge.limits.admission import Turn, Turns, ignore, no_second_call
from ibkr_bridge.limits.admission_queue import Importance
from ibkr_bridge.limits.penalty_box import Penalty
from ibkr_bridge.limits.persistent_windows import LongPaces
from ibkr_bridge.orders.rules.order_value_inputs import worth
from ibkr_bridge.orders.rules.rules import Standing, applying, judge
from ibkr_bridge.orders.rules.trading_pause import Pause
from ibkr_bridge.orders.service import Errand, Ordering
from ibkr_bridge.orders.suppressed_questions import Suppressed
from ibkr_bridge.quirks.completion import Courtesy
from ibkr_bridge.quirks.order_filters import orders_list, without_filters
from ibkr_bridge.quirks.position_pages import positions
from ibkr_bridge.session.gate import Explaining
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.state_machine import Saw, State
from ibkr_bridge.session.unavailable import LOOK_AGAIN_IN, down
from ibkr_bridge.streaming.service import Streaming
from ibkr_bridge.upstream.gateway.client import Gateway
from ibkr_bridge.upstream.gateway.cookies import Jar

Compose = Callable[[Ask, Call], Awaitable[Answer]]
COMPOSED: Mapping[Made, Compose] = {Made.FILTERED: orders_list, Made.PAGES: positions}


@dataclass
class Line:
    """One Gateway, its session, the turns before it, what it said lately, its hand brake."""

    name: str
    settings: Settings
    gateway: Gateway
    jar: Jar
    keeper: Keeper
    turns: Turns
    penalty: Penalty
    long: LongPaces
    pause: Pause
    explaining: Explaining
    courtesy: Courtesy
    ordering: Ordering
    suppressed: Suppressed
    streaming: Streaming
    reads: Reads | None
    """None where nothing is shared or remembered."""

    async def ask(self, trip: Trip) -> Answer:
        """Take a call the whole road.

        Raises:
            BridgeError: nothing was sent, or nothing usable came back; the class says which.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        refuse_too_many(trip.row, trip.call)
        if trip.row.order is Order.PREVIEW:
            return await self.ordering.preview(trip, lambda: self.one(trip))
        compose = COMPOSED.get(trip.row.made) if trip.row.made else None
        return await (compose(self._parts(trip), trip.call) if compose else self.one(trip))

    async def order(self, trip: Trip, errand: Errand) -> Answer:
        """Take an order call to the desk, and from there the same road.

        Raises:
            BridgeError, CallerGone: see `ask`; `OrderUnknown` where nobody knows what became of it.
        """
        return await self.ordering.ask(trip, errand)

    def _parts(self, trip: Trip) -> Ask:
        """Asks for what an answer is made of; each part goes the whole road."""

        async def ask(call: Call) -> Answer:
            part = replace(trip, call=call, row=met(call.method, call.target), source="gateway", age=None)
            try:
                return await self.one(part)
            finally:
                trip.note_part(part)

        return ask

    async def one(self, trip: Trip) -> Answer:
        """Take one call the whole road. Raises what `ask` does."""
        self.guard(trip.asked)
        await self._session_up(trip)
        if (answer := self.streaming.before(trip)) is not None:
            trip.source = "bridge"
            return answer
        if self.reads is None or not trip.row.shareable:
            return await self.courtesy.ask(_Errand(self, trip))
        asker = Asker(self.patience(trip), trip.max_age, trip.still_there)
        told = await self.reads.read(trip.row, trip.call, asker, lambda flight: self._fly(trip, flight))
        trip.source, trip.age = told.source, told.age
        return told.answer

    async def _fly(self, trip: Trip, flight: Flight) -> Answer:
        """Ask for all who wait for it, not for the first of them alone."""
        own = replace(trip, still_there=flight.is_wanted, wait=flight.patience, flight=flight, spent=Spent())
        try:
            return await self.courtesy.ask(_Errand(self, own))
        finally:
            trip.spent.waited += own.spent.waited
            trip.spent.at_gateway += own.spent.at_gateway

    async def bare(self, trip: Trip) -> Answer:
        """Take a read as it is, past memory and courtesy. Raises what `ask` does."""
        await self._session_up(trip)
        return await self.send(trip, 0.0)

    async def send(self, trip: Trip, longer: float) -> Answer:
        """Ask for one call, and notice what its answer tells of the session."""
        row = trip.row
        notice = self.courtesy.noticing() if row.meets is not None else None
        answer = await self._ask(replace(trip, sent=False) if trip.sent and row.reads else trip, longer)
        if row.made or (self.reads is not None and row.shareable):
            answer = unpacked(await whole(answer))
        if notice is not None:
            notice(row, trip.call, answer)
        self.ordering.saw(trip, answer)
        self.suppressed.notice(row, trip.call, answer)
        if answer.status != 200 and wants_accounts(answer.body):
            self._renew()  # IBKR has another session than the one we know
        return answer

    async def _ask(self, trip: Trip, longer: float) -> Answer:
        self.penalty.check(trip.row)
        importance = Importance.ORDERS if trip.row.order else Importance.READS
        expects = trip.flight.expects if trip.flight else ignore
        began = time.monotonic()
        try:
            wait = self.patience(trip) + longer
            turn = await self.turns.take(trip.row, importance, trip.key, wait, expects, trip.still_there)
        finally:
            trip.spent.waited += time.monotonic() - began
        try:
            return await self.explaining.read(trip.row, await self._send(trip, turn))
        finally:
            if trip.sent:
                self._forget(*trip.row.spoils)

    def told_again(self, row: Endpoint, key: Hashable, max_age: float | None) -> tuple[Kept, float] | None:
        """What is remembered under a key of `memory_key`, and its age; None where the call has to take the road."""
        if self.reads is None or not self.keeper.is_up(row.layer):
            return None
        return self.reads.again(key, max_age)

    def memory_key(self, trip: Trip) -> Hashable | None:
        """Under which a call's answer is remembered as it is told; None for what is not, or has to be judged anew."""
        if not trip.row.shareable or applying(trip.asked):
            return None
        return key_of(trip.call) if trip.row.made in (None, Made.FILLED) or _is_unfiltered(trip) else None

    def hear(self, fact: events.Fact) -> None:
        """What was known of accounts and prices belongs to one session, and so does IBKR's socket."""
        self.streaming.hear(fact)
        if isinstance(fact, events.SessionChanged) and fact.line == self.name and fact.state != State.READY.value:
            self._renew()

    def _renew(self) -> None:
        """Another session has to be asked anew."""
        self._forget(*(kind for kind in Holds if kind is not Holds.WORLD))
        self.courtesy.forget()

    def _forget(self, *kinds: Holds) -> None:
        if self.reads is not None and kinds:
            self.reads.forget(*kinds)

    async def signed_in(self) -> None:
        """Make sure that somebody is signed in, as a fresh look shows it.

        Raises:
            BridgeError: nobody is, or the Gateway cannot be asked.
        """
        session = await self.keeper.fresh()
        if not session.login:
            raise down(self.keeper, session)

    async def weighed(self, trip: Trip, account: str | None) -> Asked:
        """What the rules have to know of an order; its worth is asked for only where that is capped."""
        if self.settings.max_order_value is None or trip.row.order not in (Order.PLACE, Order.MODIFY):
            return trip.asked
        return replace(trip.asked, worth=await worth(_Errand(self, trip).other, account, trip.call))

    # -- before anything is sent

    def guard(self, asked: Asked) -> None:
        """Ask the rules.

        Raises:
            Refused: one says no.
        """
        if not applying(asked):
            return  # spares every read the look at what holds now, twice
        refusal = judge(asked, self.standing())
        if refusal is not None:
            raise refusal.raised()

    def is_up(self, layer: Layer) -> bool:
        """Whether a layer of the session is up."""
        return self.keeper.is_up(layer)

    def standing(self) -> Standing:
        """What the rules may lean on now."""
        return Standing(
            read_only=self.settings.read_only,
            paper_mode=self.settings.trading_mode is Mode.PAPER,
            paused=self.pause.is_on,
            allowed=self.settings.allowed_accounts,
            max_quantity=self.settings.max_order_quantity,
            max_value=self.settings.max_order_value,
            paid_snapshots=self.settings.allow_paid_snapshots,
            session_accounts=self.keeper.accounts.numbers,
            session_is_paper=self.keeper.accounts.paper,
            login_is_paper=self.keeper.accounts.login_is_paper,
        )

    async def _session_up(self, trip: Trip) -> None:
        if self.keeper.session.state is State.STARTING:
            await self.keeper.fresh()
        if self.keeper.is_up(trip.row.layer):
            return
        began = time.monotonic()
        up = trip.wait and await self.keeper.until_up(trip.row.layer, trip.wait, trip.stopping)
        trip.spent.waited += time.monotonic() - began
        if trip.stopping():
            raise Stopping("the bridge is stopping", retry_after=LOOK_AGAIN_IN)
        if not up:
            raise down(self.keeper)

    def patience(self, trip: Trip) -> float:
        """Seconds that are left for waiting."""
        wait = self.settings.max_wait if trip.wait is None else trip.wait
        return max(0.0, wait - trip.spent.waited)

    async def _last_look(self, trip: Trip, turn: Turn, check_connection: Callable[[], None]) -> None:
        """The connection stands, nothing is sent yet: much may have changed while we waited.

        An order's entry is written to disk here, which takes time; all is looked at once more behind it. Nothing is
        awaited between that and the first byte.
        """
        self._check(trip)
        if trip.sent and not turn.again():
            raise no_second_call()
        if trip.leaving is not None:
            await trip.leaving.write_entry()
            self._check(trip)
            check_connection()
            trip.leaving.has_left = True
        trip.sent = turn.sent = True
        if trip.flight is not None:
            trip.flight.depart()
        self._passed(trip.row)

    def _check(self, trip: Trip) -> None:
        if not trip.still_there():
            raise CallerGone
        if not self.keeper.is_up(trip.row.layer):
            raise down(self.keeper)
        self.guard(trip.asked)
        self.penalty.check(trip.row)
        if trip.row.order:
            self._last_look_at_order(trip)

    def _last_look_at_order(self, trip: Trip) -> None:
        """What goes out now is carried out now, or not at all."""
        if self.gateway.ghosts >= self.turns.limits.places:
            raise Busy("calls the Gateway never answered hold its places", retry_after=LOOK_AGAIN_IN)
        if trip.until is not None and time.monotonic() > trip.until:
            raise Busy("it could not be sent within its caller's time", retry_after=1.0)

    # -- sent

    def _passed(self, row: Endpoint) -> None:
        """A call has just gone out, or is done with over there: its limit counts, and what it makes stale is."""
        self.long.spent(row)
        self._forget(*row.spoils)

    async def _send(self, trip: Trip, turn: Turn) -> Answer:
        sent = time.monotonic()

        def left() -> None:
            turn.left()
            if trip.sent:
                self._passed(trip.row)  # also where it was late: what was asked meanwhile does not show it
            if self.keeper.session.saw is Saw.CLOGGED:
                self.keeper.doubt()

        try:
            within = trip.row.within
            look = functools.partial(self._last_look, trip, turn)
            return await self.gateway.ask(trip.call, left, look, within=within, late=trip.late)
        except GatewayTrouble as exc:
            self.keeper.doubt()
            if not trip.call.changes:
                exc.retry_after = LOOK_AGAIN_IN
            if trip.call.changes and trip.sent:
                raise OrderUnknown(f"{exc.detail}; what was asked for may have happened") from exc
            raise
        finally:
            trip.spent.at_gateway += time.monotonic() - sent


class _Errand:
    """One call, and the ways to ask for it and for what it takes: `composed.courtesy.Errand`."""

    __slots__ = ("_line", "_trip", "call", "row")

    def __init__(self, line: Line, trip: Trip) -> None:
        self._line = line
        self._trip = trip
        self.row = trip.row
        self.call = trip.call

    async def send(self, longer: float) -> Answer:
        """See `Errand.send`."""
        return await self._line.send(self._trip, longer)

    async def other(self, call: Call, max_age: float | None = None) -> Answer:
        """See `Errand.other`."""
        trip, row = self._trip, met(call.method, call.target)
        asked, spent = Asked(row.effect, row.order), trip.spent if trip.row.reads else Spent()
        part = replace(trip, call=call, row=row, asked=asked, max_age=max_age, flight=None, sent=False, spent=spent)
        part.leaving, part.late, part.until = None, None, None  # those are the order's own
        return await self._line.ask(part)

    async def anew(self, call: Call) -> Answer:
        """See `Errand.anew`."""
        return await self.other(call, max_age=0.0)


def _is_unfiltered(trip: Trip) -> bool:
    return trip.row.made is Made.FILTERED and not without_filters(trip.call.target)[1]


Lines = Mapping[str, Line]
