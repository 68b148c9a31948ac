"""IBKR's end of one websocket: what its client subscribed to, and what is sent."""

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
    """One client's socket and feeds; `is_logged_in` if somebody was signed in when the socket opened."""

    def __init__(self, socket: web.WebSocketResponse, *, is_logged_in: bool, is_muted: Callable[[], bool]) -> None:
        self.socket = socket
        self.is_logged_in = is_logged_in
        self.announced_session: Brokerage | None = None
        """The brokerage session that was announced to this client as authenticated."""
        self.feeds: dict[str, Feed] = {}
        self._is_muted = is_muted
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    async def send(self, *messages: Message | str) -> None:
        """Send messages one after another; send nothing if the stream is muted or the client has disconnected."""
        with suppress(ConnectionError):
            for message in messages:
                if self._is_muted():
                    continue
                if isinstance(message, str):
                    await self.socket.send_str(message)
                else:
                    await self.socket.send_str(json.dumps(message, default=float, separators=(",", ":")))

    def add_feed(self, feed: Feed, task: asyncio.Task[Any]) -> None:
        """Add a feed with its task; it replaces a feed with the same key."""
        self.remove_feed(feed.key)
        self.feeds[feed.key], self._tasks[feed.key] = feed, task

    def remove_feed(self, key: str) -> None:
        """End a feed without a message."""
        if self.feeds.pop(key, None) is not None:
            task = self._tasks.pop(key)
            if task is not asyncio.current_task():
                task.cancel()

    def remove_ended_feeds(self, now: float) -> list[str]:
        """End the feeds whose time is over or that a call over HTTP has closed; return their keys."""
        ended = [key for key, feed in self.feeds.items() if feed.is_over(now)]
        for key in ended:
            self.remove_feed(key)
        return ended

    def remove_all_feeds(self) -> None:
        """End every feed without a message."""
        for key in tuple(self.feeds):
            self.remove_feed(key)
