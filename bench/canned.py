"""A fast upstream: the simulated market's own answers, read once and then said again and again from memory.

    python -m bench.canned PORT

Plain HTTP/1.1 with kept connections, GET alone: the bench and the bridge's keeper ask nothing else. An asyncio protocol
without a framework answers faster than anything in front of it can ask.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp

from ibkr_bridge.sim.simulator import Simulator

ASKED = ("/v1/api/portfolio/accounts", "/v1/api/iserver/accounts", "/v1/api/iserver/auth/status", "/v1/api/tickle")
NOT_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


async def recorded() -> dict[bytes, bytes]:
    """The market's answer to each target, as it goes over the wire."""
    async with Simulator() as simulator, aiohttp.ClientSession(headers={"User-Agent": "bench"}) as client:
        return {target.encode(): await _answer(client, simulator.url + target) for target in ASKED}


async def _answer(client: aiohttp.ClientSession, url: str) -> bytes:
    async with client.get(url, ssl=False) as reply:
        reply.raise_for_status()
        body = await reply.read()
        kind = reply.headers["Content-Type"].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._come = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody wants to ask."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101  # for the type alone
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every head that is whole."""
        *heads, self._come = (self._come + data).split(b"\r\n\r\n")
        if heads and self._transport is not None:
            self._transport.write(b"".join(self._answers.get(head.split(b" ", 2)[1], NOT_HERE) for head in heads))


async def serve(port: int) -> asyncio.Server:
    """Listen on loopback."""
    answers = await recorded()
    return await asyncio.get_running_loop().create_server(lambda: Canned(answers), "127.0.0.1", port)


async def _for_ever(port: int) -> None:
    async with await serve(port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_for_ever(int(sys.argv[1])))
