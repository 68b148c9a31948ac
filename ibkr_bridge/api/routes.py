"""All routes of the bridge itself. The router, the checks, the documentation and the tests use `ROUTES`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from aiohttp.typedefs import Handler

from ibkr_bridge.api import gateway_routes, health, orders, stream_sse, stream_websocket, tokens
from ibkr_bridge.errors import (
    BadRequest,
    BridgeError,
    Busy,
    GatewayProtocolError,
    InsufficientScope,
    JournalUnavailable,
    MarketDataLimit,
    NotBridged,
    PayloadTooLarge,
    SessionUnavailable,
    ShuttingDown,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.profiles.status import ProfileStatus, ReconnectStatus
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.server.tokens import TokenRequest
from ibkr_bridge.session.session_status import KeeperStatus


class Auth(Enum):
    """What a caller must send."""

    OPEN = "open"  # nothing; the path must be exactly that of the table, and HEAD is answered too
    KEY = "key"  # a key; the handler refuses a token
    KEY_OR_TOKEN = "key or token"  # noqa: S105  # a rule, not a password


@dataclass(frozen=True)
class Parameter:
    """One parameter in the query of a route, for the documentation; the handler checks it."""

    name: str
    doc: str
    type: object = str
    """What its text stands for, as msgspec writes it in a schema."""
    is_required: bool = False
    example: str = ""


@dataclass(frozen=True)
class Route:
    """One route of the bridge itself. `{name}` in a path stands for one segment."""

    method: str
    path: str
    effect: Effect
    """What it does at worst; the caller's key or token must allow it."""
    auth: Auth
    handler: Handler
    request: type | None = None
    """The shape of the request body; None if it takes none."""
    parameters: tuple[Parameter, ...] = ()
    """What its query may contain."""
    response: type | None = None
    """The shape of a response with status 200; None if there is no class for it."""
    errors: tuple[type[BridgeError], ...] = ()
    """What its handler raises, in addition to the errors of the checks that every request passes."""
    endless: bool = False
    """Whether the response is a stream that does not end by itself."""
    token_in_query: bool = False
    """Whether a token may be in the query, since browsers open streams without headers."""
    websocket: bool = False
    """Whether it is a websocket, which a page of the app may open from another origin with a token."""
    summary: str = ""
    """One sentence for the documentation."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers. Monitors use HEAD on the open routes."""
        return (self.method, "HEAD") if self.auth is Auth.OPEN else (self.method,)

    @property
    def spellings(self) -> tuple[str, ...]:
        """The paths that callers may write. A slash at the end is allowed, except for open routes."""
        return (self.path,) if self.auth is Auth.OPEN else (self.path, self.path + "/")


def _open(path: str, handler: Handler, summary: str) -> Route:
    return Route("GET", path, Effect.READ, Auth.OPEN, handler, summary=summary)


def _keyed(
    method: str,
    path: str,
    effect: Effect,
    handler: Handler,
    summary: str,
    errors: tuple[type[BridgeError], ...] = (),
    response: type | None = None,
) -> Route:
    return Route(method, path, effect, Auth.KEY_OR_TOKEN, handler, response=response, errors=errors, summary=summary)


def _stream(path: str, handler: Handler, summary: str, *errors: type[BridgeError], websocket: bool = False) -> Route:
    return Route(
        "GET",
        path,
        Effect.READ,
        Auth.KEY_OR_TOKEN,
        handler,
        errors=(*errors, Busy, ShuttingDown),
        endless=True,
        token_in_query=True,
        websocket=websocket,
        summary=summary,
    )


READ, SESSION, TRADE = Effect.READ, Effect.SESSION, Effect.TRADE
ROUTES: tuple[Route, ...] = (
    _open("/health", health.health, "Whether the process can serve, regardless of the Gateway."),
    _open("/livez", health.livez, "Whether all loops run and the event loop is on time."),
    _open("/readyz", health.readyz, "Whether a brokerage call would work now, or the reason why not."),
    _open("/gateway/auth-status", health.auth_status, "Whether the brokerage session is open, at most 5 s old."),
    _keyed(
        "GET",
        "/gateway/status",
        READ,
        gateway_routes.status,
        "Everything the bridge knows of the session and itself.",
        response=ProfileStatus,
    ),
    _keyed(
        "POST",
        "/gateway/reconnect",
        SESSION,
        gateway_routes.reconnect,
        "Checks the session now and requests it where calls fail.",
        response=ReconnectStatus,
    ),
    _keyed(
        "POST",
        "/gateway/pause",
        TRADE,
        gateway_routes.pause,
        "Stops new orders, even after a restart; cancels are still sent.",
    ),
    _keyed("POST", "/gateway/resume", TRADE, gateway_routes.resume, "Allows new orders again."),
    _keyed(
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
    _stream(
        "/stream/quotes",
        stream_sse.quotes,
        "Quotes of contracts: a full snapshot, then each change.",
        BadRequest,
        MarketDataLimit,
    ),
    _stream("/stream/orders", stream_sse.orders, "The day's orders, then each change of one."),
    _stream("/stream/trades", stream_sse.trades, "The day's trades, then each new one."),
    _stream("/stream/pnl", stream_sse.pnl, "Profit and loss of each account."),
    _stream("/stream/session", stream_sse.session, "The state of the session, then each change."),
    _stream("/ws", stream_websocket.open_websocket, "IBKR's own websocket protocol.", BadRequest, websocket=True),
    _stream(
        "/v1/api/ws",
        stream_websocket.open_websocket,
        "The same websocket at the Gateway's own path.",
        BadRequest,
        websocket=True,
    ),
    _keyed(
        "GET",
        "/orders",
        READ,
        orders.list_orders,
        "The orders of the last day and those that are open, the latest first.",
        (BadRequest,),
    ),
    _keyed(
        "GET",
        "/orders/{id}",
        READ,
        orders.get_order,
        "One order with all its events, however old it is.",
        (NotBridged, JournalUnavailable),
    ),
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
        open_paths=frozenset(route.path for route in rows if route.auth is Auth.OPEN),
        websockets=frozenset(route.path for route in rows if route.websocket),
        token_in_query=frozenset(route.path for route in rows if route.token_in_query) | UNSERVED_TOKEN_PATHS,
    )
