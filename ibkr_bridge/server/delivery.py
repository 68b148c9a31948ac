"""Did the response reach its caller? Written here and now, and watched until the connection is used again."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from ibkr_bridge.server.connection import ClientConnection
from ibkr_bridge.server.peer_socket import has_hung_up, is_reset


async def deliver(request: web.Request, response: web.StreamResponse) -> bool:
    """Write a response at once. Returns whether its caller was still connected."""
    if not is_connected(request):
        return False
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return request.transport is not None and not request.transport.is_closing()


def watch_reset(request: web.Request, told: Callable[[bool], None]) -> None:
    """If the client resets the connection before sending another request, it did not read our response."""
    if isinstance(request.protocol, ClientConnection):
        request.protocol.on_reset = lambda: told(False)


def unread_check(request: web.Request) -> Callable[[], bool]:
    """Asks whether a connection has been reset since: the loop may hear of it after the caller's next one."""
    door = request.protocol

    def was_reset() -> bool:
        waits = isinstance(door, ClientConnection) and door.on_reset is not None
        transport = door.transport if waits and door is not None else None
        return transport is not None and is_reset(transport)

    return was_reset


def is_connected(request: web.Request) -> bool:
    """Whether a caller's connection stands; one that was closed is noticed here even before the event loop tells."""
    transport = request.transport
    return transport is not None and not transport.is_closing() and not has_hung_up(transport)
