"""The streams of one profile: the feed from IBKR, the subscribers, and what a change of the session means to both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ibkr_bridge import events
from ibkr_bridge.calls.upstream_port import StreamSocket
from ibkr_bridge.clock import Clock, utc_ms
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import TopicKind
from ibkr_bridge.streaming.return_probe import ReturnProbe
from ibkr_bridge.streaming.second_source import ReadRows, SecondSource
from ibkr_bridge.streaming.upstream_feed import SessionChecker, UpstreamFeed

HEARTBEAT_INTERVAL_S = 10.0  # between two heartbeats on our own websockets, as on IBKR's
HOUSEKEEPING_INTERVAL_S = 1.0
IDLE_S = 60.0  # between two looks at a hub that nobody uses


@dataclass(frozen=True)
class StreamSession:
    """What the streams need to know of the session."""

    message: dict[str, Any]
    """The session as its own stream topic shows it."""
    reason: str
    is_ready: bool
    is_lost: bool
    """Whether IBKR has no session of this profile, and so no market data line."""
    is_silent: bool = False
    """Whether the Gateway answers no check of the session."""


@dataclass(frozen=True)
class StreamStatus:
    """The feed, and its subscribers."""

    up: bool = field(metadata={"doc": "Whether the feed from IBKR is up, so that streams are fresh."})
    reason: str = field(metadata={"doc": "Why the feed is in this state, as a code."})
    since: str = field(metadata={"doc": "When it came into this state.", "unit": "UTC, ISO 8601 with milliseconds"})
    market_data_lines_of_calls: int = field(
        metadata={"doc": "Contracts whose market data line was opened by a call.", "unit": "contracts"}
    )
    readers: int = field(metadata={"doc": "Open streams and websockets of callers.", "unit": "connections"})
    behind: int = field(
        metadata={"doc": "Of these, those that read too slowly to get every change.", "unit": "connections"}
    )
    topics: int = field(metadata={"doc": "Topics that IBKR is asked to send.", "unit": "topics"})
    silent_topics: int = field(
        metadata={"doc": "Of these, topics that IBKR has not answered in time.", "unit": "topics"}
    )
    quotes: int = field(metadata={"doc": "Of these, contracts whose quotes are streamed.", "unit": "contracts"})
    clock_skew_s: float | None = field(
        metadata={
            "doc": "By how much this machine's clock is ahead of IBKR's; null if it is not known.",
            "unit": "seconds",
        }
    )


class StreamService:
    """The streams of one profile.

    Args:
        profile: its name.
        open_socket: opens IBKR's websocket.
        checker: checks the session when the feed shows a loss.
        session: what is known of the session now.
        reads: reads the rows of a kind of topic by a call, for when IBKR's stream does not answer.
    """

    def __init__(
        self,
        profile: str,
        open_socket: Callable[[], AbstractAsyncContextManager[StreamSocket]],
        checker: SessionChecker,
        session: StreamSession,
        clock: Clock,
        bus: events.Bus,
        reads: Mapping[TopicKind, ReadRows],
    ) -> None:
        self._clock = clock
        self.hub = Hub(clock)
        self.return_probe = ReturnProbe(open_socket, checker, clock)
        self.feed = UpstreamFeed(profile, open_socket, self.hub, checker, clock, bus)
        self.second_source = SecondSource(self.hub, reads, clock, bus)
        self.hub.on_session_change(session.message)

    def on_session_change(self, session: StreamSession) -> None:
        """Follow the session with the feed, and tell the subscribers of its topic."""
        if session.is_lost:
            self.hub.upstream_subscriptions.reset_session()
        self.return_probe.on_session_change(is_silent=session.is_silent)
        self.feed.on_session_change(session.reason, ready=session.is_ready)
        self.hub.on_session_change(session.message)

    async def housekeeping_loop(self) -> NoReturn:
        """Do what is due once a second while the hub is in use, and send heartbeats, until cancelled."""
        beat = self._clock.now()
        while True:
            if not self.hub.in_use.is_set():
                await self._clock.wait(self.hub.in_use, IDLE_S)
            await self._clock.wait(asyncio.Event(), HOUSEKEEPING_INTERVAL_S)
            self.hub.housekeep()
            self.second_source.report_silence()
            if self._clock.now() - beat >= HEARTBEAT_INTERVAL_S:
                beat = self._clock.now()
                self.hub.broadcast({"topic": "system", "hb": utc_ms(self._clock.utc())})

    def status(self) -> StreamStatus:
        """Whether the feed is up, and the numbers of subscribers and topics."""
        source = self.hub.source
        return StreamStatus(
            up=source.is_fresh,
            reason=source.reason,
            since=str(source.as_row["since"]),
            market_data_lines_of_calls=len(self.hub.upstream_subscriptions.line_usage),
            clock_skew_s=self.feed.clock_skew.seconds,
            **self.hub.counts,
        )
