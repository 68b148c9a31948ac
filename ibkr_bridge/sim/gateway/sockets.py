"""The Gateway's websockets: said yes to at once, connected to IBKR later or never, and five at most at a time.

A client learns nothing of what happens behind: what it sends before IBKR is connected is lost, its pings are answered
here whether IBKR lives or not, and however IBKR ends a socket, the client hears 1000.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
from yarl import URL

from ibkr_bridge.sim.gateway.connection import Hangup, SimConnection
from ibkr_bridge.sim.gateway.frames import (
    BINARY,
    CLOSE,
    LONGEST,
    PING,
    PONG,
    Frame,
    TooLongError,
    closing,
    handshake,
    read_frame,
    write_frame,
)
from ibkr_bridge.sim.gateway.wire import Head
from ibkr_bridge.sim.request_log import OWN_AGENT
from ibkr_bridge.sim.tasks import Tasks

MOST = 5
"""Sockets with a connection to IBKR; the next one is open and silent for ever. Calls over HTTP are counted apart."""

NORMAL = 1000


class Sockets:
    """All websockets of one Gateway."""

    def __init__(self, tasks: Tasks, cookies: Callable[[str], str]) -> None:
        self.market = 0
        """The port of IBKR's end."""
        self._tasks = tasks
        self._cookies = cookies
        self._connected = 0

    async def serve(self, head: Head, talk: SimConnection) -> None:
        """Look after one client's socket until either end has had enough.

        Raises:
            Hangup: always, in the end.
        """
        await talk.write(handshake(head))
        socket = Socket(talk)
        above = self._tasks.start(self._above(head.target, socket), name="gateway socket")
        try:
            await socket.listen()
        except TooLongError:
            pass
        finally:
            above.cancel()
        raise Hangup

    async def _above(self, target: str, socket: Socket) -> None:
        """IBKR's end of one socket, if there is room for it and IBKR agrees; a target that is no path leads nowhere."""
        if self._connected >= MOST or not target.startswith("/"):
            return
        self._connected += 1
        try:
            await self._relay(target, socket)
        finally:
            self._connected -= 1

    async def _relay(self, target: str, socket: Socket) -> None:
        url = URL(f"http://127.0.0.1:{self.market}{target}", encoded=True)
        headers = {"User-Agent": OWN_AGENT, "Cookie": self._cookies(target.partition("?")[0])}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            try:
                above = await session.ws_connect(url, headers=headers, max_msg_size=0, compress=0)
            except (aiohttp.ClientError, OSError):
                return  # refused or down: the client is not told
            async with above:
                socket.above = above
                await socket.bring_down(above)


class Socket:
    """One client's socket, and IBKR's end of it once there is one."""

    def __init__(self, talk: SimConnection) -> None:
        self.above: aiohttp.ClientWebSocketResponse | None = None
        self._talk = talk

    async def listen(self) -> None:
        """Take what the client says until it leaves; each frame is a message, pings go no further.

        Raises:
            TooLongError: it said too much at once.
            Hangup: it has gone.
        """
        async for frame in self._frames():
            if frame.is_data and self.above is not None and not self.above.closed:
                await self.above.send_str(frame.payload.decode("utf-8", "replace"))
            elif frame.kind == PING:
                await self._say(Frame(PONG, frame.payload))
            elif frame.kind == CLOSE:  # not answered
                return

    async def bring_down(self, above: aiohttp.ClientWebSocketResponse) -> None:
        """Pass on what IBKR says, always in binary frames; its end ends the client's socket."""
        async for message in above:
            data = message.data.encode() if isinstance(message.data, str) else message.data
            if not isinstance(data, bytes) or len(data) > LONGEST:  # what is no frame at all ends it too
                self._talk.drop()
                return
            await self._say(Frame(BINARY, data))
        await self._say(closing(NORMAL))
        self._talk.drop(gently=True)

    async def _frames(self) -> AsyncIterator[Frame]:
        held = b""
        while True:
            while (found := read_frame(held)) is not None:
                frame, used = found
                held = held[used:]
                yield frame
            piece = await self._talk.read(LONGEST)
            if not piece:
                raise Hangup
            held += piece

    async def _say(self, frame: Frame) -> None:
        await self._talk.write(write_frame(frame))
