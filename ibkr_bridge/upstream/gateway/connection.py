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
STATUSES_WITHOUT_BODY = (204, 304)
STATUS_LINE_BYTES = 12  # bytes of an answer's beginning in which its status stands
MAX_HEAD_BYTES = 16 * 1024  # bytes held back; of more the parser shall judge


class GatewayConnection(ResponseHandler):
    """One connection to the Gateway."""

    response_started = False
    """Whether a byte of the present call's answer has come."""
    _is_expecting = False
    _beginning: bytes | None = None  # of an answer, held back until it is plain whether it can have a body
    _ignore_body = False

    @property
    def is_clean(self) -> bool:
        """Whether a call may travel here: it stands, and nothing has come that was not asked for."""
        return self.is_connected() and not self.should_close

    def send(self, request: bytes) -> None:
        """Send a call, and be ready for its answer."""
        self._is_expecting, self.response_started, self._beginning, self._ignore_body = True, False, b"", False
        self.set_response_params(read_until_eof=True, auto_decompress=False)  # bodies pass as they are
        if self.transport is not None:
            self.transport.write(request)

    def finish_response(self) -> bool:
        """The answer is here, whole. Returns whether another call may travel here: nothing more than that has come."""
        self._is_expecting = False
        return self.is_clean and self._parser is not None and self._parser.feed_eof() is None

    async def read_head(self) -> tuple[RawResponseMessage, StreamReader]:
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
        self._fail_body("the connection was ended")
        super().abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, but nothing behind the head of a 204 or 304."""
        if not self._is_expecting:
            self.force_close()
            return
        self.response_started |= bool(data)
        passed = data if self._beginning is None else self._status_start(self._beginning + data)
        if passed is not None and not self._ignore_body:
            super().data_received(passed)  # an empty one too: it sets a parser going again that was paused
        if self.exception() is not None:
            self._fail_body("what came is no HTTP")
            if self.transport is not None:
                self.transport.abort()

    def _fail_body(self, reason: str) -> None:
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError(reason))

    def _status_start(self, held: bytes) -> bytes | None:
        """What of an answer's beginning may go to the parser now; None for nothing yet."""
        while (found := STATUS.match(held)) and (int(found[1]) < 200 or int(found[1]) in STATUSES_WITHOUT_BODY):
            end = HEAD_END.search(held)
            if end is None:
                return self._hold_back(held, wait=True)
            super().data_received(held[: end.end()])
            held = held[end.end() :]
            if int(found[1]) in STATUSES_WITHOUT_BODY:
                self.force_close()
                self._ignore_body = True
        return self._hold_back(held, wait=not found and len(held.lstrip()) < STATUS_LINE_BYTES)

    def _hold_back(self, held: bytes, *, wait: bool) -> bytes | None:
        waits = wait and len(held) <= MAX_HEAD_BYTES
        self._beginning = held if waits else None
        return None if waits else held
