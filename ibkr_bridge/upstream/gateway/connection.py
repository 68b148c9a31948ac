"""The protocol a call travels by: aiohttp's, corrected for what the Gateway does.

It is that of aiohttp's client, with its parser in C and its flow control, without the session above it. Three things
are mended here:

- The Gateway frames every answer as chunked, 204 and 304 too, so a stray `0\\r\\n\\r\\n` follows their heads. aiohttp
  reads it as the next answer: at once it loses the 204, later it poisons the next call on that connection.
- An error among the chunks of a body leaves aiohttp's reader waiting; it has to be told. So does the end we make.
- What comes without having been asked for would be taken for the answer to the next call.
"""

from __future__ import annotations

import re

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

STATUS = re.compile(rb"\s*HTTP/1\.[01] (\d{3})")
HEAD_END = re.compile(rb"\n\r?\n")
BODILESS = (204, 304)
ENOUGH = 12  # bytes of an answer's beginning in which its status stands
LONGEST_HEAD = 16 * 1024  # bytes held back; of more the parser shall judge


class GatewayProtocol(ResponseHandler):
    """One connection to the Gateway."""

    heard = False
    """Whether a byte of the present call's answer has come."""
    _asked = False
    _beginning: bytes | None = None  # of an answer, held back until it is plain whether it can have a body
    _deaf = False

    @property
    def is_clean(self) -> bool:
        """Whether a call may travel here: it stands, and nothing has come that was not asked for."""
        return self.is_connected() and not self.should_close

    def send(self, request: bytes) -> None:
        """Send a call, and be ready for its answer."""
        self._asked, self.heard, self._beginning, self._deaf = True, False, b"", False
        self.set_response_params(read_until_eof=True, auto_decompress=False)  # bodies pass as they are
        if self.transport is not None:
            self.transport.write(request)

    def rest(self) -> bool:
        """The answer is here, whole. Returns whether another call may travel here: nothing more than that has come."""
        self._asked = False
        return self.is_clean and self._parser is not None and self._parser.feed_eof() is None

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

    def abort(self) -> None:
        """End the connection without a TLS farewell. Whoever reads the body is told."""
        self._tell("the connection was ended")
        super().abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, but nothing behind the head of a 204 or 304."""
        if not self._asked:
            self.force_close()
            return
        self.heard |= bool(data)
        passed = data if self._beginning is None else self._first(self._beginning + data)
        if passed is not None and not self._deaf:
            super().data_received(passed)  # an empty one too: it sets a parser going again that was paused
        if self.exception() is not None:
            self._tell("what came is no HTTP")
            if self.transport is not None:
                self.transport.abort()

    def _tell(self, why: str) -> None:
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError(why))

    def _first(self, held: bytes) -> bytes | None:
        """What of an answer's beginning may go to the parser now; None for nothing yet."""
        while (found := STATUS.match(held)) and (int(found[1]) < 200 or int(found[1]) in BODILESS):
            end = HEAD_END.search(held)
            if end is None:
                return self._held_back(held, wait=True)
            super().data_received(held[: end.end()])
            held = held[end.end() :]
            if int(found[1]) in BODILESS:
                self.force_close()
                self._deaf = True
        return self._held_back(held, wait=not found and len(held.lstrip()) < ENOUGH)

    def _held_back(self, held: bytes, *, wait: bool) -> bytes | None:
        waits = wait and len(held) <= LONGEST_HEAD
        self._beginning = held if waits else None
        return None if waits else held
