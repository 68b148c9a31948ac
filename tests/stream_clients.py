"""Readers of streams for tests: Server-Sent Events and websockets, through real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.harness import KEY, Harness, within


@dataclass(frozen=True)
class Told:
    """One event: its name (`message` where it has none), its id, its JSON."""

    name: str
    number: str
    data: Any


class Sse:
    """A stream of Server-Sent Events, read event by event."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply
        self.comments = 0
        self.retry: str | None = None

    async def next(self, name: str | None = None) -> Told:
        """The next event, or the next of a name; those before it are passed over."""
        while True:
            told = await within(self._event())
            if name in (None, told.name):
                return told

    async def until(self, holds: Callable[[Told], bool]) -> list[Told]:
        """All events up to the first for which this holds, that one included."""
        found: list[Told] = []
        while not found or not holds(found[-1]):
            found.append(await self.next())
        return found

    async def _event(self) -> Told:
        fields: dict[str, str] = {}
        while line := (await self.reply.content.readline()).decode():
            if line == "\n":
                if "data" in fields:
                    return Told(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
                fields = {}
            name, _, value = line.rstrip("\n").partition(": ")
            self.comments += not name and line != "\n"
            self.retry = value if name == "retry" else self.retry
            fields[name] = value
        raise EOFError("the stream has ended")


@asynccontextmanager
async def stream(harness: Harness, target: str, key: str | None = KEY, **headers: str) -> AsyncIterator[Sse]:
    """A stream of the bridge, for as long as it is read."""
    sent = _sent(key, headers)
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as client,
        client.get(harness.bridge.url + target, headers=sent) as reply,
    ):
        yield Sse(reply)


def _sent(key: str | None, headers: dict[str, str]) -> dict[str, str]:
    return {
        **({"X-Bridge-Key": key} if key else {}),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }


class Ws:
    """A websocket of the bridge, read message by message."""

    def __init__(self, talk: aiohttp.ClientWebSocketResponse) -> None:
        self.talk = talk

    async def say(self, text: str) -> None:
        """Send a command."""
        await self.talk.send_str(text)

    async def next(self, topic: str | None = None) -> Any:
        """The next message, or the next of a topic; `EOFError` where the socket ends first."""
        while True:
            message = await within(self.talk.receive())
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise EOFError(f"{message.type.name} {message.data} {message.extra}")
            told = json.loads(message.data) if message.data.startswith("{") else message.data
            if topic is None or (isinstance(told, dict) and told.get("topic") == topic):
                return told

    async def until(self, holds: Callable[[Any], bool]) -> Any:
        """The first message for which this holds."""
        while True:
            told = await self.next()
            if holds(told):
                return told


@asynccontextmanager
async def socket(
    harness: Harness, target: str = "/v1/api/ws", key: str | None = KEY, **headers: str
) -> AsyncIterator[Ws]:
    """A websocket, for as long as it is used."""
    sent = _sent(key, headers)
    async with aiohttp.ClientSession() as client, client.ws_connect(harness.bridge.url + target, headers=sent) as talk:
        yield Ws(talk)
