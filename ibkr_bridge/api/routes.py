"""All routes of the bridge itself. The router, the checks, the documentation and the tests use `ROUTES`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.api import documents, gateway_routes, health, history, metrics, stream_sse, stream_websocket, tokens
from ibkr_bridge.api.page.routes import PAGE_ROUTES
from ibkr_bridge.api.plain.routes import PLAIN_ROUTES
from ibkr_bridge.api.profile_routes import PROFILE_ROUTES
from ibkr_bridge.api.route import Auth, Parameter, Route, document_route, keyed_route, probe_route, stream_route
from ibkr_bridge.errors import (
    BadRequest,
    GatewayProtocolError,
    InsufficientScope,
    MarketDataLimit,
    PayloadTooLarge,
    SessionUnavailable,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.base import Conid
from ibkr_bridge.models.bridge import AuthStatus, Health, IssuedToken, PausedTrading, ResumedTrading, TokenOptions
from ibkr_bridge.models.history import BridgeHistory, BridgeHistoryChanges
from ibkr_bridge.profiles.status import ProfileStatus, ReconnectStatus
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.session.session_status import KeeperStatus
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import MAX_FIELDS

Revision = Annotated[int, Meta(ge=0, le=history.MAX_REVISION)]
Changes = Annotated[int, Meta(ge=1, le=history.MAX_CHANGES)]
READ, SESSION, TRADE = Effect.READ, Effect.SESSION, Effect.TRADE
QUOTE_PARAMETERS = (
    Parameter(
        "conids",
        "IBKR's numbers of the instruments.",
        Annotated[list[Conid], Meta(min_length=1, max_length=MAX_MARKET_DATA_LINES)],
        is_required=True,
        example="265598,8314",
    ),
    Parameter(
        "fields",
        "IBKR's numbers of the fields; last price, bid and ask with their sizes if it is left out.",
        Annotated[list[Annotated[int, Meta(ge=1, le=9999)]], Meta(max_length=MAX_FIELDS)],
        example="31,84,86",
    ),
)
ROUTES: tuple[Route, ...] = (
    probe_route("/health", health.health, "Whether the process can serve, regardless of the Gateway.", Health),
    probe_route("/livez", health.livez, "Whether all loops run and the event loop is on time."),
    probe_route("/readyz", health.readyz, "Whether brokerage calls and orders work now, or what stops them."),
    Route(
        "GET",
        "/gateway/auth-status",
        READ,
        Auth.OPEN,
        health.auth_status,
        parameters=(Parameter("verbose", "`1` adds IBKR's own words about the session.", example="1"),),
        response=AuthStatus,
        summary="Whether the brokerage session is open, at most 5 s old.",
    ),
    keyed_route(
        "GET",
        "/gateway/status",
        READ,
        gateway_routes.status,
        "Everything the bridge knows of the session and itself.",
        response=ProfileStatus,
    ),
    keyed_route(
        "GET",
        "/gateway/history",
        READ,
        history.history,
        "What has happened to the bridge and its session in the last 90 days.",
        (BadRequest,),
        parameters=(Parameter("days", "How many days, 7 if it is left out.", history.Days, example="1"),),
        response=BridgeHistory,
    ),
    keyed_route(
        "GET",
        "/gateway/history/changes",
        READ,
        history.changes,
        "The conditions that have begun or ended since the caller asked last.",
        (BadRequest,),
        parameters=(
            Parameter("after", "The `revision` of the last answer; 0 if it is left out.", Revision, example="0"),
            Parameter("limit", "The number of changes, 100 if it is left out.", Changes),
        ),
        response=BridgeHistoryChanges,
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
        response=PausedTrading,
    ),
    keyed_route(
        "POST",
        "/gateway/resume",
        TRADE,
        gateway_routes.resume,
        "Allows new orders again.",
        response=ResumedTrading,
    ),
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
        request=TokenOptions,
        may_lack_body=True,
        response=IssuedToken,
        errors=(BadRequest, InsufficientScope, PayloadTooLarge),
        summary="Issues a token for a page.",
    ),
    stream_route(
        "/stream/quotes",
        stream_sse.quotes,
        "Quotes of contracts: a full snapshot, then each change.",
        BadRequest,
        MarketDataLimit,
        parameters=QUOTE_PARAMETERS,
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
    document_route("/metrics", metrics.metrics, "text/plain", "Figures for Prometheus."),
    document_route("/openapi.json", documents.openapi, "application/json", "This description, for programs."),
    document_route("/docs", documents.docs, "text/html", "This description as a page that can try the reads."),
    document_route("/client.ts", documents.client, "text/plain", "The client for TypeScript as one file."),
    *PROFILE_ROUTES,
    *PLAIN_ROUTES,
)
ALL_ROUTES = (*ROUTES, *PAGE_ROUTES)
"""Those of the operator's page too, which are not described for programs."""
UNSERVED_TOKEN_PATHS = frozenset({"/stream/*", "/docs/*"})
"""Paths without a route that accept a token in the query, so that a browser gets 404 and not 401."""


def own_routes(routes: Iterable[Route] = ALL_ROUTES) -> OwnRoutes:
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
        of_bridge=frozenset(route.path for route in rows if route.of_bridge),
        of_page=frozenset(route.path for route in rows if route.auth is Auth.PAGE),
        token_in_query=frozenset(route.path for route in rows if route.token_in_query) | UNSERVED_TOKEN_PATHS,
    )
