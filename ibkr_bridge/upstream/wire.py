"""How far one call has come, and the protocol it travels by, corrected for what the Gateway does.

The protocol is that of aiohttp's client, with its parser in C and its flow control, without the session above it. Three
things are mended, all in one place:

- The Gateway frames every answer as chunked, 204 and 304 too, so a stray `0\\r\\n\\r\\n` follows their heads. aiohttp
  reads it as the next answer: at once it loses the 204, later it poisons the next call on that connection.
- A connection whose call passed its deadline must never be used again, even when its late answer comes whole.
- An error among the chunks of a body leaves aiohttp's reader waiting; it has to be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from ibkr_bridge.upstream.base import nobody

CONNECT_WITHIN = 5.0  # seconds; loopback takes milliseconds, and the keeper must notice within its probe
BODY_FACTOR = 4  # a whole body may take so many times the deadline of one piece
EMPTY = (b"HTTP/1.1 204", b"HTTP/1.1 304", b"HTTP/1.0 204", b"HTTP/1.0 304")


class Wire:
    """How far one call has come, and until when its present stage may last (seconds of the event loop).

    Args:
        patience: seconds for the head of the answer, and for each piece of its body.
        last_look: see `Call.last_look`.
    """

    def __init__(self, patience: float, last_look: Callable[[], None] = nobody) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol: GatewayProtocol | None = None
        self._given_up = False
        self.heard = False
        """Whether a byte of the answer has come."""
        self._patience = patience
        self._last_look = last_look
        self._body_until = 0.0
        self.deadline = self._loop.time() + min(CONNECT_WITHIN, patience)

    @property
    def connected(self) -> bool:
        """Whether bytes of the call may have left."""
        return self._protocol is not None

    def attach(self, protocol: GatewayProtocol) -> None:
        """The call is about to be written to this connection, unless the last look stops it.

        Connecting took time, in which a caller can leave or a person can pause: what the look raises comes out here.
        """
        self._last_look()
        self._protocol = protocol
        self.deadline = self._loop.time() + self._patience
        if self._given_up:
            protocol.force_close()

    def headed(self) -> None:
        """The head has come; the body's time begins."""
        self._body_until = self._loop.time() + self._patience * BODY_FACTOR
        self.moved()

    def moved(self) -> None:
        """A piece of the body has come."""
        self.deadline = min(self._loop.time() + self._patience, self._body_until)

    async def within(self, piece: Awaitable[bytes]) -> bytes:
        """One more piece of the body, in its time.

        Raises:
            TimeoutError: it did not come.
        """
        async with asyncio.timeout(self._patience):
            return await piece

    def give_up(self) -> None:
        """Never use this connection again after its present call."""
        self._given_up = True
        if self._protocol is not None:
            self._protocol.force_close()


class GatewayProtocol(ResponseHandler):
    """One connection to the Gateway."""

    _wire: Wire | None = None
    _beginning: bytes | None = None  # of an answer, held back until it is plain whether it can have a body
    _deaf = False

    def send(self, wire: Wire, request: bytes) -> None:
        """Send a call, and be ready for its answer."""
        self._wire, self._beginning, self._deaf = wire, b"", False
        self.set_response_params(read_until_eof=True, auto_decompress=False)  # bodies pass as they are
        if self.transport is not None:
            self.transport.write(request)

    async def answered(self) -> tuple[RawResponseMessage, StreamReader]:
        """The head of the answer, and its body as it comes. What the Gateway says before that (100, 102) is overheard.

        Raises:
            aiohttp.ClientOSError, aiohttp.ServerDisconnectedError: the connection ended first.
            aiohttp.http_exceptions.HttpProcessingError: what came is no HTTP.
        """
        while True:
            message, body = await self.read()
            if message.code < 100 or message.code > 199 or message.code == 101:
                return message, body

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, but nothing behind the head of a 204 or 304."""
        if self._wire is not None:
            self._wire.heard |= bool(data)
        passed = data if self._beginning is None else self._first(self._beginning + data)
        if passed is not None and not self._deaf:
            super().data_received(passed)  # an empty one too: it sets a parser going again that was paused
        if self.exception() is not None:
            self._end_it()

    def _end_it(self) -> None:
        """What came is no HTTP. Whoever reads the body is told, and the connection ends without a TLS farewell."""
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError("what came is no HTTP"))
        if self.transport is not None:
            self.transport.abort()

    def _first(self, head: bytes) -> bytes | None:
        """What of an answer's beginning may go to the parser now; None for nothing yet."""
        if not _may_be_empty(head):
            self._beginning = None
            return head
        end = head.find(b"\r\n\r\n")
        if end < 0 or len(head) < len(EMPTY[0]):
            self._beginning = head
            return None
        self._beginning = None
        self.force_close()
        super().data_received(head[: end + 4])
        self._deaf = True
        return None


def _may_be_empty(head: bytes) -> bool:
    """Whether this beginning of an answer can be that of one without a body."""
    if len(head) >= len(EMPTY[0]):
        return head.startswith(EMPTY)
    return any(empty.startswith(head) for empty in EMPTY)
