"""IBKR's end of the websocket: who is there, what they asked to be told, and when it is said.

A socket opens with `system … success` where somebody is signed in, else with `waiting for session`. `tic` and `ech+hb`
are answered, a heartbeat comes every ten seconds. What is streamed stands in `feeds/`: it begins only while the
brokerage session stands, ends for good with it, and is never told twice. Nobody is told why nothing comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from aiohttp import WSMessage, WSMsgType, web

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message, RefusedError
from ibkr_bridge.sim.market.feeds.greetings import LOST, TAKEN, WAITING, greeting, standing
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, parse_request
from ibkr_bridge.sim.market.feeds.quotes import Quote
from ibkr_bridge.sim.market.feeds.table import BEGINS, ENDS, Begin
from ibkr_bridge.sim.market.listener import Listener
from ibkr_bridge.sim.market.sessions import Brokerage, News
from ibkr_bridge.sim.market.world import World
from ibkr_bridge.sim.request_log import Bell
from ibkr_bridge.sim.tasks import Tasks

PATH = "/v1/api/ws"
BEAT_EVERY = 10.0  # seconds
QUOTES_EVERY = 0.5
"""Seconds between two updates of one quote, as IBKR says of its own."""


def is_socket(request: web.BaseRequest) -> bool:
    """Whether a request asks for the stream."""
    return request.path == PATH and request.headers.get("Upgrade", "").lower() == "websocket"


class Stream:
    """Every open socket, and what was heard on them."""

    def __init__(self, world: World, clock: SimClock, quotes_every: float = QUOTES_EVERY) -> None:
        self.heard: list[str] = []
        """Text messages in the order of their arrival; a binary one says so."""
        self._world = world
        self._clock = clock
        self._listeners: list[Listener] = []
        self._floor = Floor(world, quotes_every, self._feeds)
        self._is_silent = False
        self._awaited: Brokerage | None = None
        self._bell = Bell()
        self._tasks = Tasks()
        world.sessions.tell = self._hear_of_session

    @property
    def sockets(self) -> list[web.WebSocketResponse]:
        """Every open one, in the order of their coming."""
        return [listener.socket for listener in self._listeners]

    @property
    def subscriptions(self) -> list[str]:
        """What is streamed, over all sockets: `smd+265598`, `sor`, each as often as it is; in alphabetical order."""
        now = self._clock.now()
        return sorted(feed.asked.name for feed in self._feeds() if not feed.is_over(now))

    @property
    def rate(self) -> float | None:
        """Messages a second over all quotes together; None where each has its own pace, `quotes_every`."""
        return self._floor.rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._floor.rate = rate

    async def serve(self, request: web.BaseRequest, is_logged_in: bool) -> web.WebSocketResponse:
        """Look after one socket until its client leaves."""
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        listener = Listener(socket, is_known=is_logged_in, is_hushed=lambda: self._is_silent)
        self._listeners.append(listener)
        beats = self._tasks.start(self._beat(listener), name="heartbeat")
        try:
            await self._greet(listener)
            self._bell.ring()
            async for message in socket:
                await self._hear(listener, message)
        finally:
            beats.cancel()
            listener.drop_all()
            self._listeners.remove(listener)
            self._changed()
        return socket

    async def opened(self, count: int = 1) -> None:
        """Come back as soon as so many sockets are open, or so few."""
        await self._bell.until(lambda: len(self._listeners) == count)

    async def has_heard(self, text: str) -> None:
        """Come back as soon as this has been heard."""
        await self._bell.until(lambda: text in self.heard)

    async def streams(self, *names: str) -> None:
        """Come back as soon as exactly these are the `subscriptions`, in any order."""
        await self._bell.until(lambda: self.subscriptions == sorted(names))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Come back as soon as this holds; looked at whenever a socket, a word or a subscription comes or goes."""
        await self._bell.until(holds)

    async def say(self, text: str) -> None:
        """Say something to everybody, silent or not."""
        for socket in self.sockets:
            await socket.send_str(text)

    async def say_bytes(self, data: bytes) -> None:
        """Say something that need not be text, in a binary frame."""
        for socket in self.sockets:
            await socket.send_bytes(data)

    async def end(self, code: int = 1001) -> None:
        """Close every socket."""
        await asyncio.gather(*(socket.close(code=code) for socket in self.sockets))

    def fall_silent(self) -> None:
        """Say nothing more on any socket, heartbeats included; what is asked is taken as ever."""
        self._is_silent = True

    def speak_again(self) -> None:
        """End the silence; what was not said is not said later."""
        self._is_silent = False

    def stir(self) -> None:
        """A call over HTTP was carried out: it may have closed streams, or moved orders that are told of at once."""
        now, closed = self._clock.now(), False
        for listener in self._listeners:
            closed |= bool(listener.drop_over(now))
            news = [message for feed in listener.feeds.values() for message in feed.stirred()]
            self._tell(listener, news)
        if closed:
            self._changed()

    async def stop(self) -> None:
        """Leave nothing running."""
        self._awaited = None
        await self._tasks.stop()

    def _feeds(self) -> Iterator[Feed]:
        return (feed for listener in self._listeners for feed in listener.feeds.values())

    async def _greet(self, listener: Listener) -> None:
        if not listener.is_known:
            await listener.say(WAITING)
            return
        now, sessions = self._clock.now(), self._world.sessions
        listener.told = sessions.brokerage if sessions.is_authenticated(now) else None
        await listener.say(*greeting(self._world, now))
        self._await_session()

    async def _hear(self, listener: Listener, message: WSMessage) -> None:
        kind, text = message.type, message.data
        self.heard.append(text if kind is WSMsgType.TEXT else f"{kind.name} {text!r}")
        asked = parse_request(text) if kind is WSMsgType.TEXT else None
        now = self._clock.now()
        if text == "tic":
            await listener.say({"topic": "tic", "alive": True, "lastAccessed": self._world.calendar.ms(now)})
        elif text == "ech+hb":
            await listener.say(text)
        elif asked is not None and listener.is_known and self._world.sessions.is_authenticated(now):
            await self._obey(listener, asked, now)
        self._changed()

    async def _obey(self, listener: Listener, asked: FeedRequest, now: float) -> None:
        if (end := ENDS.get(asked.topic)) is not None:
            for key, feed in tuple(listener.feeds.items()):
                if feed.asked.topic == end.topic and feed.goes_by(asked.target):
                    listener.drop(key)
            end.also(self._floor, asked)
            await listener.say(*end.said(asked))
        elif (begin := BEGINS.get(asked.topic)) is not None:
            await listener.say(*self._begin(listener, begin, asked, now))

    def _begin(self, listener: Listener, begin: Begin, asked: FeedRequest, now: float) -> list[Message]:
        try:
            feed = begin(self._floor, asked, now)
        except RefusedError as refusal:
            return [refusal.said]
        if feed is None:
            return []
        first = list(feed.first(now))
        listener.begin(feed, self._tasks.start(self._feed(listener, feed, now), name=asked.name))
        self._changed()
        return first

    async def _feed(self, listener: Listener, feed: Feed, due: float) -> None:
        """Look in time; what is late by more than its slack is left out."""
        while True:
            due, now = due + feed.every, self._clock.now()
            if due < now - feed.slack:
                due = now + feed.every
            await self._clock.sleep(due - now)
            if feed.is_over(now := self._clock.now()):
                listener.drop(feed.key)
                self._changed()
                return
            await listener.say(*feed.later(now))

    async def _beat(self, listener: Listener) -> None:
        while True:
            await self._clock.sleep(BEAT_EVERY)
            await listener.say({"topic": "system", "hb": self._world.calendar.ms(self._clock.now())})

    def _hear_of_session(self, news: News) -> None:
        """With the brokerage session everything ends that was asked for in it."""
        if news is News.OPENED:
            self._await_session()
            return
        for listener in self._listeners:
            listener.drop_all()
            if listener.is_known:
                self._tell(listener, TAKEN if news is News.TAKEN else LOST)
        self._changed()

    def _await_session(self) -> None:
        """See to it that everybody hears of a session that is being opened, once it stands."""
        session = self._world.sessions.brokerage
        if session is not None and session is not self._awaited and self._listeners:
            self._awaited = session
            self._tasks.start(self._announce(session), name="announce")

    async def _announce(self, session: Brokerage) -> None:
        if (left := session.ready_at - self._clock.now()) > 0:
            await self._clock.sleep(left)
        if self._world.sessions.brokerage is session:
            for listener in self._listeners:
                if listener.is_known and listener.told is not session:
                    listener.told = session
                    self._tell(listener, standing(self._world))

    def _tell(self, listener: Listener, messages: Iterable[Message]) -> None:
        """Say something as soon as the loop comes to it; a client that does not read holds up nobody else."""
        if told := tuple(messages):
            self._tasks.start(listener.say(*told), name="tell")

    def _changed(self) -> None:
        self._floor.quotes = sum(isinstance(feed, Quote) for feed in self._feeds())
        self._bell.ring()
