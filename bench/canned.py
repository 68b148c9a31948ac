"""A fast upstream: it fetches the responses of the simulated market once and then sends them from memory.

    python -m bench.canned PORT

It speaks plain HTTP/1.1 with persistent connections and expects GET only, as the bench and the bridge's keeper send
nothing else. An asyncio protocol without a framework answers faster than any program in front of it can send requests.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp

from ibkr_bridge.sim.simulator import Simulator

TARGETS = ("/v1/api/portfolio/accounts", "/v1/api/iserver/accounts", "/v1/api/iserver/auth/status", "/v1/api/tickle")
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


async def record_responses() -> dict[bytes, bytes]:
    """Return the market's response to each target, as it is sent over the wire."""
    async with Simulator() as simulator, aiohttp.ClientSession(headers={"User-Agent": "bench"}) as client:
        return {target.encode(): await _fetch(client, simulator.url + target) for target in TARGETS}


async def _fetch(client: aiohttp.ClientSession, url: str) -> bytes:
    async with client.get(url, ssl=False) as response:
        response.raise_for_status()
        body = await response.read()
        media_type = response.headers["Content-Type"].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (media_type, len(body), body)


class CannedConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, responses: dict[bytes, bytes]) -> None:
        self._responses = responses
        self._incomplete = b""
        """The beginning of a request head whose end has not arrived."""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101  # for the type alone
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Send a response to every complete request head."""
        *heads, self._incomplete = (self._incomplete + data).split(b"\r\n\r\n")
        if heads and self._transport is not None:
            targets = (head.split(b" ", 2)[1] for head in heads)
            self._transport.write(b"".join(self._responses.get(target, NOT_FOUND) for target in targets))


async def serve(port: int) -> None:
    """Listen on loopback until the process is stopped."""
    responses = await record_responses()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: CannedConnection(responses), "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
