"""IBKR's end of the websocket: who is there, that all is well, and whatever a test wants said.

A socket opens with `system … success` where somebody is signed in, else with `waiting for session`. `tic` and `ech+hb`
are answered, a heartbeat comes every ten seconds. Quotes and orders are not streamed yet.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from ibkr_bridge.sim.clock import Calendar, SimClock
from ibkr_bridge.sim.market.session_calls import NAME
from ibkr_bridge.sim.seen import Bell

PATH = "/v1/api/ws"
BEAT_EVERY = 10.0  # seconds


def is_socket(request: web.BaseRequest) -> bool:
    """Whether a request asks for the stream."""
    return request.path == PATH and request.headers.get("Upgrade", "").lower() == "websocket"


class Stream:
    """Every open socket, and what was heard on them."""

    def __init__(self, calendar: Calendar, clock: SimClock) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.heard: list[str] = []
        """Text messages in the order of their arrival; a binary one says so."""
        self._calendar = calendar
        self._clock = clock
        self._bell = Bell()

    async def serve(self, request: web.BaseRequest, is_logged_in: bool) -> web.WebSocketResponse:
        """Look after one socket until its client leaves."""
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        self.sockets.append(socket)
        await _say(socket, {"topic": "system", "success": NAME} if is_logged_in else {"message": "waiting for session"})
        beats = asyncio.ensure_future(self._beat(socket))
        self._bell.ring()
        try:
            async for message in socket:
                await self._answer(socket, message.type, message.data)
        finally:
            beats.cancel()
            self.sockets.remove(socket)
            self._bell.ring()
        return socket

    async def opened(self, count: int = 1) -> None:
        """Come back as soon as so many sockets are open, or so few."""
        await self._bell.until(lambda: len(self.sockets) == count)

    async def has_heard(self, text: str) -> None:
        """Come back as soon as this has been heard."""
        await self._bell.until(lambda: text in self.heard)

    async def say(self, text: str) -> None:
        """Say something to everybody."""
        for socket in self.sockets:
            await socket.send_str(text)

    async def end(self, code: int) -> None:
        """Close every socket."""
        for socket in tuple(self.sockets):
            await socket.close(code=code)

    async def _answer(self, socket: web.WebSocketResponse, kind: WSMsgType, text: Any) -> None:
        self.heard.append(text if kind is WSMsgType.TEXT else f"{kind.name} {text!r}")
        self._bell.ring()
        if text == "tic":
            await _say(socket, {"topic": "tic", "alive": True})
        elif text == "ech+hb":
            await socket.send_str(text)

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while True:
            await self._clock.sleep(BEAT_EVERY)
            await _say(socket, {"topic": "system", "hb": self._calendar.ms(self._clock.now())})


async def _say(socket: web.WebSocketResponse, what: dict[str, Any]) -> None:
    await socket.send_str(json.dumps(what, separators=(",", ":")))
