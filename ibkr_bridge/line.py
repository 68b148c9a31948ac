"""One Gateway and all that serves it. Lines are kept by name; usually there is one.

The road of a call stands here as one method: is the session up, does the guard agree, whose turn is it, is the caller
still there, then ask, and read what the answer says about the session.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from ibkr_bridge import events
from ibkr_bridge.catalogue import met
from ibkr_bridge.composed import Ask
from ibkr_bridge.composed.orders_list import orders_list
from ibkr_bridge.composed.positions import positions
from ibkr_bridge.endpoint import Holds, Made, Need
from ibkr_bridge.errors import (
    GatewayGarbled,
    GatewayTrouble,
    NotNow,
    OrderUnknown,
    Stopping,
)
from ibkr_bridge.explaining import Explaining
from ibkr_bridge.orders.pause import Pause
from ibkr_bridge.orders.rules import Standing, applying, judge
from ibkr_bridge.session.down import LOOK_AGAIN_IN, down
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.machine import Saw, State
from ibkr_bridge.settings import Mode, Settings
from ibkr_bridge.traffic.memory import is_thin
from ibkr_bridge.traffic.penalty import Penalty
from ibkr_bridge.traffic.reads import Asker, Reads
from ibkr_bridge.traffic.room import Importance
from ibkr_bridge.traffic.sharing import Flight
from ibkr_bridge.traffic.turns import Turn, Turns
from ibkr_bridge.trip import CallerGone, Trip
from ibkr_bridge.upstream.base import Answer, Call
from ibkr_bridge.upstream.gateway import Gateway
from ibkr_bridge.upstream.jar import Jar

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
    pause: Pause
    explaining: Explaining
    reads: Reads | None
    """None where nothing is shared or remembered."""
    _asked_before: set[str] = field(default_factory=set)
    """Targets of this session whose first answer is behind them."""

    async def ask(self, trip: Trip) -> Answer:
        """Take a call the whole road.

        Raises:
            BridgeError: nothing was sent, or nothing usable came back; the class says which.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        compose = COMPOSED.get(trip.row.made) if trip.row.made else None
        return await (self._composed(trip, compose) if compose else self._one(trip))

    async def _composed(self, trip: Trip, compose: Compose) -> Answer:
        """An answer that is made of others; each of them goes the whole road."""

        async def ask(call: Call) -> Answer:
            part = replace(trip, call=call, row=replace(met(call.method, call.target), made=None))
            try:
                return await self._one(part)
            finally:
                trip.waited, trip.at_gateway = trip.waited + part.waited, trip.at_gateway + part.at_gateway
                trip.source, trip.age = part.source, part.age

        return await compose(ask, trip.call)

    async def _one(self, trip: Trip) -> Answer:
        self._guard(trip)
        began = time.monotonic()
        await self._session_up(trip)
        if self.reads is None or not trip.row.shareable:
            return await self._ask(trip, began)
        asker = Asker(self._patience(trip, began), trip.max_age, trip.still_there)
        told = await self.reads.read(trip.row, trip.call, asker, lambda flight: self._fly(trip, flight))
        trip.source, trip.age = told.source, told.age
        return told.answer

    async def _fly(self, trip: Trip, flight: Flight) -> Answer:
        """Ask for all who wait for it, not for the first of them alone."""
        own = replace(trip, still_there=flight.is_wanted, wait=flight.patience, flight=flight)
        try:
            answer = await self._ask(own, time.monotonic())
            return await self._second(own, answer) if self._needs_second(own, answer) else answer
        finally:
            trip.waited, trip.at_gateway = own.waited, own.at_gateway

    def _needs_second(self, trip: Trip, answer: Answer) -> bool:
        """Whether IBKR's first answer in a session is a thin one, which it makes good when it is asked again."""
        if Need.TWICE not in trip.row.needs or answer.status != 200 or answer.rest is not None:
            return False
        if trip.row.pace is not None:
            return is_thin(answer)  # a second look costs its callers seconds: only where IBKR says so
        known = trip.call.target in self._asked_before
        self._asked_before.add(trip.call.target)
        return not known

    async def _second(self, trip: Trip, first: Answer) -> Answer:
        """Ask once more, as long as the row's own limit makes that; where it cannot be, the first answer has to do."""
        pace = trip.row.pace.seconds if trip.row.pace else 0.0
        again = replace(trip, wait=pace + self.settings.max_wait, sent=False)
        try:
            return await self._ask(again, time.monotonic())
        except NotNow:
            return first

    async def _ask(self, trip: Trip, began: float) -> Answer:
        self.penalty.check(trip.row)
        importance = Importance.ORDERS if trip.row.order else Importance.READS
        turn = await self.turns.take(trip.row, importance, trip.key, self._patience(trip, began))
        trip.waited = time.monotonic() - began
        try:
            return await self.explaining.read(trip.row, await self._send(trip, turn))
        finally:
            if trip.sent and not trip.row.reads:
                self._forget(Holds.ACCOUNT)

    def hear(self, fact: events.Fact) -> None:
        """What was known of accounts and prices belongs to one session."""
        if isinstance(fact, events.SessionChanged) and fact.line == self.name and fact.state != State.READY.value:
            self._forget(Holds.ACCOUNT, Holds.MARKET)
            self._asked_before.clear()

    def _forget(self, *kinds: Holds) -> None:
        if self.reads is not None:
            self.reads.forget(*kinds)

    async def signed_in(self) -> None:
        """Make sure that somebody is signed in, as a fresh look shows it.

        Raises:
            BridgeError: nobody is, or the Gateway cannot be asked.
        """
        session = await self.keeper.fresh()
        if not session.login:
            raise down(self.keeper, session)

    # -- before anything is sent

    def _guard(self, trip: Trip) -> None:
        if not applying(trip.asked):
            return  # spares every read the look at what holds now, twice
        refusal = judge(trip.asked, self.standing())
        if refusal is not None:
            raise refusal.raised()

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
        )

    async def _session_up(self, trip: Trip) -> None:
        if self.keeper.session.state is State.STARTING:
            await self.keeper.fresh()
        if self.keeper.is_up(trip.row.layer):
            return
        up = trip.wait and await self.keeper.until_up(trip.row.layer, trip.wait, trip.stopping)
        if trip.stopping():
            raise Stopping("the bridge is stopping", retry_after=LOOK_AGAIN_IN)
        if not up:
            raise down(self.keeper)

    def _patience(self, trip: Trip, began: float) -> float:
        if trip.wait is None:
            return self.settings.max_wait
        return max(0.0, trip.wait - (time.monotonic() - began))

    def _last_look(self, trip: Trip, turn: Turn) -> None:
        """The connection stands, the next thing is the first byte: much may have changed while we waited."""
        if not trip.still_there():
            raise CallerGone
        if not self.keeper.is_up(trip.row.layer):
            raise down(self.keeper)
        self._guard(trip)
        self.penalty.check(trip.row)
        if trip.sent and not turn.again():
            raise GatewayGarbled("the Gateway broke off before it answered, and IBKR's limits allow no second call now")
        trip.sent = turn.sent = True
        if trip.flight is not None:
            trip.flight.sent = True
        if not trip.row.reads:
            self._forget(Holds.ACCOUNT)

    # -- sent

    async def _send(self, trip: Trip, turn: Turn) -> Answer:
        sent = time.monotonic()

        def left() -> None:
            turn.left()
            if self.keeper.session.saw is Saw.CLOGGED:
                self.keeper.doubt()

        try:
            within = trip.row.within
            return await self.gateway.ask(trip.call, left, lambda: self._last_look(trip, turn), within=within)
        except GatewayTrouble as exc:
            self.keeper.doubt()
            if not trip.call.changes:
                exc.retry_after = LOOK_AGAIN_IN
            if trip.call.changes and trip.sent:
                raise OrderUnknown(f"{exc.detail}; what was asked for may have happened") from exc
            raise
        finally:
            trip.at_gateway = time.monotonic() - sent


Lines = Mapping[str, Line]
