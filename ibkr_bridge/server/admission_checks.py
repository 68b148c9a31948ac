"""The checks that every request passes before its handler, one question each, in the order of CHECKS."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable

from aiohttp import hdrs, web

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.value_types import is_loopback
from ibkr_bridge.errors import (
    BadRequest,
    HostNotAllowed,
    InsufficientScope,
    InvalidKey,
    OriginNotAllowed,
    ProfileNotFound,
    ProfileRequired,
    ShuttingDown,
    UnsupportedMediaType,
)
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.server.app_keys import BODY_BUDGET, DRAIN, KEYRING, OWN_ROUTES, PROFILES, REQUEST_SHARES, SETTINGS
from ibkr_bridge.server.connection import ControlConnection
from ibkr_bridge.server.credentials import extract, extract_of_page
from ibkr_bridge.server.keyring import CONTROL
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_parsing import MAX_BODY_BYTES
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.server.routing import resolve

HOST_PATTERN = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]+)(?::[0-9]{1,5})?")  # the group is the name or address; one port
ORIGIN_PATTERN = re.compile(r"https?://([^/?#@\s]+)")  # the group is the host
PLAIN_CODINGS = {hdrs.CONTENT_ENCODING: "identity", hdrs.TRANSFER_ENCODING: "chunked"}
"""By header: the word that means that the body is not compressed."""
FETCH_SITE, OWN_SITES = "Sec-Fetch-Site", frozenset({"same-origin", "none"})
"""What browsers say of the page that sends a request; `none` is a person, for example by the address bar."""
PROFILE_HEADER = "X-Bridge-Profile"
RESTART_RETRY_AFTER_S = 5.0  # a restart takes at most this long


def check_host(request: web.Request, _: RequestContext) -> None:
    """Refuse a Host that does not name this bridge (DNS rebinding)."""
    hosts = request.headers.getall(hdrs.HOST, [])
    if len(hosts) != 1:
        raise BadRequest("there must be exactly one Host header", hint="send the bridge's own address as Host")
    if not is_known_host(hosts[0].lower(), request.app[SETTINGS]):
        raise HostNotAllowed("the Host header does not name this bridge")


def is_known_host(host: str, settings: Settings) -> bool:
    """Whether a Host header names this bridge: loopback with any port, its address, or a listed name."""
    name = _name_in_host(host)
    if name is None:
        return False
    return is_loopback(name.strip("[]")) or _is_listed({host, name}, settings) or _is_wildcard(name, settings)


@functools.lru_cache(maxsize=64)  # callers send few different ones, each with every request
def _name_in_host(host: str) -> str | None:
    """The name or address in a Host header, without the port; None if it has another form."""
    match = HOST_PATTERN.fullmatch(host)
    return match.group(1) if match is not None else None


def _is_listed(names: set[str], settings: Settings) -> bool:
    own = {settings.url.host, str(settings.url).removeprefix("http://")}
    return bool(names & (own | settings.allowed_hosts))


def _is_wildcard(name: str, settings: Settings) -> bool:
    """Whether the bridge listens on every address and this is one; names must be listed all the same."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return settings.allow_remote and settings.url.host in ("0.0.0.0", "::") and not address.is_unspecified  # noqa: S104


def check_target(request: web.Request, request_context: RequestContext) -> None:
    """Check the target, and find the route or endpoint it belongs to."""
    target, app = read_target(request.raw_path), request.app
    resolve(request_context, request.method, target, app[OWN_ROUTES], app[SETTINGS])


def check_origin(request: web.Request, request_context: RequestContext) -> None:
    """Refuse web pages of another origin. A page of the app may open a websocket with a token.

    The next check verifies the token, for pages of known origins only: a page of another origin is refused in any case,
    so it learns nothing about a token.
    """
    _check_site(request, request_context)
    if hdrs.ORIGIN not in request.headers:
        return
    origins = {origin.lower() for origin in request.headers.getall(hdrs.ORIGIN)}
    foreign = origins - {f"http://{request.headers[hdrs.HOST].lower()}"}
    if not foreign:
        return
    target, own_routes = request_context.target, request.app[OWN_ROUTES]
    is_websocket = target is not None and own_routes.is_websocket(target.segments)
    credential = extract(request.headers, target, own_routes) if is_websocket else None
    by_token = credential is not None and credential.is_like_token
    if not by_token or not all(_is_app_origin(origin, request.app[SETTINGS]) for origin in foreign):
        raise OriginNotAllowed("the request comes from a web page of another origin")


def _check_site(request: web.Request, request_context: RequestContext) -> None:
    """Refuse what another page requests of the operator's page without an Origin: an image, or `fetch` without CORS.

    A browser sends the cookie with it if that page comes from another port of this host.
    """
    if request_context.route not in request.app[OWN_ROUTES].of_page:
        return
    if set(request.headers.getall(FETCH_SITE, ())) - OWN_SITES:
        raise OriginNotAllowed("the request comes from a web page of another origin")


def _is_app_origin(origin: str, settings: Settings) -> bool:
    """Whether the page was served by a host that the rule for Host headers accepts."""
    match = ORIGIN_PATTERN.fullmatch(origin)
    return match is not None and is_known_host(match.group(1), settings)


def authenticate(request: web.Request, request_context: RequestContext) -> None:
    """Require a key or a token, except on the open routes."""
    own_routes = request.app[OWN_ROUTES]
    if isinstance(request.protocol, ControlConnection):
        request_context.principal = CONTROL
        return
    if request_context.route in own_routes.of_page:
        credential = extract_of_page(request.headers)
    else:
        credential = extract(request.headers, request_context.target, own_routes)
    request_context.principal = credential.authenticate(request.app[KEYRING]) if credential is not None else None
    if request_context.principal is None and not _is_open_route(request, request_context):
        raise InvalidKey("the key is missing or wrong")


def choose_profile(request: web.Request, request_context: RequestContext) -> None:
    """Find the profile that the request concerns. The key decides; the key of an app leaves the choice to a header."""
    principal, own_routes = request_context.principal, request.app[OWN_ROUTES]
    if principal is None or request_context.route in own_routes.of_bridge:
        return
    if request.method not in own_routes.effects.get(request_context.route, {request.method: None}):
        return  # the router answers 405: it concerns no profile
    names = set(request.headers.getall(PROFILE_HEADER, ()))
    if principal.is_app and not names:
        raise ProfileRequired("this key serves several profiles, and the request names none")
    if not principal.profiles:
        raise InsufficientScope("this key manages profiles and reaches none", hint="use a key of the profile")
    chosen = names or {principal.profiles[0]}
    if len(chosen) != 1 or not chosen <= set(principal.profiles) or next(iter(chosen)) not in request.app[PROFILES]:
        raise ProfileNotFound("this key has no such profile")
    request_context.chosen_profile = next(iter(chosen))


def _is_open_route(request: web.Request, request_context: RequestContext) -> bool:
    target = request_context.target
    return target is not None and request.app[OWN_ROUTES].is_open(request.method, target.path)


def check_not_draining(request: web.Request, request_context: RequestContext) -> None:
    """While draining only the open routes answer."""
    if request.app[DRAIN].is_draining and not _is_open_route(request, request_context):
        raise ShuttingDown("the bridge is stopping", retry_after=RESTART_RETRY_AFTER_S)


def check_scope(_: web.Request, request_context: RequestContext) -> None:
    """Check that the key or token allows the effect of the call."""
    effect = request_context.endpoint.effect if request_context.endpoint else Effect.READ
    if request_context.principal is None or effect in request_context.principal.effects:
        return
    if request_context.principal.is_token:
        raise InsufficientScope(
            "this token may only read", hint="request a token with the scope trade; use the full key"
        )
    raise InsufficientScope("this key may only read")


def check_coding(request: web.Request, _: RequestContext) -> None:
    """Refuse a compressed body. A header without a body, as some clients send it, does no harm."""
    if not request.body_exists:
        return
    for header, plain in PLAIN_CODINGS.items():
        codings = {word.strip().lower() for value in request.headers.getall(header, ()) for word in value.split(",")}
        if codings - {plain, ""}:
            raise UnsupportedMediaType("the body is compressed")


def reserve_place(request: web.Request, request_context: RequestContext) -> None:
    """Count the request among those of its key. The open routes need no place, and a cancel is tried in any case."""
    endpoint = request_context.endpoint
    is_cancel = endpoint is not None and endpoint.operation is OrderOperation.CANCEL
    principal = request_context.principal
    if principal is not None and not is_cancel:
        end = request.app[REQUEST_SHARES].begin(
            f"{request_context.profile} {principal.label}", has_reduced_share=principal.has_reduced_share
        )
        request_context.on_finished.append(end)


def reserve_body(request: web.Request, request_context: RequestContext) -> None:
    """Reserve memory for the body; `log_request` releases it when the request is answered.

    The length of a chunked body is not known. One that is too large is refused when it is read.
    """
    length = request.content_length if request.content_length is not None else MAX_BODY_BYTES
    if request.body_exists and request_context.principal is not None and length <= MAX_BODY_BYTES:
        budget = request.app[BODY_BUDGET]
        request_context.on_finished.append(budget.reserve(length, has_reduced_share=request_context.has_reduced_share))


# fmt: off
CHECKS: tuple[Callable[[web.Request, RequestContext], None], ...] = (
    check_host,  # was it meant for us?               400 403
    check_target,  # can it be read in one way only?    400 414
    check_origin,  # was it sent by a page that may?    403
    authenticate,  # who is calling?                    401
    choose_profile,  # whose account is it about?         400 403 404
    reserve_place,  # has its key room for it?          503
    check_not_draining,  # are we ending?                     503
    check_scope,  # may they call this?                403
    check_coding,  # can the body be read as it is?     415
    reserve_body,  # is there memory for the body?      503
)
# fmt: on
