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
from ibkr_bridge.cache.response_cache import CacheEntry
from ibkr_bridge.calls.header_policy import response_headers
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing

MAX_LEARNED = 256  # heads
MAX_HEAD_BYTES = 2048  # bytes of one
DISQUALIFYING_HEADERS = re.compile(
    rb"\n(?:content-length|transfer-encoding|upgrade|expect|x-request-id|connection: close)", re.IGNORECASE
)


def is_plain(data: bytes) -> bool:
    """Whether these bytes are one whole head of a GET without anything behind it, as most clients send it."""
    if len(data) > MAX_HEAD_BYTES or not data.startswith(b"GET /") or data.find(b"\r\n\r\n") != len(data) - 4:
        return False
    return data.partition(b"\r\n")[0].endswith(b" HTTP/1.1") and DISQUALIFYING_HEADERS.search(data) is None


@dataclass
class LearnedRequest:
    """What a head meant: whose it is, what it asks for, and how fresh that must be."""

    label: str
    endpoint: Endpoint
    key: Hashable
    """Of the answer in memory."""
    max_age: float | None
    keyring_version: int
    """Of the keys."""
    entry: weakref.ref[CacheEntry] | None = field(default=None, repr=False)
    """The answer that was told last; memory alone says how long it is kept."""
    header_block: bytes = field(default=b"", repr=False)
    """Its headers that stay as they are."""


class RequestFastPath:
    """Answers heads that are known.

    Args:
        line: whose memory it is.
        common: the headers of every reply.
    """

    def __init__(
        self,
        profile: Profile,
        keys: KeyRing,
        drain: Drain,
        announce: Callable[[events.Event], None],
        common: dict[str, str],
    ) -> None:
        self._profile = profile
        self._keys = keys
        self._drain = drain
        self._announce = announce
        self._common = _header_lines(common)
        self._known: dict[bytes, LearnedRequest] = {}

    def __repr__(self) -> str:
        return f"<RequestFastPath {len(self._known)} heads>"

    def learn(self, head: bytes, label: str, endpoint: Endpoint, key: Hashable, max_age: float | None) -> None:
        """A head went the whole way, and its answer is one that memory can give."""
        if len(self._known) >= MAX_LEARNED:
            self._known.pop(next(iter(self._known)))
        self._known[head] = LearnedRequest(label, endpoint, key, max_age, self._keys.version)

    def respond(self, head: bytes) -> bytes | None:
        """The whole reply to a head; None where it has to go the long way."""
        known = self._known.get(head)
        if (
            known is None
            or self._drain.is_ending
            or self._drain.is_draining
            or known.keyring_version != self._keys.version
        ):
            return None
        began = time.monotonic()
        if not self._profile.keeper.is_up(known.endpoint.layer):
            return None
        told = self._profile.cached_reads.peek(known.key, known.max_age)
        if told is None:
            return None
        entry, age = told
        if known.entry is None or known.entry() is not entry:
            known.entry, known.header_block = weakref.ref(entry), self._render_headers(entry)
        name = f"{random.getrandbits(128):032x}"  # it names a request and guards nothing
        changing = f"Date: {rfc822_formatted_time()}\r\nX-Request-ID: {name}\r\nAge: {int(age)}\r\n\r\n"
        ms = round((time.monotonic() - began) * 1000, 1)
        self._announce(events.RequestServed(name, known.label, "GET", known.endpoint.path, 200, ms, "cache"))
        return b"".join((known.header_block, changing.encode(), entry.response.body))

    def _render_headers(self, entry: CacheEntry) -> bytes:
        own = {
            **response_headers(entry.response.headers),
            "Content-Length": str(len(entry.response.body)),
            **entry.response.bridge_headers,
        }
        return b"HTTP/1.1 200 OK\r\n" + _header_lines(own) + self._common + CACHE_HEADERS


CACHE_HEADERS = b"X-Bridge-Source: cache\r\nServer-Timing: wait;dur=0.0, gateway;dur=0.0\r\n"


def _header_lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
