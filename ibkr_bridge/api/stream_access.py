"""Access to streams: whether one may begin, whether its caller may go on reading, and how it ends."""

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
from ibkr_bridge.streaming.subscriber import Encoding, Sink, Subscriber

ENDING_TIMEOUT_S = 0.5  # for the last message of a stream while the bridge itself stops
TOKEN_EXPIRED, KEY_ROTATED = "token_expired", "key_rotated"


def revocation_check(request: web.Request) -> Callable[[], str | None]:
    """Return a function that says why the caller may no longer read; None while it may."""
    ring, clock, principal = request.app[KEYRING], request.app[CLOCK], request[REQUEST_CONTEXT].principal

    def reason_to_end() -> str | None:
        if principal is not None and ring.is_still_valid(principal):
            return None
        has_expired = principal is not None and principal.expires is not None and clock.utc() >= principal.expires
        return TOKEN_EXPIRED if has_expired else KEY_ROTATED

    return reason_to_end


def new_subscriber(
    request: web.Request, sink: Sink, encoding: Encoding, *, wants_source_events: bool = True
) -> Subscriber:
    """The subscriber of a request: it may read as long as the key or token of the request is valid."""
    request_context = request[REQUEST_CONTEXT]
    return Subscriber(
        *(sink, encoding, revocation_check(request)),
        wants_source_events=wants_source_events,
        has_reduced_share=request_context.has_reduced_share,
        key_label=request_context.key_label,
    )


def check_not_ending(request: web.Request) -> None:
    """Refuse a new stream while the bridge stops, since the drain would have to wait for it.

    Raises:
        ShuttingDown: the bridge stops; the next process will serve the stream.
    """
    if request.app[DRAIN].is_ending:
        raise ShuttingDown("the bridge is stopping", retry_after=1.0)


def publish_opened(request: web.Request) -> None:
    """Publish that a stream begins."""
    request.app[BUS].publish(events.StreamOpened(*_log_fields(request), profile=profile_of(request).name))


def publish_closed(request: web.Request, reason: str) -> None:
    """Publish that the bridge ends a stream, and note the reason as the code of its request.

    The profile may have been removed.
    """
    context = request[REQUEST_CONTEXT]
    context.code = reason
    request.app[BUS].publish(events.StreamClosed(*_log_fields(request), reason, profile=context.profile))


def _log_fields(request: web.Request) -> tuple[str, str, str]:
    """Request id, key label and route: the fields that name a stream in the log."""
    request_context = request[REQUEST_CONTEXT]
    return request_context.request_id, request_context.key_label, request_context.route


@asynccontextmanager
async def closing(request: web.Request, reason: str, timeout_s: float) -> AsyncIterator[None]:
    """Publish the end of a stream; the body sends its last message.

    If the client does not read that message in time, its connection is aborted.
    """
    publish_closed(request, reason)
    try:
        async with asyncio.timeout(ENDING_TIMEOUT_S if request.app[DRAIN].is_ending else timeout_s):
            yield
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()


def hub_of(request: web.Request) -> Hub:
    """The hub of the profile that the request concerns."""
    return profile_of(request).streaming.hub


def connection_of(request: web.Request) -> ClientConnection:
    """The connection of a request.

    Raises:
        RuntimeError: it is not a connection of the bridge's own server.
    """
    if not isinstance(request.protocol, ClientConnection):
        raise RuntimeError("a request came on another kind of connection")
    return request.protocol
