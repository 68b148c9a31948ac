"""The one connection a call travels on, and two corrections to aiohttp's client that the Gateway makes necessary.

- The Gateway frames every answer as chunked, 204 and 304 too, so a stray `0\\r\\n\\r\\n` follows their heads. aiohttp
  reads it as the next answer: at once it loses the 204, later it poisons the next call on that connection.
- A connection whose call passed its deadline must never be used again, even when its late answer comes whole.

Both want the protocol behind one call, which aiohttp hands to nobody; this file reaches for it in one place.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

CONNECT_WITHIN = 5.0  # seconds; loopback takes milliseconds, and the keeper must notice within its probe
BODY_FACTOR = 4  # a whole body may take so many times the deadline of one piece
EMPTY = (b"HTTP/1.1 204", b"HTTP/1.1 304", b"HTTP/1.0 204", b"HTTP/1.0 304")


class Wire:
    """How far one call has come, and until when its present stage may last (seconds of the event loop).

    Args:
        patience: seconds for the head of the answer, and for each piece of its body.
    """

    def __init__(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol: ResponseHandler | None = None
        self._given_up = False
        self._patience = patience
        self._body_until = 0.0
        self.deadline = self._loop.time() + min(CONNECT_WITHIN, patience)

    @property
    def connected(self) -> bool:
        """Whether bytes of the call may have left."""
        return self._protocol is not None

    def attach(self, protocol: ResponseHandler) -> None:
        """The call is about to be written to this connection."""
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


CURRENT: ContextVar[Wire] = ContextVar("the wire of the call this task makes")


class GatewayProtocol(ResponseHandler):
    """aiohttp's protocol without the stray end of chunks behind an answer that has no body."""

    _beginning: bytes | None = None  # of an answer, held back until it is plain whether it can have a body
    _deaf = False

    def set_response_params(self, **params: Any) -> None:
        """A new call begins on this connection."""
        self._beginning, self._deaf = b"", False
        CURRENT.get().attach(self)
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the parser, but nothing behind the head of a 204 or 304."""
        if self._beginning is not None:
            data = self._first(self._beginning + data)
        if data and not self._deaf:
            super().data_received(data)

    def _first(self, head: bytes) -> bytes:
        """What of an answer's beginning may go to the parser now."""
        if not any(head.startswith(empty[: len(head)]) for empty in EMPTY):
            self._beginning = None
            return head
        end = head.find(b"\r\n\r\n")
        if end < 0 or len(head) < len(EMPTY[0]):
            self._beginning = head
            return b""
        self._beginning = None
        self.force_close()
        super().data_received(head[: end + 4])
        self._deaf = True
        return b""


class GatewayConnector(aiohttp.TCPConnector):
    """aiohttp's pool with our protocol in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("functools.partial[ResponseHandler]", functools.partial(GatewayProtocol, loop=self._loop))
