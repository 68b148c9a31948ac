"""Those who read in the stream bench: many websockets in one process, which count rather than parse.

    python -m bench.stream_readers URL READERS SECONDS COMMANDS

`COMMANDS` is a JSON list of what each of them subscribes to. Prints one JSON object, see `Heard`. Counting leaves the
machine to those that are measured; whole frames are parsed by the tests.
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
from urllib.parse import urlsplit

QUOTE = b'"topic":"smd+'
STAMP = re.compile(rb'"_updated":(\d{13})')
ORDER = re.compile(rb'"orderId":(\d+)')
TRADE = re.compile(rb'"execution_id":"([^"]+)"')
LONGEST_PART = 2048  # bytes of one message, more than any has that is looked for
WARM_UP = 5.0  # seconds that do not count: two hundred who come at once have to catch up first


@dataclass
class Heard:
    """What all of them heard while it counted."""

    quotes: int = 0
    seconds: float = 0.0
    """For which it really counted."""
    delays_ms: dict[int, int] = field(default_factory=dict)
    """How many quotes came so late: all of a piece that was read as late as the oldest in it."""
    by_second: dict[int, int] = field(default_factory=dict)
    """How many quotes came in each second, whole ones alone, by the wall's time."""
    orders: list[list[int]] = field(default_factory=list)
    """By reader: the numbers of the orders it heard of, ever."""
    trades: list[int] = field(default_factory=list)
    """By reader: how many executions it heard of, ever."""


class Reader(asyncio.Protocol):
    """One websocket."""

    def __init__(self, head: bytes, commands: list[str]) -> None:
        self.is_counting = False
        self.quotes = 0
        self.delays: Counter[int] = Counter()
        self.by_second: Counter[int] = Counter()
        self.orders: set[int] = set()
        self.trades: set[bytes] = set()
        self._head = head
        self._commands = commands
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type alone
        self._transport = transport
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Count; subscribe as soon as IBKR is there, as every client has to at the Gateway."""
        if self._commands and b'"success"' in data:
            self._transport.write(b"".join(_masked(command.encode()) for command in self._commands))
            self._commands = []
        if self.is_counting:
            count = (self._tail[-len(QUOTE) + 1 :] + data).count(QUOTE)
            now = time.time()
            self.quotes += count
            self.by_second[int(now)] += count
            if (stamp := STAMP.search(data)) is not None:
                self.delays[int(now * 1000) - int(stamp[1])] += count
        if b'"s' in data:
            whole = self._tail + data
            if b'"sor"' in whole:
                self.orders.update(map(int, ORDER.findall(whole)))
            if b'"str"' in whole:
                self.trades.update(TRADE.findall(whole))
        self._tail = (self._tail + data)[-LONGEST_PART:]


def _masked(text: bytes) -> bytes:
    """A client's frame; a mask of noughts leaves the text as it is."""
    size = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0x80 | 126,)) + len(text).to_bytes(2)
    return b"\x81" + size + b"\0\0\0\0" + text


async def heard(url: str, count: int, seconds: float, commands: list[str]) -> Heard:
    """Read for so long."""
    where, loop = urlsplit(url), asyncio.get_running_loop()
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {where.path} HTTP/1.1", f"Host: 127.0.0.1:{where.port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"X-Bridge-Key: {os.environ['BENCH_KEY']}"]
    head, readers = "\r\n".join((*lines, "", "")).encode(), []
    for _ in range(count):
        reader = Reader(head, commands)
        await loop.create_connection(partial(_same, reader), "127.0.0.1", where.port or 0, ssl=_tls(where.scheme))
        readers.append(reader)
    await asyncio.sleep(WARM_UP)
    began = time.monotonic()
    for reader in readers:
        reader.is_counting = True
    await asyncio.sleep(seconds)
    for reader in readers:
        reader.is_counting = False
    counted = time.monotonic() - began
    await asyncio.sleep(1.0)  # for the orders that were under way
    delays = dict(sum((reader.delays for reader in readers), Counter[int]()))
    told = [sorted(reader.orders) for reader in readers]
    by_second = dict(sum((reader.by_second for reader in readers), Counter[int]()))
    for edge in (min(by_second, default=0), max(by_second, default=0)):
        by_second.pop(edge, None)
    trades = [len(reader.trades) for reader in readers]
    return Heard(sum(reader.quotes for reader in readers), counted, delays, by_second, told, trades)


def _same(reader: Reader) -> Reader:
    return reader


def _tls(scheme: str) -> ssl.SSLContext | None:
    if scheme == "ws":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(heard(words[0], int(words[1]), float(words[2]), json.loads(words[3]))))))
