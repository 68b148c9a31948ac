"""One Gateway and all that serves it. Lines are kept by name; usually there is one.

The road of a call stands here as one method: is the session up, does the guard agree, whose turn is it, is the caller
still there, then ask, and read what the answer says about the session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ibkr_bridge.endpoint import Effect, Endpoint
from ibkr_bridge.errors import (
    BridgeError,
    GatewayDeniesUs,
    GatewayTrouble,
    GatewayUnreachable,
    Maintenance,
    OrderUnknown,
    Paced,
    SessionDown,
    Stopping,
    UpstreamRefused,
)
from ibkr_bridge.orders.pause import Pause
from ibkr_bridge.orders.rules import Asked, Standing, applying, judge
from ibkr_bridge.session.envoy import denied
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.machine import Saw, Session, State
from ibkr_bridge.session.preflight import WANTS_PREFLIGHT, doubts_session
from ibkr_bridge.settings import Mode, Settings
from ibkr_bridge.traffic.slots import Slots
from ibkr_bridge.upstream.base import Answer, Call
from ibkr_bridge.upstream.gateway import Gateway
from ibkr_bridge.upstream.jar import Jar

LOOK_AGAIN_IN = 5.0  # seconds: told to callers while the session is down and nobody knows for how long
SOON = 1.0  # seconds: while the session is being opened
PACED_FOR = 15.0  # seconds, where IBKR does not say how long: it limits most endpoints to one call in one to five
DOWN = {
    State.STARTING: "the session has not been looked at yet",
    State.UNREACHABLE: "there is no connection to the Gateway",
    State.SILENT: "the Gateway does not answer sensibly",
    State.SIGNED_OUT: "nobody is signed in at the Gateway",
    State.OPENING: "the brokerage session is being opened",
    State.COMPETING: "another session of the same user holds the brokerage session",
    State.READY: "the session was lost",  # in the moment between a 401 and the look that explains it
}


@dataclass
class Trip:
    """How one call went: seconds spent waiting for our turn, and inside the Gateway until its head came."""

    call: Call
    row: Endpoint
    asked: Asked
    wait: float | None = None
    """Seconds the caller would wait for session and turn; None for the bridge's own limit."""
    still_there: Callable[[], bool] = lambda: True
    stopping: Callable[[], bool] = lambda: False
    """Whether the bridge is ending, so that waiting for the session makes no sense."""
    waited: float = 0.0
    at_gateway: float = 0.0
    sent: bool = False
    """Whether its bytes may have left."""


HEALS = (State.STARTING, State.SILENT, State.OPENING, State.UNREACHABLE)
"""States that end by themselves when a maintenance window does; a login does not come back by itself."""


class CallerGone(Exception):
    """The caller hung up before its call was sent; it never will be."""


@dataclass
class Line:
    """One Gateway, its session, its slots, its hand brake."""

    name: str
    settings: Settings
    gateway: Gateway
    jar: Jar
    keeper: Keeper
    slots: Slots
    pause: Pause

    async def ask(self, trip: Trip) -> Answer:
        """Take a call the whole road.

        Raises:
            BridgeError: nothing was sent, or nothing usable came back; the class says which.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        self._guard(trip)
        began = time.monotonic()
        await self._session_up(trip)
        give_back = await self.slots.take(order=trip.row.order is not None, wait=self._patience(trip, began))
        trip.waited = time.monotonic() - began
        return await self._read(trip, await self._send(trip, give_back))

    async def signed_in(self) -> None:
        """Make sure that somebody is signed in, as a fresh look shows it.

        Raises:
            BridgeError: nobody is, or the Gateway cannot be asked.
        """
        session = await self.keeper.fresh()
        if not session.login:
            raise self._down(session)

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
            raise self._down()

    def _patience(self, trip: Trip, began: float) -> float:
        if trip.wait is None:
            return self.settings.max_wait
        return max(0.0, trip.wait - (time.monotonic() - began))

    def _last_look(self, trip: Trip) -> None:
        """The connection stands, the next thing is the first byte: much may have changed while we waited."""
        if not trip.still_there():
            raise CallerGone
        if not self.keeper.is_up(trip.row.layer):
            raise self._down()
        self._guard(trip)
        trip.sent = True

    def _down(self, told: Session | None = None) -> BridgeError:
        session = told or self.keeper.session
        hint = self.keeper.hint(session)
        if session.saw is Saw.DENIED:
            return GatewayDeniesUs("the Gateway answers Access Denied", retry_after=LOOK_AGAIN_IN)
        if session.state is State.UNREACHABLE:
            return GatewayUnreachable(DOWN[session.state], hint=hint, retry_after=LOOK_AGAIN_IN)
        end = self.keeper.maintenance_end
        if end is not None and session.state in HEALS:
            left = (end - self.keeper.utc()).total_seconds()
            return Maintenance(f"IBKR maintenance until {end:%H:%M} UTC: {DOWN[session.state]}", retry_after=left)
        soon = session.state in (State.OPENING, State.STARTING)
        return SessionDown(DOWN[session.state], hint=hint, retry_after=SOON if soon else LOOK_AGAIN_IN)

    # -- sent

    async def _send(self, trip: Trip, give_back: Callable[[], None]) -> Answer:
        sent = time.monotonic()
        try:
            return await self.gateway.ask(trip.call, give_back, lambda: self._last_look(trip))
        except GatewayTrouble as exc:
            self.keeper.doubt()
            if not trip.call.changes:
                exc.retry_after = LOOK_AGAIN_IN
            if trip.call.changes and trip.sent:
                raise OrderUnknown(f"{exc.detail}; what was asked for may have happened") from exc
            raise
        finally:
            trip.at_gateway = time.monotonic() - sent

    async def _read(self, trip: Trip, answer: Answer) -> Answer:
        """Notice what an answer says of the session; the four that are ours to explain are not passed on."""
        if doubts_session(answer.status, answer.body):
            self.keeper.doubt(prepare=WANTS_PREFLIGHT.encode() in answer.body)
        explain = EXPLAINED.get(answer.status)
        error = await explain(self, trip, answer) if explain else None
        if error is None:
            return answer
        if answer.rest is not None:
            answer.rest.close()
        raise error

    async def _unauthorized(self, trip: Trip, _: Answer) -> BridgeError | None:
        await self.keeper.look_again()
        if not self.keeper.is_up(trip.row.layer):
            return self._down()
        return UpstreamRefused("IBKR refuses this call to the user who is signed in")

    async def _too_many(self, _: Trip, answer: Answer) -> BridgeError | None:
        said = answer.headers.get("Retry-After", "")
        seconds = float(said) if said.isascii() and said.isdigit() else PACED_FOR
        return Paced("IBKR answered that this is asked too often", retry_after=min(seconds, 3600.0))

    async def _not_found(self, _: Trip, answer: Answer) -> BridgeError | None:
        if not denied(answer.status, answer.body):
            return None
        self.keeper.doubt()
        return GatewayDeniesUs("the Gateway answers Access Denied", retry_after=LOOK_AGAIN_IN)

    async def _unavailable(self, trip: Trip, answer: Answer) -> BridgeError | None:
        """An empty 503 is IBKR's edge giving up after ten seconds; an order may have gone through behind it."""
        if answer.body.strip() or trip.row.effect is not Effect.TRADE:
            return None
        return OrderUnknown("IBKR gave up waiting for itself; what was asked for may have happened")


EXPLAINED = {401: Line._unauthorized, 404: Line._not_found, 429: Line._too_many, 503: Line._unavailable}
Lines = Mapping[str, Line]
