"""IBKR's socket: opened when the session is ready, believed only when IBKR itself speaks, opened again for ever.

The Gateway says yes to every socket at once and answers pings whether IBKR is there or not; what is sent before IBKR is
connected is lost. So nothing is sent before `system … success`, and a socket on which IBKR says nothing for a while is
given up, however alive it looks. IBKR replays nothing and resubscribes nothing: each new socket asks for everything
again. What IBKR says of the session (`sts`) makes the keeper look at once: milliseconds instead of seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, Protocol, TypeVar

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayTrouble
from ibkr_bridge.streaming.hub import Hub

SUCCESS_WITHIN = 10.0  # seconds from the opening of a socket to IBKR's word that it is connected
DEAF_AFTER = 25.0  # seconds without a word; IBKR's heart beats every ten
TIC_EVERY = 20.0  # seconds; IBKR wants one a minute
BURST = 64  # messages that are read at a time
SHORTEST = 0.05  # seconds between two looks at the time
LIVED = 60.0  # seconds after which a socket that ends is no failure of opening one
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds after the first failure, the second, and all from the sixth on
SILENT, CUT, LOST = "stream_silent", "stream_cut", "brokerage_lost"


class Socket(Protocol):
    """IBKR's socket, as far as it is used here."""

    async def hear(self) -> bytes | None:
        """The next message; None at the end."""
        ...

    async def say(self, text: str) -> None:
        """Send a command."""
        ...


class Session(Protocol):
    """What is known of the session."""

    def doubt(self) -> None:
        """Something looked as if it had changed."""
        ...

    async def look_again(self) -> object:
        """Come back when a look that begins now is over."""
        ...


E = TypeVar("E", bound=BaseException)


class Ended(Exception):  # the usual end of every socket, no error
    """A socket is over; says why, in one word."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Feed:
    """The one socket of a line, and its life.

    Args:
        opening: opens a socket.
        hub: who is told what comes, and says what is wanted.
        session: the keeper.
    """

    def __init__(
        self,
        line: str,
        opening: Callable[[], AbstractAsyncContextManager[Socket]],
        hub: Hub,
        session: Session,
        clock: Clock,
        bus: events.Bus,
    ) -> None:
        self._line = line
        self._opening = opening
        self._hub = hub
        self._session = session
        self._clock = clock
        self._bus = bus
        self._is_ready = False
        self._reason = "starting"
        self._losses = self._session_of_socket = 0
        """How often the session was lost: a socket belongs to the session it was opened in."""
        self._changed = asyncio.Event()
        """Set when the session has become ready, or is no longer."""
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self._is_up = False
        self._opened_at = self._heard_at = 0.0
        self._failures = 0
        self.opened = 0
        """How many sockets were believed so far."""

    def __repr__(self) -> str:
        return f"<Feed {self._line} {'up' if self._is_up else 'down'}>"

    def session_is(self, reason: str, *, ready: bool) -> None:
        """What the keeper says of the session."""
        self._reason = reason
        if not ready:
            self._hub.down(reason)
        if ready != self._is_ready:
            self._is_ready, self._failures = ready, 0
            self._losses += not ready
            self._changed.set()

    async def keep(self) -> NoReturn:
        """Socket after socket, for ever."""
        while True:
            while not self._is_ready:
                self._changed.clear()
                await self._changed.wait()
            self._changed.clear()
            why = await self._one()
            self._is_up = False
            self._hub.down(why if self._is_ready else self._reason)
            if self._is_ready:
                await self._failed(why)

    async def _failed(self, why: str) -> None:
        """A socket ended, and as far as the keeper knows the session has not: have it look, and wait a little."""
        lived = self._clock.now() - self._opened_at
        self._failures = 1 if lived > LIVED else self._failures + 1
        pause = PAUSES[min(self._failures, len(PAUSES)) - 1]
        self._bus.announce(events.StreamLost(self._line, why, round(lived, 1), pause))
        self._session.doubt()
        if why == LOST:
            await self._session.look_again()  # a socket of the lost session would look well, and bring nothing
        await self._clock.wait(self._changed, pause)

    async def _one(self) -> str:
        """One socket from its opening to its end; says why it ended."""
        self._opened_at = self._heard_at = self._clock.now()
        self._frames = asyncio.Queue()
        self._session_of_socket = self._losses
        why = CUT
        try:
            async with self._opening() as socket:
                await self._used(socket)
        except* Ended as ended:
            why = _first(ended).why
        except* GatewayTrouble as trouble:
            why = _first(trouble).code  # it cannot be opened
        return why

    async def _used(self, socket: Socket) -> None:
        """Listen, speak, mind, until one of them finds that it is over."""
        was_cut = True
        try:
            async with asyncio.TaskGroup() as parts:
                for part in (self._listen(socket), self._speak(socket), self._mind()):
                    parts.create_task(part)
        except* Ended as ended:
            was_cut = _first(ended).why == CUT
            raise
        finally:
            self._hub.deaf(was_cut=was_cut)

    async def _listen(self, socket: Socket) -> NoReturn:
        for number in itertools.count(1):
            data = await socket.hear()
            if data is None:
                raise Ended(CUT)
            self._heard_at = self._clock.now()
            self._understood(data)
            if number % BURST == 0:
                await asyncio.sleep(0)  # what has come already would be read without a breath for anybody else
        raise AssertionError

    def _understood(self, data: bytes) -> None:
        """Whatever IBKR says must not end us: what nobody foresaw is announced, and the next message counts."""
        try:
            self._take(data)
        except Ended:
            raise
        except Exception as exc:
            self._bus.announce(events.StreamSurprised(self._line, type(exc).__name__, events.where(exc)))

    async def _speak(self, socket: Socket) -> NoReturn:
        while True:
            try:
                await socket.say(await self._frames.get())
            except GatewayTrouble as exc:
                raise Ended(CUT) from exc

    async def _mind(self) -> NoReturn:
        """End it when IBKR has been silent for too long, or the session is another one; else show that we live."""
        told = self._clock.now()
        while True:
            now = self._clock.now()
            patience = DEAF_AFTER if self._is_up else SUCCESS_WITHIN
            since = self._heard_at if self._is_up else self._opened_at
            self._of_this_session()
            if now - since >= patience:
                raise Ended(SILENT)
            if self._is_up and now - told >= TIC_EVERY:
                told = now
                self._frames.put_nowait("tic")
            self._changed.clear()
            await self._clock.wait(self._changed, max(SHORTEST, min(since + patience, told + TIC_EVERY) - now))

    def _of_this_session(self) -> None:
        """A socket of a session that was lost looks well, and brings nothing, even when the session is open again."""
        if self._session_of_socket != self._losses:
            raise Ended(LOST)

    def _take(self, data: bytes) -> None:
        message = _read(data)
        if message is None:
            return  # what makes no sense is passed over
        topic = message.get("topic")
        if topic == "system":
            self._system(message)
        elif topic != "tic":
            self._hub.take(message)
            if topic == "sts":
                self._status(message.get("args"))

    def _system(self, message: dict[str, Any]) -> None:
        if "success" in message and not self._is_up:
            self._of_this_session()
            self._is_up = True
            self.opened += 1
            self._changed.set()  # another deadline from now on
            self._bus.announce(events.StreamUp(self._line, self._hub.counts["topics"]))
            self._hub.up(self._frames.put_nowait, str(message["success"]))

    def _status(self, args: object) -> None:
        """IBKR says something of the session: nobody else learns it so soon."""
        if isinstance(args, dict) and (args.get("authenticated") is False or args.get("competing") is True):
            self._session.doubt()
            raise Ended(LOST)


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(data, parse_constant=lambda _: None)  # NaN is no JSON, and equals not even itself
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _first(group: BaseExceptionGroup[E]) -> E:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
