"""The stream of one line: IBKR's socket, who reads what comes on it, and what that means for calls.

A snapshot opens a line of market data and a call to unsubscribe ends it for everybody; both are counted here together
with the streams, so that no caller ends another one's quotes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qs

from ibkr_bridge import events
from ibkr_bridge.calls.context import Trip
from ibkr_bridge.calls.messages import Answer, in_words
from ibkr_bridge.clock import Clock, utc_ms, utc_text
from ibkr_bridge.ibkr.bodies import as_object
from ibkr_bridge.ibkr.catalogue import SNAPSHOT, UNSUBSCRIBE, UNSUBSCRIBE_ALL
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.state_machine import State
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.upstream_feed import Feed
from ibkr_bridge.upstream.gateway.websocket import Sockets

BEAT_EVERY = 10.0  # seconds between two heartbeats on our own sockets, as on IBKR's
TEND_EVERY = 1.0  # seconds between two looks at what time has brought
LOST = frozenset(state.value for state in (State.OPENING, State.COMPETING, State.SIGNED_OUT))
"""States in which IBKR has no session, and so no lines of market data, of ours; in others we do not know."""


class Streaming:
    """The stream of one line.

    Args:
        line: its name.
        sockets: opens IBKR's socket.
    """

    def __init__(self, line: str, sockets: Sockets, keeper: Keeper, clock: Clock, bus: events.Bus) -> None:
        self._line = line
        self._keeper = keeper
        self._clock = clock
        self.hub = Hub(clock)
        self.feed = Feed(line, sockets.open, self.hub, keeper, clock, bus)
        self._tell_session()

    def hear(self, fact: events.Fact) -> None:
        """The session moved: the socket follows it, and those who read the session are told."""
        if isinstance(fact, events.SessionChanged) and fact.line == self._line:
            ready = fact.state == State.READY.value
            if fact.state in LOST:
                self.hub.asking.forget()
            self.feed.session_is(fact.reason, ready=ready)
            self._tell_session()

    def _tell_session(self) -> None:
        session, keeper = self._keeper.session, self._keeper
        ready = session.state is State.READY
        self.hub.session_is(
            {
                "state": session.state.value,
                "authenticated": ready,
                "reason": session.reason,
                "hint": keeper.hint(session),
                "since": utc_text(keeper.since),
            }
        )

    async def tend(self) -> NoReturn:
        """Let time pass for those who read, for ever."""
        beat = self._clock.now()
        while True:
            await self._clock.wait(asyncio.Event(), TEND_EVERY)
            self.hub.tend()
            if self._clock.now() - beat >= BEAT_EVERY:
                beat = self._clock.now()
                self.hub.say({"topic": "system", "hb": utc_ms(self._clock.utc())})

    @property
    def status(self) -> dict[str, Any]:
        """For people: whether it is up, and how much is read."""
        source = self.hub.source
        return {"up": source.is_fresh, **source.told, "lines_of_calls": len(self.hub.asking.lines), **self.hub.counts}

    # -- calls about market data

    def before(self, trip: Trip) -> Answer | None:
        """What a call means for the lines of market data, and its answer where IBKR is not to be asked.

        Raises:
            LineLimit: streams leave no line for what it looks at.
        """
        act = CALLS.get(trip.row.segments)
        return act(self, trip) if act is not None else None

    def _snapshot(self, trip: Trip) -> None:
        asked = parse_qs(trip.call.target.partition("?")[2]).get("conids", [""])[-1]
        conids = list(filter(str.isdigit, (part.partition("@")[0].strip() for part in asked.split(","))))
        self.hub.asking.make_room(conids)
        self.hub.asking.lines.looked(trip.key, conids, self.hub.asking.streamed)

    def _unsubscribe(self, trip: Trip) -> Answer:
        """For the caller alone. IBKR would end the contract for everybody, those included who come in this moment."""
        self._give_back(trip.key, str(as_object(trip.call.body).get("conid", "")))
        return in_words({"success": True})

    def _unsubscribe_all(self, trip: Trip) -> Answer:
        for conid in self.hub.asking.lines.of(trip.key):
            self._give_back(trip.key, conid)
        return in_words({"unsubscribed": True})

    def _give_back(self, owner: str, conid: str) -> None:
        """Give a line back on IBKR's socket, where the order of things is certain, unless somebody else has it."""
        if self.hub.asking.lines.drop(owner, conid):
            self.hub.asking.free(conid)


CALLS: Mapping[tuple[str, ...], Callable[[Streaming, Trip], Answer | None]] = {
    SNAPSHOT: Streaming._snapshot,
    UNSUBSCRIBE: Streaming._unsubscribe,
    UNSUBSCRIBE_ALL: Streaming._unsubscribe_all,
}
