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

    def __init__(self, socket: web.WebSocketResponse, *, is_logged_in: bool, is_muted: Callable[[], bool]) -> None:
        self.socket = socket
        self.is_logged_in = is_logged_in
        self.announced_session: Brokerage | None = None
        """The brokerage session that it was told of as authenticated."""
        self.feeds: dict[str, Feed] = {}
        self._is_muted = is_muted
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    async def send(self, *messages: Message | str) -> None:
        """Say these one after the other; nothing where the stream has fallen silent or the client has gone."""
        with suppress(ConnectionError):
            for message in messages:
                if not self._is_muted():
                    await self.socket.send_str(message if isinstance(message, str) else _json(message))

    def add_feed(self, feed: Feed, task: asyncio.Task[Any]) -> None:
        """Let a feed run, in the place of the same one if there is one."""
        self.remove_feed(feed.key)
        self.feeds[feed.key], self._tasks[feed.key] = feed, task

    def remove_feed(self, key: str) -> None:
        """End a feed without a word."""
        if self.feeds.pop(key, None) is not None:
            task = self._tasks.pop(key)
            if task is not asyncio.current_task():
                task.cancel()

    def remove_ended_feeds(self, now: float) -> list[str]:
        """End those whose time is over, or that a call over HTTP has closed; which they were."""
        ended = [key for key, feed in self.feeds.items() if feed.is_over(now)]
        for key in ended:
            self.remove_feed(key)
        return ended

    def remove_all_feeds(self) -> None:
        """End every feed without a word."""
        for key in tuple(self.feeds):
            self.remove_feed(key)


def _json(message: Message) -> str:
    return json.dumps(message, default=float, separators=(",", ":"))
