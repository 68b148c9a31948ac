"""The headers that requests may and responses do have, and the routes that they concern. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.api.route import Auth, Route
from ibkr_bridge.errors import UpstreamError
from ibkr_bridge.ibkr.endpoint import Effect

PROFILE_NAME = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,31}$"}
SECONDS = {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
PLAIN_API = "ibkr_bridge.api.plain"  # the handlers of the plain API, which send calls to IBKR


def _is_plain(route: Route) -> bool:
    return route.handler.__module__.startswith(PLAIN_API)


def _concerns_profile(route: Route) -> bool:
    return route.auth is not Auth.OPEN and not route.of_bridge and not route.websocket


def _asks_ibkr(route: Route) -> bool:
    is_remembered = route.path.startswith("/instruments")  # most answers need no call, and then nothing waits
    return UpstreamError in route.errors and not is_remembered


def _reads_ibkr(route: Route) -> bool:
    return _asks_ibkr(route) and route.method == "GET"


def _sends_order(route: Route) -> bool:
    return _is_plain(route) and route.effect is Effect.TRADE


def _is_event_stream(route: Route) -> bool:
    return route.media_type == "text/event-stream"


@dataclass(frozen=True)
class RequestHeader:
    """A header that a request may have."""

    name: str
    doc: str
    schema: Mapping[str, Any]
    concerns: Callable[[Route], bool]

    @property
    def component(self) -> dict[str, Any]:
        """The header as a parameter of the document."""
        return {"name": self.name, "in": "header", "required": False, "description": self.doc, "schema": self.schema}


REQUEST_HEADERS = (
    RequestHeader(
        "X-Request-ID",
        "An id of the caller's own, for the response and the log. Without a usable one the bridge makes its own.",
        {"type": "string"},
        lambda route: not route.websocket,
    ),
    RequestHeader(
        "X-Bridge-Profile",
        "The profile that the request concerns. Only the key of an app, which serves several, needs it.",
        PROFILE_NAME,
        _concerns_profile,
    ),
    RequestHeader(
        "Last-Event-ID",
        "The id of the last event that was received: the stream goes on after it. Browsers send it by themselves.",
        {"type": "string", "pattern": "^[ -~]{0,64}$"},
        _is_event_stream,
    ),
    RequestHeader(
        "Idempotency-Key",
        "For 24 hours the same request with the same key gets the first answer again, and places no second order.",
        {"type": "string", "pattern": r"^[!#-\[\]-~]{1,255}$"},
        _sends_order,
    ),
    RequestHeader(
        "X-Bridge-Confirm",
        "Ids of IBKR's questions that are answered with yes at once, between commas.",
        {"type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9-]{0,31}(,[A-Za-z0-9][A-Za-z0-9-]{0,31}){0,63})?$"},
        _sends_order,
    ),
    RequestHeader(
        "X-Bridge-Wait",
        "Seconds, 60 at most, that the request may wait for the session or a free slot, instead of failing at once.",
        SECONDS,
        _asks_ibkr,
    ),
    RequestHeader(
        "X-Bridge-Max-Age",
        "The greatest age in seconds of a cached answer; 0 fetches anew.",
        SECONDS,
        _reads_ibkr,
    ),
)
_TEXT = {"type": "string"}
RESPONSE_HEADERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "X-Request-ID": ("The id of the request, which the log has too.", _TEXT),
    "X-Bridge-Mode": ("Which accounts may trade.", {"type": "string", "enum": ["paper", "live"]}),
    "X-Bridge-Source": (
        "Where the answer came from.",
        {"type": "string", "enum": ["bridge", "gateway", "shared", "cache", "stream"]},
    ),
    "Server-Timing": ("Milliseconds of waiting and of IBKR.", _TEXT),
    "Age": ("Seconds since IBKR gave a cached answer.", {"type": "integer"}),
    "X-Bridge-Order": ("The bridge's id of the order.", _TEXT),
    "X-Bridge-Order-State": ("The state of the order.", _TEXT),
    "X-Bridge-Warning": ("`login_ends` and the time, if IBKR ends the login within ten minutes.", _TEXT),
    "Retry-After": ("Seconds after which the request may be sent again.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("How to send a key.", _TEXT),
}
ALWAYS = ("X-Request-ID", "X-Bridge-Mode", "X-Bridge-Source")
BY_STATUS: Mapping[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def request_headers(route: Route) -> list[dict[str, str]]:
    """References to the headers that requests of a route may have."""
    return [{"$ref": f"#/components/parameters/{header.name}"} for header in REQUEST_HEADERS if header.concerns(route)]


def response_headers(names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """References to headers of a response."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*ALWAYS, *names)}


def success_headers(route: Route) -> tuple[str, ...]:
    """The headers that only responses to calls of IBKR have."""
    of_order = ("X-Bridge-Order", "X-Bridge-Order-State", "X-Bridge-Warning") if _sends_order(route) else ()
    return ("Server-Timing", "Age", *of_order) if _asks_ibkr(route) else ()


def header_components() -> dict[str, dict[str, Any]]:
    """The headers of responses, for `components`."""
    return {name: {"description": doc, "schema": schema} for name, (doc, schema) in RESPONSE_HEADERS.items()}
