"""One client of the stream, through the Gateway's socket: it says words and hears messages."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.contract.sockets import BINARY, Socket

ECHO = "ech+hb"
PATIENCE = 10.0  # seconds of real time after which a test gives up
AAPL, MSFT, IBM = "265598", "272093", "8314"
ES = "495512563"


class Ear:
    """A socket that IBKR has greeted."""

    def __init__(self, socket: Socket) -> None:
        self.greeting: list[dict[str, Any]] = []
        self.socket = socket

    async def open(self) -> Ear:
        """Connect, and hear IBKR's greeting to its end."""
        await self.socket.open()
        self.greeting = [json.loads(said) for said in await self.socket.greeted()]
        return self

    def say(self, *texts: str) -> None:
        """Say something."""
        for text in texts:
            self.socket.say(text)

    async def hear(self) -> Any:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.socket.hears(BINARY))

    async def ask(self, text: str) -> Any:
        """Say something and hear the next message."""
        self.say(text)
        return await self.hear()

    async def rest(self) -> list[Any]:
        """Whatever has been said until now; that there is no more shows an echo, which IBKR answers in its turn."""
        self.say(ECHO)
        return await self.until_echo()

    async def until_echo(self) -> list[Any]:
        """Whatever is said until somebody says the echo's words."""
        found: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            while (said := await self.socket.hears(BINARY)) != ECHO.encode():
                found.append(json.loads(said))
        return found
