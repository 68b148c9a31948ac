"""The protocol a call travels by: aiohttp's, corrected for what the Gateway does.

It is that of aiohttp's client, with its parser in C and its flow control, without the session above it. Two things are
mended here:

- The Gateway frames every answer as chunked, 204 and 304 too, so a stray `0\\r\\n\\r\\n` follows their heads. aiohttp
  reads it as the next answer: at once it loses the 204, later it poisons the next call on that connection.
- An error among the chunks of a body leaves aiohttp's reader waiting; it has to be told.
"""

from __future__ import annotations

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

EMPTY = (b"HTTP/1.1 204", b"HTTP/1.1 304", b"HTTP/1.0 204", b"HTTP/1.0 304")


class GatewayProtocol(ResponseHandler):
    """One connection to the Gateway."""

    heard = False
    """Whether a byte of the present call's answer has come."""
    _beginning: bytes | None = None  # of an answer, held back until it is plain whether it can have a body
    _deaf = False

    def send(self, request: bytes) -> None:
        """Send a call, and be ready for its answer."""
        self.heard, self._beginning, self._deaf = False, b"", False
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
        self.heard |= bool(data)
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
