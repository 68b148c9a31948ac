"""Connections to the Gateway: made, kept while they rest, and never used again once there is any doubt.

Reads share kept ones. A call that changes something travels alone: a kept connection may be closing, and who knows then
what went out on it.
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

MAX_IDLE_S = 15.0  # seconds a connection may rest; a fresh one costs a millisecond on loopback


class ConnectionPool:
    """All connections to one Gateway.

    Args:
        address: scheme, host and port.
        tls: how its certificate is judged.
        path: a Unix socket that leads there.
    """

    def __init__(self, address: URL, tls: Tls, path: Path | None = None) -> None:
        self._path = path
        self._address = address
        self._fingerprint = tls if isinstance(tls, aiohttp.Fingerprint) else None
        self._context = ssl_context(tls) if address.scheme == "https" else None
        self._resting: dict[GatewayConnection, float] = {}  # since when, in the loop's seconds; the longest first
        self._sweep: asyncio.TimerHandle | None = None
        self._all: WeakSet[GatewayConnection] = WeakSet()
        self._closed = False

    def __repr__(self) -> str:
        return f"<ConnectionPool to {self._address}, {len(self._resting)} resting>"

    def idle(self) -> GatewayConnection | None:
        """A kept connection that still stands, if there is one."""
        while self._resting:
            connection, _ = self._resting.popitem()
            if connection.is_clean:
                return connection
            connection.abort()
        return None

    def release(self, connection: GatewayConnection) -> None:
        """Let a connection rest that a read has done with, unless anything speaks against it."""
        if self._closed or not connection.finish_response():
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._resting[connection] = loop.time()
        if self._sweep is None:  # one for all: a timer for each would cost more than the rest of this
            self._sweep = loop.call_later(MAX_IDLE_S, self._close_expired, loop)

    def close(self) -> None:
        """Let go of all there are; whoever waits for an answer is told that the connection ended."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._resting.clear()
        for connection in self._all:
            connection.abort()

    def _close_expired(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of those that have rested too long; look again when the next one will have."""
        self._sweep = None
        for connection, since in list(self._resting.items()):
            if loop.time() < since + MAX_IDLE_S:
                self._sweep = loop.call_at(since + MAX_IDLE_S, self._close_expired, loop)
                return
            del self._resting[connection]
            connection.abort()

    async def connect(self) -> GatewayConnection:
        """A fresh connection.

        Raises:
            OSError: none can be made; `ssl.SSLError` where TLS is the reason. What speaks before it is asked, or ends
                at once, is none either.
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
        await asyncio.sleep(0)  # one turn of the loop, in which what has come uninvited is seen
        if self._closed or not connection.is_clean:
            connection.abort()
            raise ConnectionAbortedError(errno.ECONNABORTED, "the connection is of no use")
        return connection

    async def _open(self) -> tuple[asyncio.Transport, GatewayConnection]:
        loop, host = asyncio.get_running_loop(), self._address.host or ""
        make = functools.partial(GatewayConnection, loop)
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": host} if self._context is not None else {}
        if self._path is not None:
            return await loop.create_unix_connection(make, str(self._path), **tls)
        return await loop.create_connection(make, host, self._address.port or 443, **tls)


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """What TLS is spoken with; a pinned certificate is checked afterwards."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
