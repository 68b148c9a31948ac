"""The checks that every request passes before its handler, one question each, in the order of CHECKS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from aiohttp import hdrs, web

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.value_types import is_loopback
from ibkr_bridge.errors import (
    BadKey,
    BadRequest,
    ForeignHost,
    ForeignOrigin,
    Stopping,
    WrongScope,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.app_keys import DRAIN, KEYS, SETTINGS
from ibkr_bridge.server.credentials import shown
from ibkr_bridge.server.request_context import Visit
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.server.routing import OPEN, find_out, is_socket

PAGE = re.compile(r"https?://([^/?#@\s]+)")  # an Origin, and the host in it
TRY_AGAIN = 5.0  # seconds a restart takes at most, told to callers while the bridge drains


def known_host(request: web.Request, _: Visit) -> None:
    """Refuse names an attacker can point at us (DNS rebinding)."""
    hosts = request.headers.getall(hdrs.HOST, [])
    if len(hosts) != 1:
        raise BadRequest("there must be exactly one Host header", hint="send the bridge's own address as Host")
    if not is_known_host(hosts[0].lower(), request.app[SETTINGS]):
        raise ForeignHost("the Host header names somebody else")


def is_known_host(host: str, settings: Settings) -> bool:
    """Whether a Host header means us: a loopback name with any port (tunnels change it), our address, a listed name."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return is_loopback(name.strip("[]")) or _is_listed({host, name}, settings) or _is_wildcard(name, settings)


def _is_listed(names: set[str], settings: Settings) -> bool:
    own = {settings.url.host, str(settings.url).removeprefix("http://")}
    return bool(names & (own | settings.allowed_hosts))


def _is_wildcard(name: str, settings: Settings) -> bool:
    """Listening on every address: then any plain address is ours; names still have to be listed."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return settings.allow_remote and settings.url.host in ("0.0.0.0", "::") and not address.is_unspecified  # noqa: S104


def plain_target(request: web.Request, visit: Visit) -> None:
    """Read the target, and find out what it meets."""
    find_out(request, visit, read_target(request.raw_path))


def known_origin(request: web.Request, visit: Visit) -> None:
    """Refuse pages that are not ours; one of the app may open a socket, if it shows a token.

    Whether that token is good is asked next, and of known pages alone: a foreign one is refused either way, and so
    learns nothing of it.
    """
    origins = {origin.lower() for origin in request.headers.getall(hdrs.ORIGIN, [])}
    foreign = origins - {f"http://{request.headers[hdrs.HOST].lower()}"}
    if not foreign:
        return
    credential = shown(request.headers, visit.target) if visit.target and is_socket(visit.target.segments) else None
    by_token = credential is not None and credential.is_like_token
    if not by_token or not all(_is_apps(origin, request.app[SETTINGS]) for origin in foreign):
        raise ForeignOrigin("a page of another origin is asking")


def _is_apps(origin: str, settings: Settings) -> bool:
    """Whether a page may be one of the app's: it was served by a host that is known by the rule for our own."""
    page = PAGE.fullmatch(origin)
    return page is not None and is_known_host(page.group(1), settings)


def known_key(request: web.Request, visit: Visit) -> None:
    """Let those in who know a key or hold a token; four routes are open to all."""
    credential = shown(request.headers, visit.target)
    visit.key = credential.opens(request.app[KEYS]) if credential is not None else None
    if visit.key is None and not _is_open(request, visit):
        raise BadKey("the key is missing or wrong")


def _is_open(request: web.Request, visit: Visit) -> bool:
    return request.method in ("GET", "HEAD") and visit.target is not None and visit.target.path in OPEN


def door_still_open(request: web.Request, visit: Visit) -> None:
    """While draining only the open routes answer."""
    if request.app[DRAIN].is_on and not _is_open(request, visit):
        raise Stopping("the bridge is stopping", retry_after=TRY_AGAIN)


def granted_scope(_: web.Request, visit: Visit) -> None:
    """Hold the key against the effect of what it asks for."""
    effect = visit.row.effect if visit.row else Effect.READ
    if visit.key is None or effect in visit.key.effects:
        return
    if visit.key.is_token:
        raise WrongScope("this token may only read", hint="ask for one of the scope trade, with the full key")
    raise WrongScope("this key may only read")


CHECKS: tuple[Callable[[web.Request, Visit], None], ...] = (
    known_host,  # was it meant for us?                           400 403
    plain_target,  # can it be read in one way only?              400 414
    known_origin,  # was it sent by a page that may?              403
    known_key,  # who is calling?                                 401
    door_still_open,  # are we ending?                            503
    granted_scope,  # may they call this?                         403
)
