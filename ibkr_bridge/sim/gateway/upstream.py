"""The Gateway's way to IBKR: five slots and a queue without a limit.

The Gateway carries a call out even if its client disconnects: the call keeps its slot, or its place in the queue, and
is sent when its turn comes. If IBKR breaks a connection off, the Gateway reports no error: the slot becomes free, and
the client is never answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.gateway.wire import MAX_HEADER_BYTES, Headers, encode_head, first_header
from ibkr_bridge.sim.tasks import Tasks

SLOT_COUNT = 5
CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Call:
    """One request to IBKR. Its body of `content_length` bytes arrives later, in `Exchange.body`."""

    method: str
    target: str
    headers: Headers
    content_length: int = 0
    is_own_call: bool = False


@dataclass(frozen=True)
class ResponseHead:
    """Status and headers of IBKR's response."""

    status: int
    reason: str
    headers: Headers


@dataclass
class Exchange:
    """One call and its response. `pieces` ends with None if IBKR sent the complete body, and otherwise never ends."""

    call: Call
    body: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)
    head: asyncio.Future[ResponseHead] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def wait_for_head(self) -> ResponseHead:
        """Wait for the head; cancelling the wait does not cancel the call."""
        return await asyncio.shield(self.head)

    async def read_response(self) -> tuple[int, bytes, Headers]:
        """Return status, body and headers of the complete response, for the Gateway's own calls."""
        head = await self.wait_for_head()
        body = b""
        while (piece := await self.pieces.get()) is not None:
            body += piece
        return head.status, body, head.headers


class Upstream:
    """The five slots, the calls in them, and the queue."""

    def __init__(self, clock: SimClock, tasks: Tasks) -> None:
        self.port = 0
        self.max_calls_in_slots = 0
        self._clock = clock
        self._tasks = tasks
        self._slots = asyncio.Semaphore(SLOT_COUNT)
        self._in_slots: list[Call] = []
        self._queued_count = 0
        self._is_reachable = asyncio.Event()
        self._is_reachable.set()

    @property
    def is_reachable(self) -> bool:
        """Whether IBKR can be reached."""
        return self._is_reachable.is_set()

    def calls_in_slots(self) -> int:
        """The number of clients' calls in a slot now."""
        return sum(not call.is_own_call for call in self._in_slots)

    def slots_taken(self) -> int:
        """The number of slots taken now, including those of the Gateway's own calls."""
        return len(self._in_slots)

    def calls_queued(self) -> int:
        """The number of calls in the queue."""
        return self._queued_count

    def set_unreachable(self) -> None:
        """Make IBKR unreachable: a call that enters a slot stays there."""
        self._is_reachable.clear()

    def set_reachable(self) -> None:
        """Make IBKR reachable again: the calls that waited leave their slots and are never answered."""
        self._is_reachable.set()

    def start_exchange(self, call: Call, queued_s: float = 0.0) -> Exchange:
        """Queue a call; it will be sent even if its client disconnects.

        Args:
            queued_s: how long it stays in the queue at least, as if the slots were taken for so long.
        """
        exchange = Exchange(call)
        self._tasks.start(self._run(exchange, queued_s), name=f"upstream {call.method} {call.target[:60]}")
        return exchange

    async def _run(self, exchange: Exchange, queued_s: float) -> None:
        self._queued_count += 1
        try:
            if queued_s:
                await self._clock.sleep(queued_s)
            await self._slots.acquire()
        finally:
            self._queued_count -= 1
        self._in_slots.append(exchange.call)
        self.max_calls_in_slots = max(self.max_calls_in_slots, self.calls_in_slots())
        try:
            await self._exchange_with_ibkr(exchange)
        finally:
            self._in_slots.remove(exchange.call)
            self._slots.release()

    async def _exchange_with_ibkr(self, exchange: Exchange) -> None:
        if not self._is_reachable.is_set():
            await self._is_reachable.wait()
            return
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:  # refused: the slot becomes free, and the client waits for ever
            return
        sending = self._tasks.start(_send_request(exchange, writer))
        try:
            with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                await _receive_response(exchange, reader)
        finally:
            sending.cancel()
            writer.transport.abort()


async def _send_request(exchange: Exchange, writer: asyncio.StreamWriter) -> None:
    call = exchange.call
    with suppress(OSError):
        writer.write(encode_head(f"{call.method} {call.target} HTTP/1.1", call.headers))
        remaining = call.content_length
        while remaining:
            piece = await exchange.body.read(min(remaining, CHUNK_BYTES))
            writer.write(piece)
            await writer.drain()
            remaining -= len(piece)
        await writer.drain()


async def _receive_response(exchange: Exchange, reader: asyncio.StreamReader) -> None:
    while (head := _parse_head(await reader.readuntil(b"\r\n\r\n"))).status == 100:
        pass  # not needed: the client's body is sent in any case
    exchange.head.set_result(head)
    async for piece in _read_body(exchange.call.method, head, reader):
        exchange.pieces.put_nowait(piece)
    exchange.pieces.put_nowait(None)


def _parse_head(block: bytes) -> ResponseHead:
    if len(block) > MAX_HEADER_BYTES:
        raise ValueError("more headers than the Gateway accepts")
    start, *lines = block.decode("latin-1").split("\r\n")
    _, status, reason = (*start.split(" ", 2), "")[:3]
    pairs = (line.partition(":") for line in lines if line)
    return ResponseHead(int(status), reason, tuple((name, value.strip()) for name, _, value in pairs))


async def _read_body(method: str, head: ResponseHead, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the body as it arrives: of a known length, in chunks, or until the end of the connection."""
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return
    length = first_header(head.headers, "Content-Length")
    if length is not None:
        async for piece in _read_exactly(int(length), reader):
            yield piece
    elif "chunked" in (first_header(head.headers, "Transfer-Encoding") or "").lower():
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            async for piece in _read_exactly(size, reader):
                yield piece
            await reader.readexactly(2)
    else:
        while piece := await reader.read(CHUNK_BYTES):
            yield piece


async def _read_exactly(size: int, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, CHUNK_BYTES))
        if not piece:
            raise EOFError("IBKR ended the connection")
        size -= len(piece)
        yield piece
