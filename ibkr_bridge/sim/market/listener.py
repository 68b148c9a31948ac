"""One socket at IBKR's end: what is said on it, and what its client has asked to be told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from ibkr_bridge.sim.market.feeds.feed import Feed, Message
from ibkr_bridge.sim.market.sessions import Brokerage


class Listener:
    """Whoever is at the other end; `is_known` where somebody was signed in when it opened."""

    def __init__(self, socket: web.WebSocketResponse, *, is_known: bool, is_hushed: Callable[[], bool]) -> None:
        self.socket = socket
        self.is_known = is_known
        self.told: Brokerage | None = None
        """The brokerage session that it was told of as authenticated."""
        self.feeds: dict[str, Feed] = {}
        self._is_hushed = is_hushed
        self._work: dict[str, asyncio.Task[Any]] = {}

    async def say(self, *messages: Message | str) -> None:
        """Say these one after the other; nothing where the stream has fallen silent or the client has gone."""
        with suppress(ConnectionError):
            for message in messages:
                if not self._is_hushed():
                    await self.socket.send_str(message if isinstance(message, str) else _json(message))

    def begin(self, feed: Feed, work: asyncio.Task[Any]) -> None:
        """Let a feed run, in the place of the same one if there is one."""
        self.drop(feed.key)
        self.feeds[feed.key], self._work[feed.key] = feed, work

    def drop(self, key: str) -> None:
        """End a feed without a word."""
        if self.feeds.pop(key, None) is not None:
            work = self._work.pop(key)
            if work is not asyncio.current_task():
                work.cancel()

    def drop_over(self, now: float) -> list[str]:
        """End those whose time is over, or that a call over HTTP has closed; which they were."""
        over = [key for key, feed in self.feeds.items() if feed.is_over(now)]
        for key in over:
            self.drop(key)
        return over

    def drop_all(self) -> None:
        """End every feed without a word."""
        for key in tuple(self.feeds):
            self.drop(key)


def _json(message: Message) -> str:
    return json.dumps(message, default=float, separators=(",", ":"))
