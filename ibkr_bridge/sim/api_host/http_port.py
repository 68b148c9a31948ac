"""A listening socket of aiohttp that can be stopped with calls in progress, and started again on the same port."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ibkr_bridge.sim.market.server import MAX_BODY_BYTES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpPort:
    """One port on 127.0.0.1; `handler` answers every request."""

    def __init__(self, handler: Handler, port: int, tls: ssl.SSLContext | None) -> None:
        self.number = port
        self.scheme = "https" if tls else "http"
        self._handler = handler
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.number}"

    async def start(self) -> None:
        """Listen; with port 0 the system chooses one, which is then in `number`."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{anything:.*}", self._serve)
        quiet = logging.getLogger("ibkr_bridge.sim.api_host")
        self._runner = web.AppRunner(app, access_log=None, logger=quiet, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.number, ssl_context=self._tls).start()
        self.number = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening; calls in progress are dropped."""
        if self._runner is not None:
            for caller in self._runner.server.connections if self._runner.server else ():
                if caller.transport is not None:
                    caller.transport.abort()
            await self._runner.cleanup()
            self._runner = None
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        return await self._handler(request)
