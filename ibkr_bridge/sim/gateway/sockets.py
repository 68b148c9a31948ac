"""The Gateway's websockets: accepted at once, connected to IBKR later or never, five at a time.

A client does not learn whether IBKR is connected. What it sends before that is lost. The Gateway answers its pings
even if IBKR is down. However IBKR ends a socket, the client gets the close code 1000.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
from yarl import URL

from ibkr_bridge.sim.gateway.connection import Hangup, SimConnection
from ibkr_bridge.sim.gateway.frames import (
    BINARY,
    CLOSE,
    MAX_FRAME_BYTES,
    PING,
    PONG,
    Frame,
    FrameTooLongError,
    close_frame,
    encode_frame,
    encode_handshake,
    parse_frame,
)
from ibkr_bridge.sim.gateway.wire import Head
from ibkr_bridge.sim.request_log import OWN_AGENT
from ibkr_bridge.sim.tasks import Tasks

MAX_CONNECTED = 5
"""Sockets with a connection to IBKR; the next one stays open and silent. Calls over HTTP are counted separately."""

NORMAL_CLOSURE = 1000


class Sockets:
    """All websockets of one Gateway."""

    def __init__(
        self, tasks: Tasks, cookie_header: Callable[[str], str], is_reachable: Callable[[], bool] = lambda: True
    ) -> None:
        self.market_port = 0
        """The port of the simulated IBKR."""
        self._tasks = tasks
        self._cookie_header = cookie_header
        self._is_reachable = is_reachable
        self._connected = 0

    async def serve(self, head: Head, client: SimConnection) -> None:
        """Serve one client's socket until either end closes it.

        Raises:
            Hangup: always, at the end.
        """
        await client.write(encode_handshake(head))
        socket = Socket(client)
        upstream = self._tasks.start(self._connect_to_ibkr(head.target, socket), name="gateway socket")
        try:
            await socket.relay_from_client()
        except FrameTooLongError:
            pass
        finally:
            upstream.cancel()
        raise Hangup

    async def _connect_to_ibkr(self, target: str, socket: Socket) -> None:
        """Relay one socket to IBKR, if one of the five is free and IBKR accepts it. A target must be a path."""
        if self._connected >= MAX_CONNECTED or not target.startswith("/") or not self._is_reachable():
            return
        self._connected += 1
        try:
            await self._relay(target, socket)
        finally:
            self._connected -= 1

    async def _relay(self, target: str, socket: Socket) -> None:
        url = URL(f"http://127.0.0.1:{self.market_port}{target}", encoded=True)
        headers = {"User-Agent": OWN_AGENT, "Cookie": self._cookie_header(target.partition("?")[0])}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            try:
                upstream = await session.ws_connect(url, headers=headers, max_msg_size=0, compress=0)
            except (aiohttp.ClientError, OSError):
                return  # refused or down: the client gets no message
            async with upstream:
                socket.upstream = upstream
                await socket.relay_from_ibkr(upstream, self._is_reachable)


class Socket:
    """One client's socket, and its connection to IBKR once there is one."""

    def __init__(self, client: SimConnection) -> None:
        self.upstream: aiohttp.ClientWebSocketResponse | None = None
        self._client = client

    async def relay_from_client(self) -> None:
        """Relay the client's frames until it closes the socket; each frame is a message, and pings are not relayed.

        Raises:
            FrameTooLongError: a frame was too large.
            Hangup: the client disconnected.
        """
        async for frame in self._frames():
            if frame.is_data and self.upstream is not None and not self.upstream.closed:
                await self.upstream.send_str(frame.payload.decode("utf-8", "replace"))
            elif frame.kind == PING:
                await self._send_frame(Frame(PONG, frame.payload))
            elif frame.kind == CLOSE:  # the Gateway does not answer it
                return

    async def relay_from_ibkr(
        self, upstream: aiohttp.ClientWebSocketResponse, is_reachable: Callable[[], bool]
    ) -> None:
        """Relay IBKR's messages, always in binary frames; close the client's socket when IBKR closes its own.

        What IBKR sends while it cannot be reached is lost.
        """
        async for message in upstream:
            if not is_reachable():
                continue
            data = message.data.encode() if isinstance(message.data, str) else message.data
            if not isinstance(data, bytes) or len(data) > MAX_FRAME_BYTES:  # an error ends it too
                self._client.close()
                return
            await self._send_frame(Frame(BINARY, data))
        await self._send_frame(close_frame(NORMAL_CLOSURE))
        self._client.close(after_writes=True)

    async def _frames(self) -> AsyncIterator[Frame]:
        buffer = b""
        while True:
            while (parsed := parse_frame(buffer)) is not None:
                frame, used = parsed
                buffer = buffer[used:]
                yield frame
            piece = await self._client.read(MAX_FRAME_BYTES)
            if not piece:
                raise Hangup
            buffer += piece

    async def _send_frame(self, frame: Frame) -> None:
        await self._client.write(encode_frame(frame))
