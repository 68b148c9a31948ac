"""The pool of connections to the Gateway.

Reads reuse idle connections. A call that changes something gets a new connection: an idle one may be closing, and then
it is unknown whether the call was sent. A connection in doubtful state is closed and never reused.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ssl
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiohttp
from yarl import URL

from ibkr_bridge.upstream.gateway.connection import GatewayConnection
from ibkr_bridge.upstream.gateway.tls import Tls

MAX_IDLE_S = 15.0  # seconds that a connection may be idle; a new one takes 1 ms on loopback


class ConnectionPool:
    """All connections to one Gateway.

    Args:
        address: scheme, host and port.
        tls: how its certificate is checked.
        path: a Unix socket that leads there.
    """

    def __init__(self, address: URL, tls: Tls, path: Path | None = None) -> None:
        self._path = path
        self._address = address
        self._fingerprint = tls if isinstance(tls, aiohttp.Fingerprint) else None
        self._context = ssl_context(tls) if address.scheme == "https" else None
        self._idle: dict[GatewayConnection, float] = {}  # idle since, in the event loop's seconds; the longest first
        self._sweep: asyncio.TimerHandle | None = None
        self._all: WeakSet[GatewayConnection] = WeakSet()
        self._closed = False

    def __repr__(self) -> str:
        return f"<ConnectionPool to {self._address}, {len(self._idle)} idle>"

    def idle(self) -> GatewayConnection | None:
        """Take an idle connection that is still usable; None if there is none."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_clean:
                return connection
            connection.abort()
        return None

    def release(self, connection: GatewayConnection) -> None:
        """Keep a connection after a read for the next one, or close it if its state is doubtful."""
        if self._closed or not connection.finish_response():
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        # One timer for all: a timer for each connection would cost more than the rest of this method.
        if self._sweep is None:
            self._sweep = loop.call_later(MAX_IDLE_S, self._close_expired, loop)

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
            if loop.time() < since + MAX_IDLE_S:
                self._sweep = loop.call_at(since + MAX_IDLE_S, self._close_expired, loop)
                return
            del self._idle[connection]
            connection.abort()

    async def connect(self) -> GatewayConnection:
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

    async def _open(self) -> tuple[asyncio.Transport, GatewayConnection]:
        loop, host = asyncio.get_running_loop(), self._address.host or ""
        make_connection = functools.partial(GatewayConnection, loop)
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": host} if self._context is not None else {}
        if self._path is not None:
            return await loop.create_unix_connection(make_connection, str(self._path), **tls)
        return await loop.create_connection(make_connection, host, self._address.port or 443, **tls)


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """The TLS context for connections; a pinned certificate is checked afterwards."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
