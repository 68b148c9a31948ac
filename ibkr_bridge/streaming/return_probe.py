"""Notices IBKR's return while the Gateway answers no call: a websocket costs no slot of the Gateway, a check does.

The Gateway never answers a call whose connection IBKR refused, so the keeper cannot check often: each check might
occupy one of the five slots for minutes. Websockets have places of their own, and IBKR greets each new one at once. So
while checks time out, one websocket after the other is opened for two seconds; the first greeting requests a check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

from ibkr_bridge.calls.upstream_port import StreamSocket
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayError
from ibkr_bridge.streaming.upstream_feed import SessionChecker, is_greeting

GREETING_TIMEOUT_S = 2.0  # seconds; a healthy IBKR greets within 0.3 s
PROBE_INTERVAL_S = 1.0  # seconds from the end of one probe to the next: IBKR's return is seen within 3 s


class ReturnProbe:
    """Opens websockets while the Gateway is silent.

    Args:
        open_socket: opens IBKR's websocket.
        checker: checks the session when IBKR greets.
    """

    def __init__(
        self,
        open_socket: Callable[[], AbstractAsyncContextManager[StreamSocket]],
        checker: SessionChecker,
        clock: Clock,
    ) -> None:
        self._open_socket = open_socket
        self._checker = checker
        self._clock = clock
        self._is_silent = False
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ReturnProbe {'probing' if self._is_silent else 'idle'}>"

    def on_session_change(self, *, is_silent: bool) -> None:
        """Follow a change of the session."""
        self._is_silent = is_silent
        self._changed.set()

    async def run_loop(self) -> NoReturn:
        """Probe while the Gateway is silent, until cancelled."""
        while True:
            self._changed.clear()
            if not self._is_silent:
                await self._changed.wait()
                continue
            if await self._is_greeted():
                self._checker.request_check()
            await self._clock.wait(self._changed, PROBE_INTERVAL_S)

    async def _is_greeted(self) -> bool:
        """Whether IBKR greets a new websocket in time."""
        greeting = asyncio.create_task(self._wait_for_greeting())  # outlives nothing: it is awaited below
        ended = asyncio.Event()
        greeting.add_done_callback(lambda _: ended.set())
        try:
            await self._clock.wait(ended, GREETING_TIMEOUT_S)
            return greeting.done() and greeting.result()
        finally:
            greeting.cancel()
            await asyncio.gather(greeting, return_exceptions=True)

    async def _wait_for_greeting(self) -> bool:
        try:
            async with self._open_socket() as socket:
                while (data := await socket.receive()) is not None:
                    if is_greeting(data):
                        return True
        except GatewayError:
            return False
        return False
