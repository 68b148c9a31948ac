"""Finds what a target belongs to: a route of our own, an endpoint of IBKR, or nothing.

The table of our own routes is passed in (`OwnRoutes`). Every other target is matched against the proxied prefixes and
then against the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint, Layer, OrderOperation
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_target import Target, UpstreamTarget

METHODS = ("GET", "POST", "PUT", "DELETE")  # of calls to IBKR


def method_at_ibkr(method: str) -> str:
    """The method with which a request is sent on: HEAD as the GET whose response it describes."""
    return "GET" if method == "HEAD" else method


@dataclass(frozen=True)
class OwnRoutes:
    """Our own routes, as the checks look them up. The application passes them in; the server names none."""

    effects: Mapping[str, Mapping[str, Effect]]
    """By path, then by method. `{name}` in a path stands for one segment."""
    cancels: frozenset[tuple[str, str]] = frozenset()
    """Method and path of those that cancel an order."""
    open_paths: frozenset[str] = frozenset()
    """Those that need no key, in exactly this spelling."""
    websockets: frozenset[str] = frozenset()
    """Those that a web page may open, with a token."""
    of_page: frozenset[str] = frozenset()
    """Those of the operator's page: they need its token, and nothing else opens them."""
    of_bridge: frozenset[str] = frozenset()
    """Those that concern the bridge and no profile of it."""
    token_in_query: frozenset[str] = frozenset()
    """Those whose query may contain a token; a last segment `*` stands for all paths below."""

    def match(self, segments: tuple[str, ...]) -> str | None:
        """The path in the table that matches a request's path; None if there is none. Exact paths come first."""
        path = join_path(segments)
        if path in self.effects:
            return path
        patterns = self._patterns.get(segments[:1], ())
        return next((pattern for pattern, parts in patterns if _meets(parts, segments)), None)

    @cached_property
    def _patterns(self) -> Mapping[tuple[str, ...], Sequence[tuple[str, tuple[str, ...]]]]:
        """The paths with variables, by their first segment: no proxied call is compared with them."""
        patterns: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = {}
        for path in self.effects:
            parts = tuple(path[1:].split("/"))
            if "{" in path:
                patterns.setdefault(parts[:1], []).append((path, parts))
        return patterns

    def is_open(self, method: str, path: str) -> bool:
        """Whether a request needs no key. The path is compared as it was sent: no other spelling is open."""
        return path in self.open_paths and method in self.effects[path]

    def is_websocket(self, segments: tuple[str, ...]) -> bool:
        """Whether a path is a websocket that a web page may open."""
        return join_path(segments) in self.websockets

    def may_carry_token(self, segments: tuple[str, ...]) -> bool:
        """Whether the query of a path may contain a token."""
        below = f"/{segments[0]}/*" if len(segments) > 1 else None
        return join_path(segments) in self.token_in_query or below in self.token_in_query


def join_path(segments: tuple[str, ...]) -> str:
    """A path as it is written in the table of routes."""
    return "/" + "/".join(segments)


def _meets(parts: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    return len(parts) == len(segments) and all(
        part == segment or part.startswith("{") for part, segment in zip(parts, segments, strict=True)
    )


def resolve_upstream(target: Target, settings: Settings) -> UpstreamTarget:
    """Find where a proxied call goes.

    Raises:
        NotBridged: this path is not proxied.
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


def resolve(
    request_context: RequestContext, method: str, target: Target, own_routes: OwnRoutes, settings: Settings
) -> None:
    """Record what a target belongs to: the route for the log, the endpoint, and where a proxied call goes."""
    request_context.target = target
    path = own_routes.match(target.segments)
    if path is not None:
        effect = own_routes.effects[path].get(method, Effect.READ)
        request_context.route = path
        operation = OrderOperation.CANCEL if (method, path) in own_routes.cancels else None
        request_context.endpoint = Endpoint(method, path, effect, Layer.LOGIN, "ours", operation)
        return
    try:
        request_context.upstream_target = resolve_upstream(target, settings)
    except NotBridged:
        return  # the handler raises it, after the key was checked
    request_context.endpoint = match(method_at_ibkr(method), request_context.upstream_target.segments)
    request_context.route = request_context.endpoint.path
