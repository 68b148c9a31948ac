"""Readers of streams for tests: Server-Sent Events and websockets, through real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.harness import KEY, Harness, with_timeout


@dataclass(frozen=True)
class StreamEvent:
    """One event: its name (`message` if it has none), its id, its JSON."""

    name: str
    id: str
    data: Any


class SseReader:
    """A stream of Server-Sent Events, read event by event."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply
        self.comments = 0
        self.retry: str | None = None

    async def receive(self, name: str | None = None) -> StreamEvent:
        """Return the next event, or the next with that name; those before it are skipped."""
        while True:
            event = await with_timeout(self._read_event())
            if name in (None, event.name):
                return event

    async def receive_until(self, holds: Callable[[StreamEvent], bool]) -> list[StreamEvent]:
        """Return all events up to the first for which `holds` is true, which is included."""
        events: list[StreamEvent] = []
        while not events or not holds(events[-1]):
            events.append(await self.receive())
        return events

    async def _read_event(self) -> StreamEvent:
        fields: dict[str, str] = {}
        while line := (await self.reply.content.readline()).decode():
            if line == "\n":
                if "data" in fields:
                    return StreamEvent(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
                fields = {}
            name, _, value = line.rstrip("\n").partition(": ")
            self.comments += not name and line != "\n"
            self.retry = value if name == "retry" else self.retry
            fields[name] = value
        raise EOFError("the stream has ended")


@asynccontextmanager
async def open_sse(harness: Harness, target: str, key: str | None = KEY, **headers: str) -> AsyncIterator[SseReader]:
    """Open a stream of the bridge and close it at the end."""
    request_headers = _request_headers(key, headers)
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as client,
        client.get(harness.bridge.url + target, headers=request_headers) as reply,
    ):
        yield SseReader(reply)


def _request_headers(key: str | None, headers: dict[str, str]) -> dict[str, str]:
    return {
        **({"X-Bridge-Key": key} if key else {}),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }


class WebsocketReader:
    """A websocket of the bridge, read message by message."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def send(self, text: str) -> None:
        """Send a command."""
        await self.websocket.send_str(text)

    async def receive(self, topic: str | None = None) -> Any:
        """Return the next message, or the next of a topic.

        Raises:
            EOFError: the socket has ended before.
        """
        while True:
            message = await with_timeout(self.websocket.receive())
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise EOFError(f"{message.type.name} {message.data} {message.extra}")
            data = json.loads(message.data) if message.data.startswith("{") else message.data
            if topic is None or (isinstance(data, dict) and data.get("topic") == topic):
                return data

    async def receive_until(self, holds: Callable[[Any], bool]) -> Any:
        """Return the next message for which `holds` is true."""
        while True:
            data = await self.receive()
            if holds(data):
                return data


@asynccontextmanager
async def open_websocket(
    harness: Harness, target: str = "/v1/api/ws", key: str | None = KEY, **headers: str
) -> AsyncIterator[WebsocketReader]:
    """Open a websocket of the bridge and close it at the end."""
    request_headers = _request_headers(key, headers)
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(harness.bridge.url + target, headers=request_headers) as websocket,
    ):
        yield WebsocketReader(websocket)
