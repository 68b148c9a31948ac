"""One client's connection: requests are read one after another, each answered before the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ibkr_bridge.sim.gateway.wire import Head, Refusal, parse_head

CHUNK_BYTES = 65536


class Hangup(Exception):
    """The connection must be closed at once, without a response."""


class SimConnection:
    """Reads requests from one client and writes bytes to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = b""

    async def requests(self) -> AsyncIterator[Head]:
        """Yield the request heads; end when the client disconnects or sends a head that cannot be read."""
        while (head := await self._next_head()) is not None:
            if isinstance(head, Refusal):
                self._writer.write(head.response)
                await self._writer.drain()
                return
            yield head

    async def read(self, max_bytes: int) -> bytes:
        """Read at most `max_bytes` of a body; return no bytes at the end of the connection."""
        if self._buffer:
            piece, self._buffer = self._buffer[:max_bytes], self._buffer[max_bytes:]
            return piece
        return await self._reader.read(min(max_bytes, CHUNK_BYTES))

    async def write(self, data: bytes) -> None:
        """Send bytes and wait until the client takes more."""
        self._writer.write(data)
        await self._writer.drain()

    def close(self, *, after_writes: bool = False) -> None:
        """Close the connection at once, or after all written bytes were sent."""
        if after_writes:
            self._writer.close()
        else:
            self._writer.transport.abort()

    async def read_chunks(self) -> bytes:
        """Read a chunked body to its end.

        Raises:
            Hangup: the client disconnected before the end.
            ValueError: a chunk has no size.
        """
        body = b""
        while (size := int((await self._read_line()).partition(b";")[0], 16)) > 0:
            chunk = b""
            while len(chunk) < size + 2:
                chunk += await self._read_some(size + 2 - len(chunk))
            body += chunk[:-2]
        while await self._read_line():
            pass  # trailers
        return body

    @property
    def address(self) -> str:
        """The client's address."""
        peer = self._writer.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    async def _next_head(self) -> Head | Refusal | None:
        while (parsed := parse_head(self._buffer)) is None:
            piece = await self._reader.read(CHUNK_BYTES)
            if not piece:
                return None
            self._buffer += piece
        if isinstance(parsed, Refusal):
            return parsed
        head, used = parsed
        self._buffer = self._buffer[used:]
        return head

    async def _read_some(self, max_bytes: int) -> bytes:
        piece = await self.read(max_bytes)
        if not piece:
            raise Hangup
        return piece

    async def _read_line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += await self._read_some(1)
        return line.strip()
