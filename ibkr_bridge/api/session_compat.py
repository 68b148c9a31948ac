"""Sign-in calls, answered by the keeper in IBKR's own shapes.

Clients of this API poll `/tickle` and `auth/status` and ask for the session whenever they feel like it. The keeper
knows the answers already, and rations what would reach IBKR; so callers may ask as often as they like.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from ibkr_bridge.errors import WrongMethod
from ibkr_bridge.ibkr.catalogue import AUTH_STATUS, REAUTHENTICATE, SSODH_INIT, TICKLE
from ibkr_bridge.profiles.profile import Line

Answering = Callable[[web.Request, Line], Awaitable[web.StreamResponse]]


def _only(request: web.Request, *methods: str) -> None:
    if request.method not in methods:
        raise WrongMethod("this call is not made with this method", ", ".join(methods))


async def tickle(request: web.Request, line: Line) -> web.Response:
    """IBKR's tickle, with the session id clients read for their WebSocket."""
    _only(request, "GET", "POST")
    await line.signed_in()
    keeper = line.keeper
    await keeper.until_tickled()  # the session may have come up this very moment
    body = {**keeper.tickle, "iserver": {"authStatus": dict(keeper.status_body)}}
    if keeper.login_expires is not None:
        left = (keeper.login_expires - keeper.utc()).total_seconds()
        body["ssoExpires"] = max(0, round(left * 1000))
    return web.json_response(body)


async def auth_status(request: web.Request, line: Line) -> web.Response:
    """IBKR's brokerage session status."""
    _only(request, "GET", "POST")
    await line.signed_in()
    return web.json_response(dict(line.keeper.status_body))


async def open_session(request: web.Request, line: Line) -> web.Response:
    """A request for the brokerage session: the keeper looks, and asks IBKR only where it is lost."""
    _only(request, "POST")
    await line.keeper.reopen()
    await line.signed_in()
    return web.json_response(dict(line.keeper.status_body))


async def reauthenticate(request: web.Request, line: Line) -> web.Response:
    """The old way to ask for it; like the Gateway's, its answer proves nothing."""
    _only(request, "GET", "POST")
    line.keeper.doubt()
    await line.signed_in()
    return web.json_response({"message": "triggered"})


FROM_THE_KEEPER: Mapping[tuple[str, ...], Answering] = {
    TICKLE: tickle,
    AUTH_STATUS: auth_status,
    SSODH_INIT: open_session,
    REAUTHENTICATE: reauthenticate,
}
