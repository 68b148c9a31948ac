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

from ibkr_bridge.calls.context import CallerGone, Trip
from ibkr_bridge.calls.facts import Asked
from ibkr_bridge.calls.header_policy import upwards
from ibkr_bridge.calls.messages import Answer, Call, Late, let_go, whole
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.catalogue import ORDERS_LIST, TRADES, met, target
from ibkr_bridge.ibkr.endpoint import Effect, Layer
from ibkr_bridge.orders.journal.repository import Book
from ibkr_bridge.orders.reconciliation.ibkr_rows import Seen, read_orders, read_trades
from ibkr_bridge.orders.reconciliation.reconciler import Seeker
from ibkr_bridge.orders.reconciliation.schedule import Search
from ibkr_bridge.orders.request import Departure, Send, Wish
from ibkr_bridge.orders.submission import Desk

OURS = "bridge"  # the key under which the bridge's own calls take turns
GRACE = 2.0  # seconds beyond its caller's patience in which an order may still leave: a connection takes time to make
MOST_LISTED = 64 * 1024 * 1024  # bytes; a day of very many trades
LOOK_WAIT = 12.0  # seconds; IBKR takes the list of orders once in five, and callers want it too
IDLE = 3600.0  # seconds; whatever moves wakes the loop
BREATH = 0.5  # seconds between two rounds at least, where nothing moves


class Road(Protocol):
    """The line, as orders see it."""

    async def one(self, trip: Trip) -> Answer:
        """Take one call the whole road."""
        ...

    async def ask(self, trip: Trip) -> Answer:
        """See `Line.ask`."""
        ...

    async def bare(self, trip: Trip) -> Answer:
        """Take a read as it is, past memory and courtesy."""
        ...

    async def weighed(self, trip: Trip, account: str | None) -> Asked:
        """What the rules have to know of an order, its worth included."""
        ...

    def guard(self, asked: Asked) -> None:
        """Ask the rules."""
        ...

    def patience(self, trip: Trip) -> float:
        """Seconds a caller would still wait."""
        ...

    def is_up(self, layer: Layer) -> bool:
        """Whether a layer of the session is up."""
        ...


@dataclass(frozen=True)
class Errand:
    """Whose order it is, and what the request says besides its call."""

    owner: str = ""
    """Which key, without telling it."""
    request: str = ""
    """The request's id."""
    idempotency: str | None = None
    """Its Idempotency-Key."""
    confirm: frozenset[str] = frozenset()
    """The words of X-Bridge-Confirm."""
    account: str | None = None
    """The account its path names."""
    subject: str = ""
    """The last part of its path."""


class Ordering:
    """The orders of one line.

    Args:
        search: when to look for lost orders.
        add_names: whether orders without a cOID get one.
    """

    def __init__(self, book: Book, clock: Clock, search: Search, *, add_names: bool) -> None:
        self.book = book
        self._clock = clock
        self._between = search.between
        self.seeker = Seeker(book, clock, search)
        self.desk = Desk(book, clock, self.seeker.wait_open, add_names=add_names)
        self._wake = asyncio.Event()
        self._road: Road | None = None
        book.watch(lambda _: self._wake.set())
        self.desk.chain.hung = self._wake.set

    def __repr__(self) -> str:
        return f"<Ordering {self.desk!r}>"

    @property
    def road(self) -> Road:
        """The line whose orders these are."""
        if self._road is None:
            raise RuntimeError("the line has not been built")
        return self._road

    def travel_by(self, road: Road) -> None:
        """Use this line."""
        self._road = road
        self.seeker.look = self.look

    async def load(self) -> None:
        """Take up what earlier runs wrote; questions of theirs are declined.

        Raises:
            JournalDown: it cannot be read.
        """
        for reply in await self.book.load():
            self.desk.questions.decline_later(reply)

    async def ask(self, trip: Trip, errand: Errand) -> Answer:
        """Take an order call to the desk.

        Raises:
            BridgeError: nothing was sent, or nobody knows.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        await self.load()  # where that failed before; until then no order may leave
        began = time.monotonic()
        trip.until = began + self.road.patience(trip) + GRACE
        wish = self._wish(trip, errand, began)
        try:
            return await self.desk.ask(wish)
        finally:
            trip.order = wish.record
            trip.source = wish.source if wish.source != "gateway" else trip.source

    async def preview(self, trip: Trip, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask what an order would do: it changes nothing, but kills a question that hangs, so it waits its turn.

        Raises:
            OrderInProgress: an order is not through in time.
        """
        await self.desk.chain.enter(trip, self.road.patience(trip), trip.still_there)
        try:
            return await work()
        finally:
            self.desk.chain.leave(trip)

    def _wish(self, trip: Trip, errand: Errand, began: float) -> Wish:
        kind = trip.row.order
        if kind is None:
            raise ValueError("no order call")
        road = self.road

        async def weigh() -> None:
            flight = wish.record.flight if wish.record is not None else None
            is_there = flight.is_wanted if flight is not None else trip.still_there  # any of those who wait
            wish.asked = await road.weighed(replace(trip, asked=wish.asked, still_there=is_there), errand.account)
            road.guard(wish.asked)

        wish = Wish(kind, trip.call, trip.asked, self._sending(trip, began), weigh, lambda: patience(road, trip, began))
        wish.is_there, wish.label, wish.owner, wish.request = trip.still_there, trip.key, errand.owner, errand.request
        wish.idempotency, wish.confirm = errand.idempotency, errand.confirm
        wish.account, wish.subject = errand.account, errand.subject
        return wish

    def _sending(self, trip: Trip, began: float) -> Send:
        """Sends what the desk sends for a caller; the time until its first call was all waiting."""
        is_first = True

        async def send(
            call: Call, asked: Asked, leaving: Departure, is_there: Callable[[], bool], late: Late
        ) -> Answer:
            nonlocal is_first
            if is_first:
                is_first, trip.spent.waited = False, time.monotonic() - began
            row = met(call.method, call.target)
            part = replace(trip, call=call, row=row, asked=asked, still_there=is_there, sent=False)
            part.leaving, part.late = leaving, late
            try:
                return await self.road.one(part)
            finally:
                trip.sent = trip.sent or part.sent

        return send

    # -- the bridge's own part

    async def keep(self) -> NoReturn:
        """Decline what nobody answers, for ever."""
        while True:
            self._wake.clear()
            await self.desk.questions.tidy(self._clock.now(), self._decline)
            hanging = self.desk.chain.hanging
            left = IDLE if hanging is None else hanging.until - self._clock.now()
            await self._clock.wait(self._wake, max(left, BREATH))  # a reply on its way may come back unsent

    async def _decline(self, call: Call, wait: float) -> None:
        row, asked = met(call.method, call.target), Asked(Effect.READ, None)  # no rule stands in the way of a no
        with suppress(BridgeError, CallerGone):  # IBKR forgets its question by itself as well
            let_go(await self.road.one(Trip(call, row, asked, OURS, wait)))

    async def look(self, account: str | None) -> Seen | None:
        """A fresh list of orders, and one of trades; None where they cannot be had now."""
        if not self.road.is_up(Layer.BROKERAGE):
            return None
        of = f"accountId={quote(account, safe='')}" if account else ""
        try:
            let_go(await self.road.bare(_read(ORDERS_LIST, "force=true", of)))
            await self._clock.wait(asyncio.Event(), self._between)
            orders = await whole(await self.road.ask(_read(ORDERS_LIST, of)), MOST_LISTED)
            trades = await whole(await self.road.ask(_read(TRADES, "days=2")), MOST_LISTED)
        except (BridgeError, CallerGone):
            return None
        if orders.status != 200 or trades.status != 200 or orders.rest or trades.rest:
            let_go(orders)
            let_go(trades)
            return None
        rows, is_whole = read_orders(orders.body)
        return Seen(rows, read_trades(trades.body), is_whole, account)

    def saw(self, trip: Trip, answer: Answer) -> None:
        """A caller asked for a list: read it too, where anything is missing."""
        if not self.seeker.is_looking or answer.status != 200 or answer.rest is not None:
            return
        if trip.row.segments == ORDERS_LIST:
            self.seeker.saw(Seen(orders=read_orders(answer.body)[0]))
        elif trip.row.segments == TRADES:
            self.seeker.saw(Seen(trades=read_trades(answer.body)))


def patience(road: Road, trip: Trip, began: float) -> float:
    """Seconds a caller would still wait, counted from when its order came: also before anything was asked for it."""
    return max(0.0, road.patience(trip) + trip.spent.waited - (time.monotonic() - began))


def _read(segments: tuple[str, ...], *query: str) -> Trip:
    """A read of our own, never from memory."""
    asked = "&".join(filter(None, query))
    call = Call("GET", target(segments) + (f"?{asked}" if asked else ""), upwards(()))
    row = met(call.method, call.target)
    return Trip(call, row, Asked(Effect.READ, None), OURS, LOOK_WAIT, max_age=0.0)
