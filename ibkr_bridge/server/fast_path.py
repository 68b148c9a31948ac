"""The same bytes mean the same thing: what was asked before, byte for byte, is answered from memory on the spot.

Apps ask the same few questions over and over on kept connections. The head of such a request went the whole way once,
through the parser, the checks at the door and the rules; what they found depends on nothing but its bytes, the settings
and the keys. When the very same bytes come again, alone, and the answer is still remembered, only what can have changed
is looked at: the keys, the drain, the session, the memory. Everything else takes the long way.
"""

from __future__ import annotations

import random
import re
import time
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from aiohttp.helpers import rfc822_formatted_time

from ibkr_bridge import events
from ibkr_bridge.cache.response_cache import Kept
from ibkr_bridge.calls.header_policy import downwards
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.profiles.profile import Line
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing

MOST = 256  # heads
LONGEST = 2048  # bytes of one
NOT_SO_PLAIN = re.compile(
    rb"\n(?:content-length|transfer-encoding|upgrade|expect|x-request-id|connection: close)", re.IGNORECASE
)


def is_plain(data: bytes) -> bool:
    """Whether these bytes are one whole head of a GET without anything behind it, as most clients send it."""
    if len(data) > LONGEST or not data.startswith(b"GET /") or data.find(b"\r\n\r\n") != len(data) - 4:
        return False
    return data.partition(b"\r\n")[0].endswith(b" HTTP/1.1") and NOT_SO_PLAIN.search(data) is None


@dataclass
class Known:
    """What a head meant: whose it is, what it asks for, and how fresh that must be."""

    label: str
    row: Endpoint
    key: Hashable
    """Of the answer in memory."""
    max_age: float | None
    edition: int
    """Of the keys."""
    kept: weakref.ref[Kept] | None = field(default=None, repr=False)
    """The answer that was told last; memory alone says how long it is kept."""
    block: bytes = field(default=b"", repr=False)
    """Its headers that stay as they are."""


class Again:
    """Answers heads that are known.

    Args:
        line: whose memory it is.
        common: the headers of every reply.
    """

    def __init__(
        self, line: Line, keys: KeyRing, drain: Drain, announce: Callable[[events.Fact], None], common: dict[str, str]
    ) -> None:
        self._line = line
        self._keys = keys
        self._drain = drain
        self._announce = announce
        self._common = _lines(common)
        self._known: dict[bytes, Known] = {}

    def __repr__(self) -> str:
        return f"<Again {len(self._known)} heads>"

    def learn(self, head: bytes, label: str, row: Endpoint, key: Hashable, max_age: float | None) -> None:
        """A head went the whole way, and its answer is one that memory can give."""
        if len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        self._known[head] = Known(label, row, key, max_age, self._keys.edition)

    def answer(self, head: bytes) -> bytes | None:
        """The whole reply to a head; None where it has to go the long way."""
        known = self._known.get(head)
        if known is None or self._drain.ending or self._drain.is_on or known.edition != self._keys.edition:
            return None
        began = time.monotonic()
        told = self._line.told_again(known.row, known.key, known.max_age)
        if told is None:
            return None
        kept, age = told
        if known.kept is None or known.kept() is not kept:
            known.kept, known.block = weakref.ref(kept), self._block(kept)
        name = f"{random.getrandbits(128):032x}"  # it names a request and guards nothing
        changing = f"Date: {rfc822_formatted_time()}\r\nX-Request-ID: {name}\r\nAge: {int(age)}\r\n\r\n"
        ms = round((time.monotonic() - began) * 1000, 1)
        self._announce(events.RequestServed(name, known.label, "GET", known.row.path, 200, ms, "cache"))
        return b"".join((known.block, changing.encode(), kept.answer.body))

    def _block(self, kept: Kept) -> bytes:
        own = {**downwards(kept.answer.headers), "Content-Length": str(len(kept.answer.body)), **kept.answer.notes}
        return b"HTTP/1.1 200 OK\r\n" + _lines(own) + self._common + FROM_MEMORY


FROM_MEMORY = b"X-Bridge-Source: cache\r\nServer-Timing: wait;dur=0.0, gateway;dur=0.0\r\n"


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
