"""What a route of the bridge is: one row of `ROUTES`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from aiohttp.typedefs import Handler

from ibkr_bridge.errors import BridgeError, Busy, ShuttingDown
from ibkr_bridge.ibkr.endpoint import Effect


class Auth(Enum):
    """What a caller must send."""

    OPEN = "open"  # nothing; the path must be exactly that of the table, and HEAD is answered too
    KEY = "key"  # a key; the handler refuses a token
    PAGE = "page"  # the cookie of the operator's page; nothing else
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
    may_lack_body: bool = False
    """Whether an empty body is as good as one without members."""
    parameters: tuple[Parameter, ...] = ()
    """What its query may contain."""
    response: type | None = None
    """The shape of a response with status 200; None if there is no class for it."""
    errors: tuple[type[BridgeError], ...] = ()
    """What its handler raises, in addition to the errors of the checks that every request passes."""
    cancels: bool = False
    """Whether it cancels an order: it is then tried even while too many requests are handled."""
    endless: bool = False
    """Whether the response is a stream that does not end by itself."""
    token_in_query: bool = False
    """Whether a token may be in the query, since browsers open streams without headers."""
    websocket: bool = False
    """Whether it is a websocket, which a page of the app may open from another origin with a token."""
    of_bridge: bool = False
    """Whether it concerns the bridge and no profile of it; the key of an app then names none."""
    summary: str = ""
    """One sentence for the documentation."""
    media_type: str = "application/json"
    """The type of a response with status 200."""
    may_be_503: bool = False
    """Whether it answers 503 in the form of its 200, as monitors expect it."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers. Monitors use HEAD on the open routes."""
        return (self.method, "HEAD") if self.auth is Auth.OPEN else (self.method,)

    @property
    def spellings(self) -> tuple[str, ...]:
        """The paths that callers may write. A slash at the end is allowed, except for open routes."""
        return (self.path,) if self.auth is Auth.OPEN else (self.path, self.path + "/")


def probe_route(path: str, handler: Handler, summary: str, response: type | None = None) -> Route:
    """A route for monitors, which needs no key; without a class for its response, that is a line of text."""
    return Route(
        *("GET", path, Effect.READ, Auth.OPEN, handler),
        response=response,
        summary=summary,
        media_type="text/plain" if response is None else "application/json",
        may_be_503=True,
    )


def document_route(path: str, handler: Handler, media_type: str, summary: str) -> Route:
    """A file that the bridge serves; a browser opens it with a token in the query."""
    return Route(
        *("GET", path, Effect.READ, Auth.KEY_OR_TOKEN, handler),
        token_in_query=True,
        of_bridge=True,
        summary=summary,
        media_type=media_type,
    )


def keyed_route(
    method: str,
    path: str,
    effect: Effect,
    handler: Handler,
    summary: str,
    errors: tuple[type[BridgeError], ...] = (),
    response: type | None = None,
    request: type | None = None,
    parameters: tuple[Parameter, ...] = (),
    cancels: bool = False,
    of_bridge: bool = False,
) -> Route:
    """A route that needs a key or a token."""
    return Route(
        *(method, path, effect, Auth.KEY_OR_TOKEN, handler),
        request=request,
        parameters=parameters,
        response=response,
        errors=errors,
        cancels=cancels,
        of_bridge=of_bridge,
        summary=summary,
    )


def stream_route(
    path: str,
    handler: Handler,
    summary: str,
    *errors: type[BridgeError],
    websocket: bool = False,
    parameters: tuple[Parameter, ...] = (),
) -> Route:
    """A route whose response does not end."""
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
        parameters=parameters,
        media_type="" if websocket else "text/event-stream",
        summary=summary,
    )
