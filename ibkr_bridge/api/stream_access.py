"""Those who read streams, as the door knows them: whether they may go on, and what is said when they may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.errors import ShuttingDown
from ibkr_bridge.server.app_keys import BUS, CLOCK, DRAIN, KEYRING, REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.connection import ClientConnection
from ibkr_bridge.streaming.hub import Hub

ENDING_TIMEOUT_S = 0.5  # seconds for a last word where the bridge itself is ending
TOKEN_EXPIRED, KEY_ROTATED = "token_expired", "key_rotated"


def revocation_check(request: web.Request) -> Callable[[], str | None]:
    """Says why a caller may not go on reading; None while they may."""
    ring, clock, principal = request.app[KEYRING], request.app[CLOCK], request[REQUEST_CONTEXT].principal

    def reason_to_end() -> str | None:
        if principal is not None and ring.is_still_valid(principal):
            return None
        is_over = principal is not None and principal.expires is not None and clock.utc() >= principal.expires
        return TOKEN_EXPIRED if is_over else KEY_ROTATED

    return reason_to_end


def check_not_ending(request: web.Request) -> None:
    """A stream that begins while the bridge ends would be waited for.

    Raises:
        Stopping: it does; our successor has the stream.
    """
    if request.app[DRAIN].is_ending:
        raise ShuttingDown("the bridge is stopping", retry_after=1.0)


def publish_opened(request: web.Request) -> None:
    """A stream begins."""
    request.app[BUS].publish(events.StreamOpened(*_log_fields(request), profile=profile_of(request).name))


def publish_closed(request: web.Request, reason: str) -> None:
    """The bridge ends a stream: its caller learns it on the stream, the log here."""
    request[REQUEST_CONTEXT].code = reason
    request.app[BUS].publish(events.StreamClosed(*_log_fields(request), reason, profile=profile_of(request).name))


def _log_fields(request: web.Request) -> tuple[str, str, str]:
    """Id, key and route, as the log names a stream."""
    request_context = request[REQUEST_CONTEXT]
    return (
        request_context.request_id,
        request_context.principal.label if request_context.principal else "",
        request_context.route,
    )


@asynccontextmanager
async def closing(request: web.Request, reason: str, timeout_s: float) -> AsyncIterator[None]:
    """Say goodbye and why, inside of it; who does not take it in so many seconds is left."""
    publish_closed(request, reason)
    try:
        async with asyncio.timeout(ENDING_TIMEOUT_S if request.app[DRAIN].is_ending else timeout_s):
            yield
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()


def hub_of(request: web.Request) -> Hub:
    """Where streams are read."""
    return profile_of(request).streaming.hub


def connection_of(request: web.Request) -> ClientConnection:
    """The connection a request came on."""
    if not isinstance(request.protocol, ClientConnection):
        raise RuntimeError("a request came on another kind of connection")
    return request.protocol
