"""The readers of the stream bench: many websockets in one process, which count messages instead of parsing them.

    python -m bench.stream_readers URL READERS SECONDS COMMANDS

`COMMANDS` is a JSON list of the commands with which each reader subscribes. The program prints one JSON object, see
`ReaderCounts`. Counting needs little CPU, which leaves the machine to the programs that are measured; the tests parse
complete frames.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from urllib.parse import SplitResult, urlsplit

QUOTE = b'"topic":"smd+'
UPDATED_AT = re.compile(rb'"_updated":(\d{13})')
ORDER = re.compile(rb'"orderId":(\d+)')
TRADE = re.compile(rb'"execution_id":"([^"]+)"')
MAX_MESSAGE_BYTES = 2048  # no message that is counted is longer
WARM_UP_S = 5.0  # not counted: two hundred readers that connect together first receive the current state
ORDER_GRACE_S = 1.0  # after counting, for the orders that are on their way


@dataclass
class ReaderCounts:
    """What all readers together received while they counted."""

    quotes: int = 0
    seconds: float = 0.0
    """The measured length of the counting."""
    delays_ms: dict[int, int] = field(default_factory=dict)
    """The number of quotes by delay; all quotes of one chunk count with the delay of the oldest."""
    by_second: dict[int, int] = field(default_factory=dict)
    """The number of quotes in each complete second, by Unix time."""
    orders: list[list[int]] = field(default_factory=list)
    """For each reader: the numbers of all orders it received, before and after the counting too."""
    trades: list[int] = field(default_factory=list)
    """For each reader: the number of executions it received, before and after the counting too."""


class Reader(asyncio.Protocol):
    """One websocket."""

    def __init__(self, handshake: bytes, commands: list[str]) -> None:
        self.is_counting = False
        self.quotes = 0
        self.delays_ms: Counter[int] = Counter()
        self.by_second: Counter[int] = Counter()
        self.orders: set[int] = set()
        self.trades: set[bytes] = set()
        self._handshake = handshake
        self._commands = commands
        self._tail = b""
        """The end of the previous chunk: a message may lie in two chunks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type alone
        self._transport = transport
        transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        """Count; subscribe when IBKR reports success, as the Gateway requires of every client."""
        if self._commands and b'"success"' in data:
            self._transport.write(b"".join(_frame(command.encode()) for command in self._commands))
            self._commands = []
        if self.is_counting:
            self._count_quotes(data)
        if b'"s' in data:
            with_tail = self._tail + data
            if b'"sor"' in with_tail:
                self.orders.update(map(int, ORDER.findall(with_tail)))
            if b'"str"' in with_tail:
                self.trades.update(TRADE.findall(with_tail))
        self._tail = (self._tail + data)[-MAX_MESSAGE_BYTES:]

    def _count_quotes(self, data: bytes) -> None:
        count = (self._tail[-len(QUOTE) + 1 :] + data).count(QUOTE)
        now = time.time()
        self.quotes += count
        self.by_second[int(now)] += count
        if (updated_at := UPDATED_AT.search(data)) is not None:
            self.delays_ms[int(now * 1000) - int(updated_at[1])] += count


def _frame(text: bytes) -> bytes:
    """Return a client's text frame; its mask of zeros leaves the text as it is."""
    size = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0x80 | 126,)) + len(text).to_bytes(2)
    return b"\x81" + size + b"\0\0\0\0" + text


async def read_stream(url: str, count: int, seconds: float, commands: list[str]) -> ReaderCounts:
    """Connect so many readers, warm up, and count for so many seconds."""
    address, loop = urlsplit(url), asyncio.get_running_loop()
    handshake, tls = _build_handshake(address), _tls_context(address.scheme)
    readers = [Reader(handshake, commands) for _ in range(count)]
    for reader in readers:
        await loop.create_connection(partial(_identity, reader), "127.0.0.1", address.port or 0, ssl=tls)
    await asyncio.sleep(WARM_UP_S)
    began = time.monotonic()
    for reader in readers:
        reader.is_counting = True
    await asyncio.sleep(seconds)
    for reader in readers:
        reader.is_counting = False
    counted_s = time.monotonic() - began
    await asyncio.sleep(ORDER_GRACE_S)
    return _sum_counts(readers, counted_s)


def _identity(reader: Reader) -> Reader:
    return reader


def _build_handshake(address: SplitResult) -> bytes:
    lines = (
        *(f"GET {address.path} HTTP/1.1", f"Host: 127.0.0.1:{address.port}"),
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        f"X-Bridge-Key: {os.environ['BENCH_KEY']}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _sum_counts(readers: list[Reader], counted_s: float) -> ReaderCounts:
    by_second = dict(sum((reader.by_second for reader in readers), Counter[int]()))
    for edge in (min(by_second, default=0), max(by_second, default=0)):
        by_second.pop(edge, None)
    return ReaderCounts(
        quotes=sum(reader.quotes for reader in readers),
        seconds=counted_s,
        delays_ms=dict(sum((reader.delays_ms for reader in readers), Counter[int]())),
        by_second=by_second,
        orders=[sorted(reader.orders) for reader in readers],
        trades=[len(reader.trades) for reader in readers],
    )


def _tls_context(scheme: str) -> ssl.SSLContext | None:
    if scheme == "ws":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


if __name__ == "__main__":
    url, count, seconds, commands = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(read_stream(url, int(count), float(seconds), json.loads(commands))))))
