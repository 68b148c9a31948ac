"""A connection to a server: aiohttp's client protocol, corrected for the behaviour of IBKR's Gateway.

It uses aiohttp's parser in C and its flow control, without aiohttp's session. Three problems are corrected here:

- The Gateway frames every response as chunked, even 204 and 304, so a stray `0\\r\\n\\r\\n` follows their heads.
  aiohttp reads it as the next response: it loses the 204 at once, or damages the next call on that connection.
- After an error in the chunks of a body, or after our own abort, aiohttp's reader would wait without end; it gets an
  exception here.
- Bytes that arrive before a call was sent would be read as the response to the next call.
"""

from __future__ import annotations

import asyncio
import re

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

STATUS = re.compile(rb"\s*HTTP/1\.[01] (\d{3})")
COMMON_STATUS = b"HTTP/1.1 200"  # of nearly every response; it has a body
HEAD_END = re.compile(rb"\n\r?\n")
STATUSES_WITHOUT_BODY = (204, 304)
STATUS_LINE_BYTES = 12  # bytes at the start of a response that contain its status
MAX_HEAD_BYTES = 16 * 1024  # bytes held back at most; longer heads are left to the parser


class HttpConnection(ResponseHandler):
    """One connection to a server."""

    response_started = False
    """Whether a byte of the response to the current call has come."""
    _is_expecting = False
    _beginning: bytes | None = None  # of a response, held back until it is known whether it can have a body
    _ignore_body = False
    _head_deadline: float | None = None  # of the head that is read now; in seconds of the event loop
    _head_timer: asyncio.TimerHandle | None = None

    @property
    def is_clean(self) -> bool:
        """Whether a call may be sent here: it is connected, and no unexpected byte has come."""
        return self.is_connected() and not self.should_close

    def send(self, request: bytes) -> None:
        """Send a call, and expect its response."""
        self._is_expecting, self.response_started, self._beginning, self._ignore_body = True, False, b"", False
        self.set_response_params(read_until_eof=True, auto_decompress=False)  # bodies are passed on unchanged
        if self.transport is not None:
            self.transport.write(request)

    def finish_response(self) -> bool:
        """Mark the response as complete. Returns whether the connection can be used again: no further byte has come."""
        self._is_expecting = False
        return self.is_clean and self._parser is not None and self._parser.feed_eof() is None

    async def read_head(self, timeout_s: float | None = None) -> tuple[RawResponseMessage, StreamReader]:
        """Read the head of the response; the body follows as a stream. Provisional responses (100, 102) are skipped.

        Args:
            timeout_s: seconds for the head to come; None for no deadline.

        Raises:
            TimeoutError: it did not come in time. It can be read later all the same.
            aiohttp.ClientOSError, aiohttp.ServerDisconnectedError: the connection ended first.
            aiohttp.http_exceptions.HttpProcessingError: the bytes are not HTTP.
        """
        if timeout_s is not None:
            self._set_deadline(timeout_s)
        try:
            while True:
                message, body = await self.read()
                if message.code < 100 or message.code > 199 or message.code == 101:
                    return message, body
                if self._is_overdue():  # the timer may have run while nothing waited
                    raise TimeoutError
        finally:
            self._head_deadline = None

    def _set_deadline(self, timeout_s: float) -> None:
        """Start the deadline of a head. The timer of an earlier one goes on and is set again when it runs: a timer for
        each call would cost 3 % of the bridge's time.
        """
        self._head_deadline = self._loop.time() + timeout_s
        if self._head_timer is not None and self._head_timer.when() > self._head_deadline:
            self._stop_timer()
        if self._head_timer is None:
            self._head_timer = self._loop.call_at(self._head_deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._head_timer = None
        if self._head_deadline is None:
            return
        if not self._is_overdue():
            self._head_timer = self._loop.call_at(self._head_deadline, self._on_timer)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _is_overdue(self) -> bool:
        return self._head_deadline is not None and self._loop.time() >= self._head_deadline

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what waits for the connection, and the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def abort(self) -> None:
        """End the connection without a TLS close message. The reader of the body gets an exception."""
        self._fail_body("the connection was ended")
        super().abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, but none after the head of a 204 or 304."""
        if not self._is_expecting:
            self.force_close()
            return
        self.response_started |= bool(data)
        if self._beginning == b"" and data.startswith(COMMON_STATUS):
            self._beginning = None
        passed = data if self._beginning is None else self._status_start(self._beginning + data)
        if passed is not None and not self._ignore_body:
            super().data_received(passed)  # an empty one too: it resumes a paused parser
        if self.exception() is not None:
            self._fail_body("the bytes are not HTTP")
            if self.transport is not None:
                self.transport.abort()

    def _fail_body(self, reason: str) -> None:
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError(reason))

    def _status_start(self, held: bytes) -> bytes | None:
        """The part of a response's beginning that may go to the parser now; None if it must wait."""
        while (status_line := STATUS.match(held)) and (
            int(status_line[1]) < 200 or int(status_line[1]) in STATUSES_WITHOUT_BODY
        ):
            end = HEAD_END.search(held)
            if end is None:
                return self._hold_back(held, wait=True)
            super().data_received(held[: end.end()])
            held = held[end.end() :]
            if int(status_line[1]) in STATUSES_WITHOUT_BODY:
                self.force_close()
                self._ignore_body = True
        return self._hold_back(held, wait=not status_line and len(held.lstrip()) < STATUS_LINE_BYTES)

    def _hold_back(self, held: bytes, *, wait: bool) -> bytes | None:
        waits = wait and len(held) <= MAX_HEAD_BYTES
        self._beginning = held if waits else None
        return None if waits else held
