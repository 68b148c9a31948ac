"""What the Gateway does with a target: forward it, answer it, or stay silent. Pure tables.

IBKR decides whether a call is allowed, not the Gateway. The few rules that the Gateway has of its own are strange, and
each of them was observed on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ibkr_bridge.sim.gateway.wire import METHODS, Head, Headers

REMOTE = "https://api.ibkr.com"


@dataclass(frozen=True)
class Settings:
    """The part of the Gateway's configuration file that shows on the wire, with the shipped file's values."""

    allow: tuple[str, ...] | None = ("10.*", "192.*", "131.216.*", "127.0.0.1")
    deny: tuple[str, ...] | None = ("212.90.324.10",)
    cors: str = "*"


OWN_PAGES_ONLY = Settings(cors=r"https://(localhost|127\.0\.0\.1):\d+")
"""The rule for pages that deploy/inputs/conf.yaml has, for a Gateway on any port."""


@dataclass(frozen=True)
class OwnResponse:
    """A response of the Gateway's own. It has a length, or it comes in chunks, one for each piece."""

    status: int
    reason: str
    pieces: tuple[str, ...] = ()
    headers: Headers = ()
    is_chunked: bool = False


FORWARDED = re.compile(r"/sso/.*|/v1/(api|portal)/.*|/(css|scripts|stylesheet|images|fonts).*", re.DOTALL)
SERVICE = re.compile(r"/v1/(portal|am|api|tws)/.*", re.DOTALL)
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
NO_SCHEME = re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]*:)[^/?#]*:")
HIJACK = re.compile(r"[?&;]param1=([^&;]*)", re.IGNORECASE)
REAUTHENTICATE = re.compile(r"/v1/(api|portal)/iserver/reauthenticate")


def is_unanswerable(head: Head) -> bool:
    """Whether the Gateway never answers this request."""
    return head.method not in METHODS or BAD_ESCAPE.search(head.target) is not None or head.path == "/status"


def is_invalid_uri(target: str) -> bool:
    """Whether the Gateway cannot parse this target as a URI. It parses only the targets of websockets."""
    return BAD_ESCAPE.search(target) is not None or NO_SCHEME.match(target) is not None


def is_allowed(settings: Settings, address: str) -> bool:
    """Whether a client's address has access; without either list every address has."""
    if settings.allow is None or settings.deny is None:
        return True
    fits = any(_matches_address(pattern, address) for pattern in settings.allow)
    return fits and not any(_matches_address(pattern, address) for pattern in settings.deny)


def _matches_address(pattern: str, address: str) -> bool:
    """Compare an address with a pattern. Only stars have a meaning: a mask such as 0.0.0.0/0 matches nothing."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), address) is not None


def cors_headers(settings: Settings, origin: str | None) -> Headers:
    """The headers that the Gateway adds to its own responses to a request with an Origin, not to those of IBKR."""
    if origin is None:
        return ()
    return (("Access-Control-Allow-Origin", "*" if settings.cors == "*" else origin),)


def cors_response(settings: Settings, head: Head) -> OwnResponse | None:
    """The Gateway's own response to a foreign origin or to a preflight; None for other requests."""
    origin = head.get("Origin")
    if origin is None:
        return None
    if settings.cors != "*" and re.fullmatch(settings.cors, origin) is None:
        return OwnResponse(403, "CORS Rejected - Invalid origin")
    if head.method == "OPTIONS" and head.get("Access-Control-Request-Method") is not None:
        methods = ("Access-Control-Allow-Methods", "POST,GET,OPTIONS,DELETE,PUT")
        return OwnResponse(
            204, "No Content", headers=(methods, ("Access-Control-Allow-Headers", "Content-Type,portal,Cookie"))
        )
    return None


DENIED = OwnResponse(404, "Not Found", ("Access Denied",))
LOGIN_PAGE = "/sso/Login?forwardTo=22&RL=1&ip2loc=US"


def own_response(head: Head, logged_in: bool) -> OwnResponse | None:
    """The Gateway's own response to a request; None if the request is forwarded. `/clear` also empties the jar."""
    return next((response for rule in OWN_RULES if (response := rule(head, logged_in)) is not None), None)


def _reject_relative_path(head: Head, logged_in: bool) -> OwnResponse | None:
    return None if head.path.startswith("/") else OwnResponse(404, "Not Found", ("Not Found",))


def _redirect_to_login(head: Head, logged_in: bool) -> OwnResponse | None:
    return _redirect(LOGIN_PAGE) if head.path == "/" else None


def _confirm_clear(head: Head, logged_in: bool) -> OwnResponse | None:
    return OwnResponse(200, "OK", ("cleared",)) if head.path == "/clear" else None


def _confirm_reauthenticate(head: Head, logged_in: bool) -> OwnResponse | None:
    if not REAUTHENTICATE.fullmatch(head.path):
        return None
    body = '{"message":"triggered"}' if logged_in else '{"error":"not logged in"}'
    return OwnResponse(200, "OK", (body,), (("Content-Type", "application/json; charset=utf-8"),))


def _unknown_service(head: Head, logged_in: bool) -> OwnResponse | None:
    match = SERVICE.fullmatch(head.path)
    if match is None:
        return None
    hijacked = HIJACK.search(head.target)
    service = hijacked[1] if hijacked else match[1]
    return (
        None if service in ("api", "portal") else OwnResponse(200, "OK", ("Unknown service ", service), is_chunked=True)
    )


def _demo_page(head: Head, logged_in: bool) -> OwnResponse | None:
    return OwnResponse(200, "OK", ("<html>A demonstration</html>",)) if head.path.startswith("/demo/") else None


def _redirect_to_ibkr(head: Head, logged_in: bool) -> OwnResponse | None:
    return None if FORWARDED.fullmatch(head.path) else _redirect(f"{REMOTE}{head.path}")


def _redirect(location: str) -> OwnResponse:
    return OwnResponse(302, "Found", headers=(("Location", location),), is_chunked=True)


OWN_RULES: tuple[Callable[[Head, bool], OwnResponse | None], ...] = (
    _reject_relative_path,
    _redirect_to_login,
    _confirm_clear,
    _confirm_reauthenticate,
    _unknown_service,
    _demo_page,
    _redirect_to_ibkr,
)


def upstream_target(target: str) -> str:
    """The forwarded target: the same bytes, except that `/v1/portal` is replaced and bytes beyond ASCII are doubled."""
    doubled = target.encode("utf-8").decode("latin-1")  # each Latin-1 character read becomes two bytes of UTF-8
    return doubled.replace("/v1/portal", "/v1/api")


DROPPED_REQUEST_HEADERS = frozenset({"host", "accept-encoding", "cookie", "transfer-encoding"})
DROPPED_RESPONSE_HEADERS = frozenset({"content-length", "transfer-encoding", "content-security-policy"})


def upstream_headers(head: Head, host: str, cookie: str) -> Headers:
    """A client's headers as they are forwarded; repeated headers stay repeated."""
    forwarded = tuple(each for each in head.headers if each[0].lower() not in DROPPED_REQUEST_HEADERS)
    return (("Host", host), *forwarded, ("Cookie", cookie))


def client_headers(headers: Headers) -> Headers:
    """IBKR's headers as they reach the client, without the headers of the new framing."""
    return tuple(each for each in headers if each[0].lower() not in DROPPED_RESPONSE_HEADERS)


def is_login(head: Head, status: int) -> bool:
    """Whether the Gateway takes a response for the end of the login pages: any redirect of the dispatcher counts."""
    return status == 302 and head.path.startswith("/sso/Dispatcher")
