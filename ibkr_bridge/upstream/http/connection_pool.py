"""The pool of connections to one server.

Reads reuse idle connections. A call that changes something gets a new connection: an idle one may be closing, and then
it is unknown whether the call was sent. A connection in doubtful state is closed and never reused.
"""

from __future__ import annotations

import asyncio
import errno
import functools
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiohttp
from yarl import URL

from ibkr_bridge.upstream.http.connection import HttpConnection
from ibkr_bridge.upstream.http.tls import Tls, ssl_context

MAX_IDLE_S = 15.0  # seconds that a connection may be idle; a new one takes 1 ms on loopback


class ConnectionPool:
    """All connections to one server.

    Args:
        address: scheme, host and port.
        tls: how its certificate is checked.
        path: a Unix socket that leads there.
        local_address: the address of this machine to connect from; None leaves the choice to the system.
        max_idle_s: seconds that a connection may be idle.
    """

    def __init__(
        self,
        address: URL,
        tls: Tls,
        path: Path | None = None,
        local_address: str | None = None,
        max_idle_s: float = MAX_IDLE_S,
    ) -> None:
        self._path = path
        self._local = (local_address, 0) if local_address is not None else None
        self._max_idle_s = max_idle_s
        self._address = address
        self._fingerprint = tls if isinstance(tls, aiohttp.Fingerprint) else None
        self._context = ssl_context(tls) if address.scheme == "https" else None
        self._idle: dict[HttpConnection, float] = {}  # idle since, in the event loop's seconds; the longest first
        self._sweep: asyncio.TimerHandle | None = None
        self._all: WeakSet[HttpConnection] = WeakSet()
        self._closed = False

    def __repr__(self) -> str:
        return f"<ConnectionPool to {self._address}, {len(self._idle)} idle>"

    def idle(self) -> HttpConnection | None:
        """Take an idle connection that is still usable; None if there is none."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_clean:
                return connection
            connection.abort()
        return None

    def release(self, connection: HttpConnection) -> None:
        """Keep a connection after a read for the next one, or close it if its state is doubtful."""
        if self._closed or not connection.finish_response():
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        # One timer for all: a timer for each connection would cost more than the rest of this method.
        if self._sweep is None:
            self._sweep = loop.call_later(self._max_idle_s, self._close_expired, loop)

    def close(self) -> None:
        """Close all connections; a call that waits for a response gets an error."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        for connection in self._all:
            connection.abort()

    def _close_expired(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that were idle too long, and schedule the next sweep."""
        self._sweep = None
        for connection, since in list(self._idle.items()):
            if loop.time() < since + self._max_idle_s:
                self._sweep = loop.call_at(since + self._max_idle_s, self._close_expired, loop)
                return
            del self._idle[connection]
            connection.abort()

    async def connect(self) -> HttpConnection:
        """Open a new connection.

        Raises:
            OSError: it cannot be opened; `ssl.SSLError` if TLS is the reason. A connection that sends bytes unasked, or
                ends at once, counts as failed too.
            aiohttp.ServerFingerprintMismatch: the certificate is not the pinned one.
        """
        transport, connection = await self._open()
        self._all.add(connection)
        if self._fingerprint is not None and self._context is not None:
            try:
                self._fingerprint.check(transport)
            except aiohttp.ServerFingerprintMismatch:
                connection.abort()
                raise
        await asyncio.sleep(0)  # one turn of the event loop, so that unexpected bytes are noticed
        if self._closed or not connection.is_clean:
            connection.abort()
            raise ConnectionAbortedError(errno.ECONNABORTED, "the connection is not usable")
        return connection

    async def _open(self) -> tuple[asyncio.Transport, HttpConnection]:
        loop, host = asyncio.get_running_loop(), self._address.host or ""
        make_connection = functools.partial(HttpConnection, loop)
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": host} if self._context is not None else {}
        if self._path is not None:
            return await loop.create_unix_connection(make_connection, str(self._path), **tls)
        port = self._address.port or 443
        return await loop.create_connection(make_connection, host, port, local_addr=self._local, **tls)
