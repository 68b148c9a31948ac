"""Those who read streams, as the door knows them: whether they may go on, and what is said when they may not."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.errors import Stopping
from ibkr_bridge.web import BUS, CLOCK, DRAIN, KEYS, VISIT
from ibkr_bridge.web.door import Door

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
    visit = request[VISIT]
    label = visit.key.label if visit.key else ""
    request.app[BUS].announce(events.ReaderCame(visit.request_id, label, visit.route))


def note_end(request: web.Request, reason: str) -> None:
    """The bridge ends a stream: its caller learns it on the stream, the log here."""
    visit = request[VISIT]
    visit.code = reason
    label = visit.key.label if visit.key else ""
    request.app[BUS].announce(events.ReaderEnded(visit.request_id, label, visit.route, reason))


def door_of(request: web.Request) -> Door:
    """The connection a request came on."""
    if not isinstance(request.protocol, Door):
        raise RuntimeError("a request came through another door")
    return request.protocol
