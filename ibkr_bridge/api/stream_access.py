"""Those who read streams, as the door knows them: whether they may go on, and what is said when they may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.errors import Stopping
from ibkr_bridge.server.app_keys import BUS, CLOCK, DRAIN, KEYS, LINES, MAIN, VISIT
from ibkr_bridge.server.connection import Door
from ibkr_bridge.streaming.hub import Hub

HASTE = 0.5  # seconds for a last word where the bridge itself is ending
EXPIRED, ROTATED = "token_expired", "key_rotated"


def trouble(request: web.Request) -> Callable[[], str | None]:
    """Says why a caller may not go on reading; None while they may."""
    ring, clock, key = request.app[KEYS], request.app[CLOCK], request[VISIT].key

    def ask() -> str | None:
        if key is not None and ring.still_opens(key):
            return None
        is_over = key is not None and key.expires is not None and clock.utc() >= key.expires
        return EXPIRED if is_over else ROTATED

    return ask


def refuse_while_ending(request: web.Request) -> None:
    """A stream that begins while the bridge ends would be waited for.

    Raises:
        Stopping: it does; our successor has the stream.
    """
    if request.app[DRAIN].ending:
        raise Stopping("the bridge is stopping", retry_after=1.0)


def note_begin(request: web.Request) -> None:
    """A stream begins."""
    request.app[BUS].announce(events.ReaderCame(*_whose(request)))


def note_end(request: web.Request, reason: str) -> None:
    """The bridge ends a stream: its caller learns it on the stream, the log here."""
    request[VISIT].code = reason
    request.app[BUS].announce(events.ReaderEnded(*_whose(request), reason))


def _whose(request: web.Request) -> tuple[str, str, str]:
    """Id, key and route, as the log names a stream."""
    visit = request[VISIT]
    return visit.request_id, visit.key.label if visit.key else "", visit.route


@asynccontextmanager
async def last_word(request: web.Request, reason: str, within: float) -> AsyncIterator[None]:
    """Say goodbye and why, inside of it; who does not take it in so many seconds is left."""
    note_end(request, reason)
    try:
        async with asyncio.timeout(HASTE if request.app[DRAIN].ending else within):
            yield
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()


def hub_of(request: web.Request) -> Hub:
    """Where streams are read."""
    return request.app[LINES][MAIN].streaming.hub


def door_of(request: web.Request) -> Door:
    """The connection a request came on."""
    if not isinstance(request.protocol, Door):
        raise RuntimeError("a request came through another door")
    return request.protocol
