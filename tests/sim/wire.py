"""A client of the Gateway that sends exactly the given bytes and shows exactly the bytes that came back."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.sim.market_stage import MarketStage, browser_tls

SILENCE_S = 0.15
"""A response on loopback takes far less; used only to show that there is none."""


@dataclass(frozen=True)
class WireResponse:
    """One response as it was on the wire; `raw` is its head, `framed` the body before its chunks were joined."""

    status: int
    raw: str
    framed: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        values = self.headers(name)
        return values[0] if values else None

    def headers(self, name: str) -> list[str]:
        """All headers of that name."""
        pairs = (line.partition(":") for line in self.raw.split("\r\n")[1:])
        return [value.strip() for key, _, value in pairs if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Wire:
    """One connection to the Gateway."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence_s: float = SILENCE_S
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._silence_s = silence_s

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self._writer.write(data)

    def send_request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> None:
        """Send a request; it has a length if it has a body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    async def receive_response(self, method: str = "GET") -> WireResponse:
        """Read one response: chunked, of a given length, or without body."""
        raw = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
        head = WireResponse(int(raw.split(" ")[1]), raw, b"", b"")
        if method == "HEAD":
            return head
        if head.header("Transfer-Encoding") == "chunked":
            return WireResponse(head.status, raw, *await self._read_chunks())
        body = await self._reader.readexactly(int(head.header("Content-Length") or 0))
        return WireResponse(head.status, raw, body, body)

    async def call(
        self, method: str, target: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> WireResponse:
        """Send a request and return its response; a body is sent as JSON, and every POST has one."""
        data = b"{}" if body is None and method == "POST" else None if body is None else json.dumps(body).encode()
        self.send_request(method, target, headers, data)
        return await self.receive_response(method)

    async def read_to_end(self) -> bytes:
        """Read all bytes until the other side ends the connection."""
        return await self._reader.read()

    async def is_silent(self) -> bool:
        """Whether no byte comes and the connection stays open for `silence_s`."""
        try:
            async with asyncio.timeout(self._silence_s):
                await self._reader.read(1)
        except TimeoutError:
            return True
        return False

    async def read_exactly(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        return await self._reader.readexactly(size)

    async def read_until(self, end: bytes) -> bytes:
        """Read all bytes up to `end`, which is included."""
        return await self._reader.readuntil(end)

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()

    async def _read_chunks(self) -> tuple[bytes, bytes]:
        framed, body = b"", b""
        while True:
            line = await self._reader.readuntil(b"\r\n")
            data = await self._reader.readexactly(int(line, 16) + 2)
            framed, body = framed + line + data, body + data[:-2]
            if int(line, 16) == 0:
                return framed, body


async def connect(sim: MarketStage, source: str = "127.0.0.1", silence_s: float = SILENCE_S) -> Wire:
    """Open a connection from an address of this machine; `is_silent` waits for `silence_s`."""
    client = socket.socket()
    client.setblocking(False)
    client.bind((source, 0))
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", sim.port))
    except OSError:
        client.close()
        raise
    return Wire(*await asyncio.open_connection(sock=client, ssl=browser_tls(), server_hostname="localhost"), silence_s)
