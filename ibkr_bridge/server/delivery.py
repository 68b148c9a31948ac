"""Whether a response reached its caller.

The response of an order is written at once, and its connection is watched until it is used again or closed.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from ibkr_bridge.server.connection import ClientConnection
from ibkr_bridge.server.peer_socket import has_hung_up, is_reset


async def deliver(request: web.Request, response: web.StreamResponse) -> bool:
    """Write a response at once. Returns whether its caller is still connected."""
    if not is_connected(request):
        return False
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return request.transport is not None and not request.transport.is_closing()


def watch_reset(request: web.Request, on_delivered: Callable[[bool], None]) -> None:
    """If the client resets the connection before sending another request, it did not read our response."""
    if isinstance(request.protocol, ClientConnection):
        request.protocol.on_reset = lambda: on_delivered(False)


def unread_check(request: web.Request) -> Callable[[], bool]:
    """Returns a function that tells whether the connection has been reset since.

    The event loop may learn of the reset only after it has read the caller's next request on another connection.
    """
    connection = request.protocol

    def was_reset() -> bool:
        is_watched = isinstance(connection, ClientConnection) and connection.on_reset is not None
        transport = connection.transport if is_watched and connection is not None else None
        return transport is not None and is_reset(transport)

    return was_reset


def is_connected(request: web.Request) -> bool:
    """Whether the caller is connected. The socket itself is checked: it knows of a close before the event loop does."""
    return is_open(request) and request.transport is not None and not has_hung_up(request.transport)


def is_open(request: web.Request) -> bool:
    """Whether the caller is connected as far as the event loop knows. It costs no system call: enough for a read."""
    return request.transport is not None and not request.transport.is_closing()
