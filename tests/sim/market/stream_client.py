"""One client of the stream, through the Gateway's socket: it sends commands and receives messages."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.contract.sockets import BINARY, Socket

ECHO = "ech+hb"
TIMEOUT_S = 10.0  # seconds of real time after which a test gives up
AAPL, MSFT, IBM = "265598", "272093", "8314"
ES = "495512563"


class StreamClient:
    """A socket that IBKR has greeted."""

    def __init__(self, socket: Socket) -> None:
        self.greeting: list[dict[str, Any]] = []
        self.socket = socket

    async def open(self) -> StreamClient:
        """Connect, and read IBKR's complete greeting."""
        await self.socket.open()
        self.greeting = [json.loads(payload) for payload in await self.socket.receive_greeting()]
        return self

    def send(self, *texts: str) -> None:
        """Send commands."""
        for text in texts:
            self.socket.send(text)

    async def receive(self) -> Any:
        """The next message."""
        async with asyncio.timeout(TIMEOUT_S):
            return json.loads(await self.socket.receive_payload(BINARY))

    async def request(self, text: str) -> Any:
        """Send a command and return the next message."""
        self.send(text)
        return await self.receive()

    async def receive_pending(self) -> list[Any]:
        """Return all messages sent so far. They end at an echo, which IBKR answers after them."""
        self.send(ECHO)
        return await self.receive_until_echo()

    async def receive_until_echo(self) -> list[Any]:
        """Return all messages up to the next echo."""
        messages: list[Any] = []
        async with asyncio.timeout(TIMEOUT_S):
            while (payload := await self.socket.receive_payload(BINARY)) != ECHO.encode():
                messages.append(json.loads(payload))
        return messages
