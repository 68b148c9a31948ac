"""What a target meets: a route of our own, an endpoint of IBKR, or nothing.

Our own routes are one table: path, method, what it does, whether it is open to all. Everything else is matched against
the prefixes that are bridged and then against the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from ibkr_bridge.config.env_reader import NEVER_BRIDGED
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import NotBridged
from ibkr_bridge.ibkr.catalogue import (
    API_PREFIX,
    API_SEGMENTS,
    BRIDGED_PREFIXES,
    KNOWN_PREFIXES,
    MARKETDATA,
    TICKLE,
    match,
)
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint, Layer
from ibkr_bridge.server.app_keys import SETTINGS
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_target import Target, UpstreamTarget

OPEN = frozenset({"/health", "/livez", "/readyz", "/gateway/auth-status"})  # no key; exactly these four
OWN: Mapping[str, Mapping[str, Effect]] = {
    **{path: {"GET": Effect.READ, "HEAD": Effect.READ} for path in sorted(OPEN)},
    "/gateway/status": {"GET": Effect.READ},
    "/gateway/reconnect": {"POST": Effect.SESSION},
    "/gateway/pause": {"POST": Effect.TRADE},
    "/gateway/resume": {"POST": Effect.TRADE},
    "/gateway/logout": {"POST": Effect.SESSION},
    "/orders": {"GET": Effect.READ},
    "/orders/{id}": {"GET": Effect.READ},
    "/stream/quotes": {"GET": Effect.READ},
    "/stream/orders": {"GET": Effect.READ},
    "/stream/trades": {"GET": Effect.READ},
    "/stream/pnl": {"GET": Effect.READ},
    "/stream/session": {"GET": Effect.READ},
    "/ws": {"GET": Effect.READ},
    "/v1/api/ws": {"GET": Effect.READ},
    "/auth/token": {"POST": Effect.READ},  # whoever may read may give a page a token that reads
}
ENDLESS = frozenset(path for path in OWN if path.startswith("/stream/") or path in ("/ws", "/v1/api/ws"))
"""Routes whose replies have no end of their own."""
METHODS = ("GET", "POST", "PUT", "DELETE")
SOCKETS = frozenset({"/ws", "/v1/api/ws"})  # which a page of the app may open, with a token
TOKEN_IN_QUERY = frozenset({*SOCKETS, "/stream/*", "/docs", "/docs/*", "/openapi.json"})
"""What browsers open without being able to send a header; anywhere else an address would keep a token for nothing."""


def route_pattern(segments: tuple[str, ...]) -> str:
    """The route of our own that a path would be, its last segment a variable where that is one."""
    return "/orders/{id}" if len(segments) == 2 and segments[0] == "orders" else own_path(segments)


def takes_token(segments: tuple[str, ...]) -> bool:
    """Whether a token may stand in the query of a path."""
    return own_path(segments) in TOKEN_IN_QUERY or (len(segments) > 1 and f"/{segments[0]}/*" in TOKEN_IN_QUERY)


def is_socket(segments: tuple[str, ...]) -> bool:
    """Whether a path is one that pages of the app may open."""
    return own_path(segments) in SOCKETS


def own_path(segments: tuple[str, ...]) -> str:
    """A path as our tables have it."""
    return "/" + "/".join(segments)


def resolve_upstream(target: Target, settings: Settings) -> UpstreamTarget:
    """Find where a target leads.

    Raises:
        NotBridged: nowhere we go.
    """
    segments, raw = target.segments, target.raw_segments
    if segments[:2] == API_SEGMENTS:
        segments, raw = segments[2:], raw[2:]
    if segments == TICKLE:
        return UpstreamTarget(segments, "/".join((API_PREFIX, *raw)))
    if len(segments) < 2 or segments[0] not in (*BRIDGED_PREFIXES, *settings.extra_prefixes):
        raise _not_bridged_error(segments[0] if segments else "")
    if segments[0] == MARKETDATA:
        segments, raw = ("iserver", *segments), ["iserver", *raw]
    return UpstreamTarget(segments, "/".join((API_PREFIX, *raw)))


def _not_bridged_error(prefix: str) -> NotBridged:
    if prefix in NEVER_BRIDGED:
        return NotBridged(
            "sign-in, log-out and token paths are never bridged", hint="use POST /gateway/logout to log out"
        )
    if prefix in KNOWN_PREFIXES:
        return NotBridged(
            f"/{prefix} is not open on this bridge", hint=f"add {prefix} to IBKR_BRIDGE_EXTRA_PREFIXES to open it"
        )
    return NotBridged("nothing is bridged under this path")


def resolve(request: web.Request, request_context: RequestContext, target: Target) -> None:
    """Note what a target meets: the route as the log may show it, the catalogue's row, where a bridged call goes."""
    request_context.target = target
    path = route_pattern(target.segments)
    if path in OWN:
        effect = OWN[path].get(request.method, Effect.READ)
        request_context.route, request_context.endpoint = (
            path,
            Endpoint(request.method, path, effect, Layer.LOGIN, "ours"),
        )
        return
    try:
        request_context.upstream_target = resolve_upstream(target, request.app[SETTINGS])
    except NotBridged:
        return  # told by the handler, once the key has been seen
    request_context.endpoint = match(request.method, request_context.upstream_target.segments)
    request_context.route = request_context.endpoint.path
