"""The Gateway's road to IBKR: five slots, and a queue without end.

A call belongs to the Gateway from the moment it is asked for. Its client may hang up: it keeps its slot, or its place
in the queue, and is sent all the same when its turn comes. Where IBKR breaks off there is no error to tell anybody:
the client is never answered, though its slot is free again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.gateway.wire import MAX_HEADERS, Headers, first, write_head
from ibkr_bridge.sim.tasks import Tasks

SLOTS = 5
PIECE = 65536


@dataclass(frozen=True)
class Call:
    """One request on its way up; of `length` bytes of body that `body` will bring."""

    method: str
    target: str
    headers: Headers
    length: int = 0
    own: bool = False


@dataclass(frozen=True)
class AnswerHead:
    """The first thing that comes back."""

    status: int
    reason: str
    headers: Headers


@dataclass
class Exchange:
    """One call and its answer; `pieces` ends with None if IBKR ended it properly, and otherwise never."""

    call: Call
    body: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)
    head: asyncio.Future[AnswerHead] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def begun(self) -> AnswerHead:
        """Wait for the head; who stops waiting leaves the call undisturbed."""
        return await asyncio.shield(self.head)

    async def whole(self) -> tuple[int, bytes, Headers]:
        """Status, body and headers of the full answer, for the Gateway's own calls."""
        head = await self.begun()
        body = b""
        while (piece := await self.pieces.get()) is not None:
            body += piece
        return head.status, body, head.headers


class Upstream:
    """The five slots and whoever is in them."""

    def __init__(self, clock: SimClock, tasks: Tasks) -> None:
        self.port = 0
        self.max_inside = 0
        self._clock = clock
        self._tasks = tasks
        self._slots = asyncio.Semaphore(SLOTS)
        self._inside: list[Call] = []
        self._waiting = 0
        self._up = asyncio.Event()
        self._up.set()

    def inside(self) -> int:
        """How many calls of clients are in a slot now."""
        return sum(not call.own for call in self._inside)

    def taken(self) -> int:
        """How many slots are taken now, the Gateway's own calls included."""
        return len(self._inside)

    def waiting(self) -> int:
        """How many calls stand in the queue."""
        return self._waiting

    def go_down(self) -> None:
        """IBKR is out of reach: whatever enters a slot hangs there."""
        self._up.clear()

    def come_up(self) -> None:
        """IBKR is back: what hung leaves its slot, unanswered for ever."""
        self._up.set()

    def begin(self, call: Call, queued: float = 0.0) -> Exchange:
        """Put a call on its way; it will be sent whatever becomes of its client.

        Args:
            queued: seconds it stands in the queue in any case, as if the slots were taken for so long.
        """
        exchange = Exchange(call)
        self._tasks.start(self._run(exchange, queued), name=f"upstream {call.method} {call.target[:60]}")
        return exchange

    async def _run(self, exchange: Exchange, queued: float) -> None:
        self._waiting += 1
        try:
            if queued:
                await self._clock.sleep(queued)
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        self._inside.append(exchange.call)
        self.max_inside = max(self.max_inside, self.inside())
        try:
            await self._carry(exchange)
        finally:
            self._inside.remove(exchange.call)
            self._slots.release()

    async def _carry(self, exchange: Exchange) -> None:
        if not self._up.is_set():
            await self._up.wait()
            return
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:  # refused: the slot is free again, and the client waits for ever
            return
        sending = self._tasks.start(_send(exchange, writer))
        try:
            with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                await _receive(exchange, reader)
        finally:
            sending.cancel()
            writer.transport.abort()


async def _send(exchange: Exchange, writer: asyncio.StreamWriter) -> None:
    call = exchange.call
    with suppress(OSError):
        writer.write(write_head(f"{call.method} {call.target} HTTP/1.1", call.headers))
        left = call.length
        while left:
            piece = await exchange.body.read(min(left, PIECE))
            writer.write(piece)
            await writer.drain()
            left -= len(piece)
        await writer.drain()


async def _receive(exchange: Exchange, reader: asyncio.StreamReader) -> None:
    while (head := _parse(await reader.readuntil(b"\r\n\r\n"))).status == 100:
        pass  # nobody waits for it: the client's body is sent in any case
    exchange.head.set_result(head)
    async for piece in _body(exchange.call.method, head, reader):
        exchange.pieces.put_nowait(piece)
    exchange.pieces.put_nowait(None)


def _parse(block: bytes) -> AnswerHead:
    if len(block) > MAX_HEADERS:
        raise ValueError("more headers than the Gateway can bear")
    start, *lines = block.decode("latin-1").split("\r\n")
    _, status, reason = (*start.split(" ", 2), "")[:3]
    pairs = (line.partition(":") for line in lines if line)
    return AnswerHead(int(status), reason, tuple((name, value.strip()) for name, _, value in pairs))


async def _body(method: str, head: AnswerHead, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The body as it arrives: of a known length, in chunks, or until the end of the connection."""
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return
    length = first(head.headers, "Content-Length")
    if length is not None:
        async for piece in _exactly(int(length), reader):
            yield piece
    elif "chunked" in (first(head.headers, "Transfer-Encoding") or "").lower():
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            async for piece in _exactly(size, reader):
                yield piece
            await reader.readexactly(2)
    else:
        while piece := await reader.read(PIECE):
            yield piece


async def _exactly(size: int, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, PIECE))
        if not piece:
            raise EOFError("IBKR broke off")
        size -= len(piece)
        yield piece
