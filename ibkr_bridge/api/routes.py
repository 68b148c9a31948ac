"""All routes of the bridge itself. The router, the checks, the documentation and the tests use `ROUTES`."""

from __future__ import annotations

from collections.abc import Iterable

from ibkr_bridge.api import gateway_routes, health, stream_sse, stream_websocket, tokens
from ibkr_bridge.api.plain.routes import PLAIN_ROUTES
from ibkr_bridge.api.route import Auth, Route, keyed_route, open_route, stream_route
from ibkr_bridge.errors import (
    BadRequest,
    GatewayProtocolError,
    InsufficientScope,
    MarketDataLimit,
    PayloadTooLarge,
    SessionUnavailable,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.profiles.status import ProfileStatus, ReconnectStatus
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.server.tokens import TokenRequest
from ibkr_bridge.session.session_status import KeeperStatus

READ, SESSION, TRADE = Effect.READ, Effect.SESSION, Effect.TRADE
ROUTES: tuple[Route, ...] = (
    open_route("/health", health.health, "Whether the process can serve, regardless of the Gateway."),
    open_route("/livez", health.livez, "Whether all loops run and the event loop is on time."),
    open_route("/readyz", health.readyz, "Whether a brokerage call would work now, or the reason why not."),
    open_route("/gateway/auth-status", health.auth_status, "Whether the brokerage session is open, at most 5 s old."),
    keyed_route(
        "GET",
        "/gateway/status",
        READ,
        gateway_routes.status,
        "Everything the bridge knows of the session and itself.",
        response=ProfileStatus,
    ),
    keyed_route(
        "POST",
        "/gateway/reconnect",
        SESSION,
        gateway_routes.reconnect,
        "Checks the session now and requests it where calls fail.",
        response=ReconnectStatus,
    ),
    keyed_route(
        "POST",
        "/gateway/pause",
        TRADE,
        gateway_routes.pause,
        "Stops new orders, even after a restart; cancels are still sent.",
    ),
    keyed_route("POST", "/gateway/resume", TRADE, gateway_routes.resume, "Allows new orders again."),
    keyed_route(
        "POST",
        "/gateway/logout",
        SESSION,
        gateway_routes.logout,
        "Ends the login at IBKR; only a person or IBeam can make a new one.",
        (SessionUnavailable, GatewayProtocolError),
        response=KeeperStatus,
    ),
    Route(
        # READ, since a read-only key may issue a token that only reads; the handler compares the scopes
        "POST",
        "/auth/token",
        READ,
        Auth.KEY,
        tokens.issue_token,
        request=TokenRequest,
        errors=(BadRequest, InsufficientScope, PayloadTooLarge),
        summary="Issues a token for a page.",
    ),
    stream_route(
        "/stream/quotes",
        stream_sse.quotes,
        "Quotes of contracts: a full snapshot, then each change.",
        BadRequest,
        MarketDataLimit,
    ),
    stream_route("/stream/orders", stream_sse.orders, "The day's orders, then each change of one."),
    stream_route("/stream/trades", stream_sse.trades, "The day's trades, then each new one."),
    stream_route("/stream/pnl", stream_sse.pnl, "Profit and loss of each account."),
    stream_route("/stream/session", stream_sse.session, "The state of the session, then each change."),
    stream_route("/ws", stream_websocket.open_websocket, "IBKR's own websocket protocol.", BadRequest, websocket=True),
    stream_route(
        "/v1/api/ws",
        stream_websocket.open_websocket,
        "The same websocket at the Gateway's own path.",
        BadRequest,
        websocket=True,
    ),
    *PLAIN_ROUTES,
)
UNSERVED_TOKEN_PATHS = frozenset({"/stream/*", "/docs", "/docs/*", "/openapi.json"})
"""Paths without a route that accept a token in the query, so that a browser gets 404 and not 401."""


def own_routes(routes: Iterable[Route] = ROUTES) -> OwnRoutes:
    """The routes in the form in which the checks of the server look them up."""
    rows = tuple(routes)
    effects: dict[str, dict[str, Effect]] = {}
    for route in rows:
        effects.setdefault(route.path, {}).update(dict.fromkeys(route.methods, route.effect))
    return OwnRoutes(
        effects,
        cancels=frozenset((route.method, route.path) for route in rows if route.cancels),
        open_paths=frozenset(route.path for route in rows if route.auth is Auth.OPEN),
        websockets=frozenset(route.path for route in rows if route.websocket),
        token_in_query=frozenset(route.path for route in rows if route.token_in_query) | UNSERVED_TOKEN_PATHS,
    )
