"""IBKR's end of all websockets: who is connected, what is subscribed to, when it is sent.

A socket opens with `system … success` if somebody is signed in, else with `waiting for session`. `tic` and `ech+hb`
are answered, and a heartbeat comes every ten seconds. `feeds/` contains what is streamed. A feed begins only during a
brokerage session and ends with it; no message is repeated. IBKR gives no reason if nothing comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from aiohttp import WSMessage, WSMsgType, web

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import Faults, Side
from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message, RefusedError
from ibkr_bridge.sim.market.feeds.greetings import (
    SESSION_LOST,
    SESSION_TAKEN,
    WAITING_FOR_SESSION,
    greeting_messages,
    session_opened_messages,
)
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, parse_request
from ibkr_bridge.sim.market.feeds.quotes import Quote
from ibkr_bridge.sim.market.feeds.table import BEGINS, ENDS, Begin
from ibkr_bridge.sim.market.listener import Listener
from ibkr_bridge.sim.market.sessions import Brokerage, SessionChange
from ibkr_bridge.sim.market.world import World
from ibkr_bridge.sim.request_log import ChangeSignal
from ibkr_bridge.sim.tasks import Tasks

PATH = "/v1/api/ws"
HEARTBEAT_INTERVAL_S = 10.0  # seconds
QUOTE_INTERVAL_S = 0.5
"""Time between two updates of one quote, by IBKR's own documentation."""


def is_socket(request: web.BaseRequest) -> bool:
    """Whether a request asks for the stream."""
    return request.path == PATH and request.headers.get("Upgrade", "").lower() == "websocket"


class Stream:
    """All open sockets, and the messages received on them."""

    def __init__(
        self, world: World, clock: SimClock, faults: Faults, quote_interval_s: float = QUOTE_INTERVAL_S
    ) -> None:
        self.received: list[str] = []
        """Text messages in the order of their arrival; a message of another kind has its kind in front."""
        self._world = world
        self._clock = clock
        self._faults = faults
        self._listeners: list[Listener] = []
        self._context = FeedContext(world, quote_interval_s, self._feeds)
        self._is_muted = False
        self._expected_session: Brokerage | None = None
        self._changes = ChangeSignal()
        self._tasks = Tasks()
        world.sessions.on_change = self._on_session_change

    @property
    def sockets(self) -> list[web.WebSocketResponse]:
        """The open sockets, in the order in which they were opened."""
        return [listener.socket for listener in self._listeners]

    @property
    def subscriptions(self) -> list[str]:
        """The feeds of all sockets, such as `smd+265598` and `sor`, in alphabetical order; one entry for each feed."""
        now = self._clock.now()
        return sorted(feed.request.name for feed in self._feeds() if not feed.is_over(now))

    @property
    def rate(self) -> float | None:
        """Messages a second over all quotes together; None if each quote is sent every `quote_interval_s`."""
        return self._context.rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._context.rate = rate

    async def serve(self, request: web.BaseRequest, is_logged_in: bool) -> web.WebSocketResponse:
        """Serve one socket until its client disconnects."""
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        listener = Listener(socket, is_logged_in=is_logged_in, is_muted=lambda: self._is_muted)
        self._listeners.append(listener)
        heartbeat = self._tasks.start(self._run_heartbeat(listener), name="heartbeat")
        try:
            await self._send_greeting(listener)
            self._changes.fire()
            async for message in socket:
                await self._handle_message(listener, message)
        finally:
            heartbeat.cancel()
            listener.remove_all_feeds()
            self._listeners.remove(listener)
            self._on_change()
        return socket

    async def wait_for_sockets(self, count: int = 1) -> None:
        """Return as soon as exactly `count` sockets are open."""
        await self._changes.wait_until(lambda: len(self._listeners) == count)

    async def wait_for_message(self, text: str) -> None:
        """Return as soon as this message has been received."""
        await self._changes.wait_until(lambda: text in self.received)

    async def wait_for_subscriptions(self, *names: str) -> None:
        """Return as soon as exactly these are the `subscriptions`, in any order."""
        await self._changes.wait_until(lambda: self.subscriptions == sorted(names))

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as `holds()` is true; it is checked at each change of sockets, messages or subscriptions."""
        await self._changes.wait_until(holds)

    async def send_to_all(self, text: str) -> None:
        """Send a text to all sockets, even while the stream is muted."""
        for socket in self.sockets:
            await socket.send_str(text)

    async def send_bytes_to_all(self, data: bytes) -> None:
        """Send bytes to all sockets in a binary frame; they need not be text."""
        for socket in self.sockets:
            await socket.send_bytes(data)

    async def close_all(self, code: int = 1001) -> None:
        """Close every socket."""
        await asyncio.gather(*(socket.close(code=code) for socket in self.sockets))

    def mute(self) -> None:
        """Send nothing more on any socket, not even heartbeats; requests are still accepted."""
        self._is_muted = True

    def unmute(self) -> None:
        """Send again; what was left out meanwhile is not sent later."""
        self._is_muted = False

    def on_http_call(self) -> None:
        """Follow up a call over HTTP: end the feeds that it has closed, and send at once the orders it has changed."""
        now, closed = self._clock.now(), False
        for listener in self._listeners:
            closed |= bool(listener.remove_ended_feeds(now))
            self._send_soon(
                listener,
                [
                    message
                    for feed in listener.feeds.values()
                    for message in self._unless_silent(feed, feed.messages_after_call())
                ],
            )
        if closed:
            self._on_change()

    async def stop(self) -> None:
        """Cancel all tasks."""
        self._expected_session = None
        await self._tasks.stop()

    def _feeds(self) -> Iterator[Feed]:
        return (feed for listener in self._listeners for feed in listener.feeds.values())

    async def _send_greeting(self, listener: Listener) -> None:
        if not listener.is_logged_in:
            await listener.send(WAITING_FOR_SESSION)
            return
        now, sessions = self._clock.now(), self._world.sessions
        listener.announced_session = sessions.brokerage if sessions.is_authenticated(now) else None
        await listener.send(*greeting_messages(self._world, now))
        self._expect_session()

    async def _handle_message(self, listener: Listener, message: WSMessage) -> None:
        kind, text = message.type, message.data
        self.received.append(text if kind is WSMsgType.TEXT else f"{kind.name} {text!r}")
        command = parse_request(text) if kind is WSMsgType.TEXT else None
        now = self._clock.now()
        if text == "tic":
            await listener.send({"topic": "tic", "alive": True, "lastAccessed": self._world.calendar.epoch_ms(now)})
        elif text == "ech+hb":
            await listener.send(text)
        elif command is not None and listener.is_logged_in and self._world.sessions.is_authenticated(now):
            await self._handle_command(listener, command, now)
        self._on_change()

    async def _handle_command(self, listener: Listener, command: FeedRequest, now: float) -> None:
        if (end := ENDS.get(command.topic)) is not None:
            for key, feed in tuple(listener.feeds.items()):
                if feed.request.topic == end.topic and feed.is_ended_by(command.target):
                    listener.remove_feed(key)
            end.extra_action(self._context, command)
            await listener.send(*end.messages(command))
        elif (begin := BEGINS.get(command.topic)) is not None and not self._is_request_lost(command):
            await listener.send(*self._begin_feed(listener, begin, command, now))

    def _is_request_lost(self, command: FeedRequest) -> bool:
        """Whether a fault lets a request for a topic vanish: it stays lost when the fault has ended."""
        return self._faults.use_fault(Side.STREAM, command.name, own=False) is not None

    def _unless_silent(self, feed: Feed, messages: Iterable[Message]) -> Iterable[Message]:
        """The messages of a running feed; none while a fault silences its topic. They are not sent later."""
        return () if self._faults.find_fault(Side.STREAM, feed.request.name, own=False) else messages

    def _begin_feed(self, listener: Listener, begin: Begin, command: FeedRequest, now: float) -> list[Message]:
        try:
            feed = begin(self._context, command, now)
        except RefusedError as refusal:
            return [refusal.message]
        if feed is None:
            return []
        first = list(feed.first_messages(now))
        listener.add_feed(feed, self._tasks.start(self._run_feed(listener, feed, now), name=command.name))
        self._on_change()
        return first

    async def _run_feed(self, listener: Listener, feed: Feed, due: float) -> None:
        """Send a feed's messages at its interval; skip those that are late by more than `slack_s`."""
        while True:
            due, now = due + feed.interval_s, self._clock.now()
            if due < now - feed.slack_s:
                due = now + feed.interval_s
            await self._clock.sleep(due - now)
            if feed.is_over(now := self._clock.now()):
                listener.remove_feed(feed.key)
                self._on_change()
                return
            await listener.send(*self._unless_silent(feed, feed.next_messages(now)))

    async def _run_heartbeat(self, listener: Listener) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_INTERVAL_S)
            await listener.send({"topic": "system", "hb": self._world.calendar.epoch_ms(self._clock.now())})

    def _on_session_change(self, change: SessionChange) -> None:
        """End all feeds when the brokerage session ends."""
        if change is SessionChange.OPENED:
            self._expect_session()
            return
        for listener in self._listeners:
            listener.remove_all_feeds()
            if listener.is_logged_in:
                self._send_soon(listener, SESSION_TAKEN if change is SessionChange.TAKEN else SESSION_LOST)
        self._on_change()

    def _expect_session(self) -> None:
        """Announce a session that is being opened to all sockets once it is authenticated."""
        session = self._world.sessions.brokerage
        if session is not None and session is not self._expected_session and self._listeners:
            self._expected_session = session
            self._tasks.start(self._announce(session), name="announce")

    async def _announce(self, session: Brokerage) -> None:
        if (remaining_s := session.ready_at - self._clock.now()) > 0:
            await self._clock.sleep(remaining_s)
        if self._world.sessions.brokerage is session:
            for listener in self._listeners:
                if listener.is_logged_in and listener.announced_session is not session:
                    listener.announced_session = session
                    self._send_soon(listener, session_opened_messages(self._world))

    def _send_soon(self, listener: Listener, messages: Iterable[Message]) -> None:
        """Send messages in a task of their own, so that a client that does not read delays no other."""
        if to_send := tuple(messages):
            self._tasks.start(listener.send(*to_send), name="send")

    def _on_change(self) -> None:
        self._context.quote_count = sum(isinstance(feed, Quote) for feed in self._feeds())
        self._changes.fire()
