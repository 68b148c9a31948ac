"""A client that says exactly the bytes it is told, and shows exactly the bytes that came back."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.sim.market_stage import MarketStage, browser_tls

MOMENT = 0.15
"""Seconds in which an answer on loopback would long have come; only ever used to show that none does."""


@dataclass(frozen=True)
class Got:
    """One answer as it stood on the wire; `raw` is its head, `framed` the body before its chunks were joined."""

    status: int
    raw: str
    framed: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        found = self.headers(name)
        return found[0] if found else None

    def headers(self, name: str) -> list[str]:
        """All headers of that name."""
        pairs = (line.partition(":") for line in self.raw.split("\r\n")[1:])
        return [value.strip() for key, _, value in pairs if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Wire:
    """One connection to the Gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moment: float = MOMENT) -> None:
        self._reader = reader
        self._writer = writer
        self._moment = moment

    def say(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Send a request with a length, if it has a body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.say("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    async def hear(self, method: str = "GET") -> Got:
        """Read one answer: chunked, of a given length, or without body."""
        raw = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
        head = Got(int(raw.split(" ")[1]), raw, b"", b"")
        if method == "HEAD":
            return head
        if head.header("Transfer-Encoding") == "chunked":
            return Got(head.status, raw, *await self._chunks())
        body = await self._reader.readexactly(int(head.header("Content-Length") or 0))
        return Got(head.status, raw, body, body)

    async def call(
        self, method: str, target: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Got:
        """Ask and hear; a body is sent as JSON, and every POST has one."""
        data = b"{}" if body is None and method == "POST" else None if body is None else json.dumps(body).encode()
        self.ask(method, target, headers, data)
        return await self.hear(method)

    async def rest(self) -> bytes:
        """Everything until the other side ends the connection."""
        return await self._reader.read()

    async def hears_nothing(self) -> bool:
        """Whether no byte comes and the connection stays open, for a moment."""
        try:
            async with asyncio.timeout(self._moment):
                await self._reader.read(1)
        except TimeoutError:
            return True
        return False

    async def some(self, size: int) -> bytes:
        """So many bytes, exactly."""
        return await self._reader.readexactly(size)

    async def until(self, end: bytes) -> bytes:
        """Everything up to this, it included."""
        return await self._reader.readuntil(end)

    def drop(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    async def _chunks(self) -> tuple[bytes, bytes]:
        framed, body = b"", b""
        while True:
            line = await self._reader.readuntil(b"\r\n")
            data = await self._reader.readexactly(int(line, 16) + 2)
            framed, body = framed + line + data, body + data[:-2]
            if int(line, 16) == 0:
                return framed, body


async def connect(sim: MarketStage, source: str = "127.0.0.1", moment: float = MOMENT) -> Wire:
    """A new connection, from an address of this machine; `moment` as long as its silence is listened to."""
    plain = socket.socket()
    plain.setblocking(False)
    plain.bind((source, 0))
    try:
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", sim.port))
    except OSError:
        plain.close()
        raise
    return Wire(*await asyncio.open_connection(sock=plain, ssl=browser_tls(), server_hostname="localhost"), moment)
