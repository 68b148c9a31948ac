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
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, json_response
from ibkr_bridge.clock import Clock, utc_ms, utc_text
from ibkr_bridge.ibkr.bodies import parse_object
from ibkr_bridge.ibkr.catalogue import SNAPSHOT, UNSUBSCRIBE, UNSUBSCRIBE_ALL
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.upstream_feed import UpstreamFeed
from ibkr_bridge.upstream.gateway.websocket import WebSocketFactory

HEARTBEAT_INTERVAL_S = 10.0  # seconds between two heartbeats on our own sockets, as on IBKR's
HOUSEKEEPING_INTERVAL_S = 1.0  # seconds between two looks at what time has brought
STATES_WITHOUT_SESSION = frozenset(
    state.value for state in (SessionState.OPENING, SessionState.COMPETING, SessionState.SIGNED_OUT)
)
"""States in which IBKR has no session, and so no lines of market data, of ours; in others we do not know."""


class StreamService:
    """The stream of one line.

    Args:
        line: its name.
        sockets: opens IBKR's socket.
    """

    def __init__(self, line: str, sockets: WebSocketFactory, keeper: Keeper, clock: Clock, bus: events.Bus) -> None:
        self._line = line
        self._keeper = keeper
        self._clock = clock
        self.hub = Hub(clock)
        self.feed = UpstreamFeed(line, sockets.open, self.hub, keeper, clock, bus)
        self._publish_session()

    def on_event(self, event: events.Event) -> None:
        """The session moved: the socket follows it, and those who read the session are told."""
        if isinstance(event, events.SessionChanged) and event.profile == self._line:
            ready = event.state == SessionState.READY.value
            if event.state in STATES_WITHOUT_SESSION:
                self.hub.upstream_subscriptions.reset_session()
            self.feed.on_session_change(event.reason, ready=ready)
            self._publish_session()

    def _publish_session(self) -> None:
        session, keeper = self._keeper.session, self._keeper
        ready = session.state is SessionState.READY
        self.hub.on_session_change(
            {
                "state": session.state.value,
                "authenticated": ready,
                "reason": session.reason,
                "hint": keeper.hint(session),
                "since": utc_text(keeper.since),
            }
        )

    async def housekeeping_loop(self) -> NoReturn:
        """Let time pass for those who read, for ever."""
        beat = self._clock.now()
        while True:
            await self._clock.wait(asyncio.Event(), HOUSEKEEPING_INTERVAL_S)
            self.hub.housekeep()
            if self._clock.now() - beat >= HEARTBEAT_INTERVAL_S:
                beat = self._clock.now()
                self.hub.broadcast({"topic": "system", "hb": utc_ms(self._clock.utc())})

    @property
    def status(self) -> dict[str, Any]:
        """For people: whether it is up, and how much is read."""
        source = self.hub.source
        return {
            "up": source.is_fresh,
            **source.as_row,
            "lines_of_calls": len(self.hub.upstream_subscriptions.line_usage),
            **self.hub.counts,
        }

    # -- calls about market data

    def intercept_call(self, context: CallContext) -> Response | None:
        """What a call means for the lines of market data, and its answer where IBKR is not to be asked.

        Raises:
            LineLimit: streams leave no line for what it looks at.
        """
        act = INTERCEPTED_CALLS.get(context.endpoint.segments)
        return act(self, context) if act is not None else None

    def _on_snapshot(self, context: CallContext) -> None:
        asked = parse_qs(context.call.target.partition("?")[2]).get("conids", [""])[-1]
        conids = list(filter(str.isdigit, (part.partition("@")[0].strip() for part in asked.split(","))))
        self.hub.upstream_subscriptions.free_market_data_lines(conids)
        self.hub.upstream_subscriptions.line_usage.opened_by_call(
            context.key_label, conids, self.hub.upstream_subscriptions.streamed_conids
        )

    def _on_unsubscribe(self, context: CallContext) -> Response:
        """For the caller alone. IBKR would end the contract for everybody, those included who come in this moment."""
        self._release_line(context.key_label, str(parse_object(context.call.body).get("conid", "")))
        return json_response({"success": True})

    def _on_unsubscribe_all(self, context: CallContext) -> Response:
        for conid in self.hub.upstream_subscriptions.line_usage.conids_of(context.key_label):
            self._release_line(context.key_label, conid)
        return json_response({"unsubscribed": True})

    def _release_line(self, owner: str, conid: str) -> None:
        """Give a line back on IBKR's socket, where the order of things is certain, unless somebody else has it."""
        if self.hub.upstream_subscriptions.line_usage.release(owner, conid):
            self.hub.upstream_subscriptions.release_market_data_line(conid)


INTERCEPTED_CALLS: Mapping[tuple[str, ...], Callable[[StreamService, CallContext], Response | None]] = {
    SNAPSHOT: StreamService._on_snapshot,
    UNSUBSCRIBE: StreamService._on_unsubscribe,
    UNSUBSCRIBE_ALL: StreamService._on_unsubscribe_all,
}
