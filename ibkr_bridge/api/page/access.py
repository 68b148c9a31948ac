"""`GET /` serves the page; `POST /page/session` trades the token of `bridge.py open` for a cookie.

The page itself contains no data and needs no key. The cookie cannot be read by scripts (HttpOnly), is not sent with
requests that another site starts (SameSite=Strict), is sent to `/page` only, and ends with its token. It has no
`Secure`, since the bridge speaks HTTP on loopback.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aiohttp import hdrs, web

from ibkr_bridge.api.documents import content_security_policy
from ibkr_bridge.clock import utc_text
from ibkr_bridge.errors import InvalidKey
from ibkr_bridge.server.app_keys import CLOCK, KEYRING, REQUEST_CONTEXT
from ibkr_bridge.server.credentials import PAGE_COOKIE
from ibkr_bridge.server.keyring import Principal, key_from_headers

PATH = "/page"
FOLDER = Path(__file__).parent.parent / "pages" / "operator"
SCRIPTS = (
    *("dom.js", "uplot.iife.min.js", "words.js", "session.js", "history.js", "traffic.js", "orders.js", "requests.js"),
    *("faults.js", "main.js"),
)
"""In the order in which the page runs them; each adds to the object `app`, and `main.js` starts."""
STYLES = ("uplot.min.css", "page.css")


async def index(_: web.Request) -> web.Response:
    """The page, with its scripts and styles inside."""
    body = document()
    headers = {"Content-Security-Policy": content_security_policy(body), "Referrer-Policy": "no-referrer"}
    return web.Response(body=body, headers=headers, content_type="text/html", charset="utf-8")


@cache
def document() -> bytes:
    """The page as one file."""
    page = (FOLDER / "page.html").read_bytes()
    return page.replace(b"{{ styles }}", _joined(STYLES)).replace(b"{{ scripts }}", _joined(SCRIPTS))


def _joined(names: tuple[str, ...]) -> bytes:
    return b"\n".join((FOLDER / name).read_bytes() for name in names)


async def open_session(request: web.Request) -> web.Response:
    """Trade the token of an address for a cookie that lasts as long. It can be done once."""
    token = key_from_headers(request.headers) if hdrs.AUTHORIZATION in request.headers else None
    if token is None:
        raise InvalidKey("the token is missing", hint="run `bridge.py open` again")
    text, claims = request.app[KEYRING].trade_for_cookie(token)
    seconds = max(1, int((claims.expires - request.app[CLOCK].utc()).total_seconds()))
    response = web.json_response({"expires": utc_text(claims.expires)})
    response.set_cookie(PAGE_COOKIE, text, max_age=seconds, path=PATH, httponly=True, samesite="Strict")
    return response


async def close_session(_: web.Request) -> web.Response:
    """Take the cookie away."""
    response = web.json_response({})
    response.del_cookie(PAGE_COOKIE, path=PATH, httponly=True, samesite="Strict")
    return response


def principal_of(request: web.Request) -> Principal:
    """Whose page it is.

    Raises:
        InvalidKey: the request has no valid token of the page.
    """
    principal = request[REQUEST_CONTEXT].principal
    if principal is None:
        raise InvalidKey("the page needs a token", hint="run `bridge.py open` again")
    return principal
