"""A Gateway that sends exactly the bytes of a test's script, for responses that the simulator never sends."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

TEST_TIMEOUT_S = 10.0  # seconds of real time after which a test gives up; only broken code takes so long
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True)
class Request:
    """One request as it was received: the number of its connection, its head and its body, byte for byte."""

    connection_number: int
    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        """In capitals."""
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        """As it stands in the request line."""
        return self.head.split(b" ", 2)[1].decode("latin-1")

    def header(self, name: str) -> str | None:
        """The value of the first header with this name, in any letter case, or None."""
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        values = [value.strip().decode() for key, _, value in pairs if key.decode().lower() == name.lower()]
        return values[0] if values else None


class Connection:
    """One connection to the scripted Gateway, as a script uses it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, each piece as its own TCP segment."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            for _ in range(5):  # the client runs in the same event loop; let it read this piece before the next one
                await asyncio.sleep(0)

    @property
    def unsent_bytes(self) -> int:
        """The size of the write buffer: what the client has not read yet."""
        return self._writer.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Put bytes into the write buffer, without waiting for the client to read them."""
        self._writer.write(data)

    async def wait_until_drained(self) -> None:
        """Wait until the client has read most of what was written."""
        await self._writer.drain()

    async def close(self) -> None:
        """Close the connection in order."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """End the connection with a reset, as a dying process does."""
        plain = self._writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class ObservedReader(asyncio.StreamReader):
    """A reader that calls `on_end` when the client ends the connection, even while nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.on_end: Callable[[], None] = lambda: None

    def feed_eof(self) -> None:
        """The client closed the connection in order."""
        super().feed_eof()
        self.on_end()

    def set_exception(self, exc: BaseException) -> None:
        """The client reset the connection."""
        super().set_exception(exc)  # type: ignore[arg-type]  # as asyncio calls it
        self.on_end()


Script = Callable[[Request, Connection], Awaitable[None]]


async def respond_ok(_: Request, connection: Connection) -> None:
    """The default script: respond to each request with `OK`."""
    await connection.send(OK)


class ScriptedGateway:
    """A server on 127.0.0.1 that runs a script for each request.

    Args:
        script: called for each request; on one connection in the order of the requests.
        tls: the context for TLS; without it the server speaks plain HTTP.
    """

    def __init__(self, script: Script = respond_ok, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connection_count = 0
        self.on_connect: Callable[[Connection], Awaitable[None]] | None = None
        """Called for each connection, before a request has been received."""
        self.on_connect_count = 0
        """How many calls of `on_connect` have returned."""
        self._tls = tls
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._open_connections: set[int] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    @property
    def url(self) -> str:
        """The address of the server, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def find_requests(self, part: str) -> list[Request]:
        """Return the requests whose target contains `part`."""
        return [request for request in self.requests if part in request.target]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition is true; it is checked after each request, new connection and end of a connection."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def wait_for_requests(self, count: int, part: str = "") -> None:
        """Wait until at least `count` requests whose target contains `part` have been received."""
        await self.wait_until(lambda: len(self.find_requests(part)) >= count)

    async def wait_until_closed(self, number: int) -> None:
        """Wait until the client has closed the connection with this number; the first one is 1."""
        await self.wait_until(lambda: number <= self.connection_count and number not in self._open_connections)

    def is_open(self, number: int) -> bool:
        """True while the client has not closed the connection with this number."""
        return number in self._open_connections

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = ObservedReader()
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: self._serve_connection(reader, writer))

    async def _serve_connection(self, reader: ObservedReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self.connection_count += 1
        number = self.connection_count
        self._open_connections.add(number)
        self._writers.append(writer)
        self._changed.set()
        reader.on_end = lambda: self._mark_ended(number)
        if self.on_connect is not None:
            await self.on_connect(Connection(writer))
            self.on_connect_count += 1
            self._changed.set()
        with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            while True:
                await self._serve_request(number, reader, writer)

    def _mark_ended(self, number: int) -> None:
        self._open_connections.discard(number)
        self._changed.set()

    async def _serve_request(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request = Request(number, head, b"")
        body = await reader.readexactly(int(request.header("Content-Length") or 0))
        request = Request(number, head, body)
        self.requests.append(request)
        self._changed.set()
        await self.script(request, Connection(writer))


async def never_respond(*_: object) -> None:
    """A script that sends nothing and does not return, as the Gateway does while IBKR is down."""
    await asyncio.get_running_loop().create_future()
