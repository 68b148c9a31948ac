"""What happens to every request before its handler, and to every reply before it leaves.

Two middlewares stand around every request: the outer gives it a name and a line in the log, the inner asks a list of
plain questions at the door. Errors of the rooms become RFC 9457 problems here and nowhere else; what nobody
foresaw becomes `internal` with the request's id, and its places (never its words) go to the log.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from ibkr_bridge import events
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.value_types import is_loopback
from ibkr_bridge.errors import (
    BadKey,
    BadRequest,
    BridgeError,
    ForeignHost,
    ForeignOrigin,
    Internal,
    Stopping,
    WrongScope,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.web import BUS, DRAIN, KEYS, SCRUBBER, SETTINGS, VISIT
from ibkr_bridge.web.credential import shown
from ibkr_bridge.web.door import HINT, NAME, Door
from ibkr_bridge.web.peer import is_broken, is_left
from ibkr_bridge.web.routes import OPEN, find_out, is_socket
from ibkr_bridge.web.target import read_target
from ibkr_bridge.web.visit import Visit, request_id

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PAGE = re.compile(r"https?://([^/?#@\s]+)")  # an Origin, and the host in it
TRY_AGAIN = 5.0  # seconds a restart takes at most, told to callers while the bridge drains


def pipeline() -> tuple[Middleware, ...]:
    """What every request passes, outermost first."""
    return (
        followed,  # an id for the log and the reply; one line, one measurement; who is inside is counted here
        admitted,  # one question after the other, see CHECKS; errors become JSON, inside, so that they are followed
    )


@web.middleware
async def followed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id (the caller's own, where it carries no secret), and the log one line, however it ends."""
    app = request.app
    visit = request[VISIT] = Visit(request_id(request.headers.get("X-Request-ID"), app[SCRUBBER]), time.monotonic())
    status = 499  # nobody was left to be told
    try:
        with app[DRAIN].request:
            response = await handler(request)
            if visit.told is not None:
                visit.told(await arrives(request, response))
                _if_reset(request, visit.told)
        status = response.status
        return response
    finally:
        ms = round((time.monotonic() - visit.began) * 1000, 1)
        label = visit.key.label if visit.key else "none"
        app[BUS].announce(
            events.RequestServed(
                visit.request_id, label, request.method, visit.route, status, ms, visit.source, visit.code
            )
        )


async def arrives(request: web.Request, response: web.StreamResponse) -> bool:
    """Write a reply here and now, and say whether its caller was still there to take it."""
    if not is_there(request):
        return False
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return request.transport is not None and not request.transport.is_closing()


def _if_reset(request: web.Request, told: Callable[[bool], None]) -> None:
    """A connection that is reset before anything else is asked was closed by a caller who had not read the reply."""
    if isinstance(request.protocol, Door):
        request.protocol.on_reset = lambda: told(False)


def unread(request: web.Request) -> Callable[[], bool]:
    """Asks whether a connection has been reset since: the loop may hear of it after the caller's next one."""
    door = request.protocol

    def ask() -> bool:
        waits = isinstance(door, Door) and door.on_reset is not None
        transport = door.transport if waits and door is not None else None
        return transport is not None and is_broken(transport)

    return ask


def is_there(request: web.Request) -> bool:
    """Whether a caller's connection stands; one that was closed is noticed here even before the event loop tells."""
    transport = request.transport
    return transport is not None and not transport.is_closing() and not is_left(transport)


@web.middleware
async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask all that has to be asked at the door; what refuses, there or inside, becomes what HTTP says."""
    visit = request[VISIT]
    try:
        for check in CHECKS:
            check(request, visit)
        return await handler(request)
    except BridgeError as exc:
        return problem(request, exc)
    except web.HTTPException as exc:
        return problem(request, FROM_AIOHTTP.get(exc.status, BadRequest)("the request could not be taken"))
    except ConnectionError:
        raise  # the caller has gone, or its reply was cut on purpose
    except Exception as exc:  # our own bug: the caller learns the id, the log learns the place
        request.app[BUS].announce(events.RequestFailed(visit.request_id, type(exc).__name__, events.where(exc)))
        return problem(request, Internal("something went wrong inside the bridge"))


FROM_AIOHTTP: dict[int, type[BridgeError]] = {500: Internal}


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


def problem(request: web.Request, error: BridgeError) -> web.Response:
    """An error as `application/problem+json` (RFC 9457)."""
    visit = request[VISIT]
    visit.code = error.code
    body = {
        "type": f"urn:ibkr-bridge:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "error": error.detail,  # IBKR's own clients read this member
        "code": error.code,
        "hint": error.hint,
        "request_id": error.request_id or visit.request_id,
        "retryable": error.retryable,
    }
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return web.Response(
        status=error.status, body=json.dumps(body).encode(), headers=headers, content_type="application/problem+json"
    )


NO_STORE = "no-store"
ON_EVERY_REPLY = {
    hdrs.SERVER: NAME,
    hdrs.CACHE_CONTROL: NO_STORE,
    "X-Content-Type-Options": "nosniff",
}
LET_GO_FIRST = f"timeout={HINT:.0f}"


def always(settings: Settings) -> dict[str, str]:
    """The headers that stand on every reply, whatever it says."""
    return {**ON_EVERY_REPLY, "X-Bridge-Mode": settings.trading_mode.value}


def common(settings: Settings) -> dict[str, str]:
    """Those of every reply on a kept connection."""
    return {**always(settings), "Keep-Alive": LET_GO_FIRST}


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every reply; hung into `on_response_prepare`, so that streams have them too."""
    visit = request.get(VISIT)
    headers = response.headers
    caching = headers.get(hdrs.CACHE_CONTROL, NO_STORE)  # a stream says more than others
    headers.update(always(request.app[SETTINGS]))
    headers[hdrs.CACHE_CONTROL] = caching
    if visit is not None:
        headers["X-Request-ID"] = visit.request_id
        headers["X-Bridge-Source"] = visit.source
        if visit.order is not None and visit.order.state is not None:
            headers["X-Bridge-Order"] = visit.order.id
            headers["X-Bridge-Order-State"] = visit.order.state.value
        if visit.age is not None:
            headers[hdrs.AGE] = str(int(visit.age))
        if visit.untyped:
            headers.pop(hdrs.CONTENT_TYPE, None)
        timing = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in visit.spans if seconds is not None]
        if timing:
            headers["Server-Timing"] = ", ".join(timing)
    if request.app[DRAIN].ending:
        response.force_close()
        headers[hdrs.CONNECTION] = "close"  # aiohttp chose it before it asked us
    if response.keep_alive:
        headers["Keep-Alive"] = LET_GO_FIRST
