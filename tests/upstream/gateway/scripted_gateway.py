"""A Gateway that says exactly what a test's script says, byte for byte, where the simulator is too well-behaved."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

PATIENCE = 10.0  # seconds of real time after which a test gives up; nothing waits so long unless it is broken
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True)
class Heard:
    """One request as it came: on which connection, its head and its body byte for byte."""

    connection: int
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
        """The first header of that name."""
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        found = [value.strip().decode() for key, _, value in pairs if key.decode().lower() == name.lower()]
        return found[0] if found else None


class Voice:
    """What a script can do to one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def say(self, *pieces: bytes) -> None:
        """Send bytes; each piece as a segment of its own."""
        for chunk in pieces:
            self._writer.write(chunk)
            await self._writer.drain()
            for _ in range(5):  # the other side shares our loop: let it read this piece alone
                await asyncio.sleep(0)

    @property
    def unsent(self) -> int:
        """Bytes that nobody has taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send bytes, whether they are taken or not."""
        self._writer.write(data)

    async def drained(self) -> None:
        """Wait until most of what was written is taken."""
        await self._writer.drain()

    async def hang_up(self) -> None:
        """End the connection in order."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """End the connection with a reset, as a dying process does."""
        plain = self._writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class Ear(asyncio.StreamReader):
    """A reader that says when the other side ends, even while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Callable[[], None] = lambda: None

    def feed_eof(self) -> None:
        """In order."""
        super().feed_eof()
        self.ended()

    def set_exception(self, exc: BaseException) -> None:
        """With a reset."""
        super().set_exception(exc)  # type: ignore[arg-type]  # as asyncio calls it
        self.ended()


Script = Callable[[Heard, Voice], Awaitable[None]]


async def answer(_: Heard, voice: Voice) -> None:
    """The plainest script."""
    await voice.say(OK)


class Stage:
    """A port on which a script plays the Gateway.

    Args:
        script: called for every request, in order on each connection.
        tls: speaks TLS where given.
    """

    def __init__(self, script: Script = answer, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.heard: list[Heard] = []
        self.connections = 0
        self.greeting: Callable[[Voice], Awaitable[None]] | None = None
        """What is done to each connection before a request has come."""
        self.greeted = 0
        self._tls = tls
        self._changed = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._open: set[int] = set()
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
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def asked(self, part: str) -> list[Heard]:
        """The requests whose target contains `part`."""
        return [heard for heard in self.heard if part in heard.target]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; looked at whenever a request, a connection or an end of one comes."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def until_heard(self, count: int, part: str = "") -> None:
        """Wait until so many requests have come."""
        await self.until(lambda: len(self.asked(part)) >= count)

    async def until_closed(self, connection: int) -> None:
        """Wait until the other side has closed a connection."""
        await self.until(lambda: connection <= self.connections and connection not in self._open)

    def is_open(self, connection: int) -> bool:
        """Whether the other side still holds a connection open."""
        return connection in self._open

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        ear = Ear()
        return asyncio.StreamReaderProtocol(ear, lambda _, writer: self._met(ear, writer))

    async def _met(self, ear: Ear, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
        self.connections += 1
        number = self.connections
        self._open.add(number)
        self._writers.append(writer)
        self._changed.set()
        ear.ended = lambda: self._ended(number)
        if self.greeting is not None:
            await self.greeting(Voice(writer))
            self.greeted += 1
            self._changed.set()
        with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            while True:
                await self._one(number, ear, writer)

    def _ended(self, number: int) -> None:
        self._open.discard(number)
        self._changed.set()

    async def _one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard = Heard(number, head, b"")
        body = await reader.readexactly(int(heard.header("Content-Length") or 0))
        heard = Heard(number, head, body)
        self.heard.append(heard)
        self._changed.set()
        await self.script(heard, Voice(writer))


async def never(*_: object) -> None:
    """A script that says nothing, as the Gateway does while IBKR is down."""
    await asyncio.get_running_loop().create_future()
