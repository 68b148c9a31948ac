"""Sign-in calls, answered by the keeper in IBKR's own shapes.

Clients of this API poll `/tickle` and `auth/status` and ask for the session whenever they feel like it. The keeper
knows the answers already, and rations what would reach IBKR; so callers may ask as often as they like.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from ibkr_bridge.errors import MethodNotAllowed
from ibkr_bridge.ibkr.catalogue import AUTH_STATUS, REAUTHENTICATE, SSODH_INIT, TICKLE
from ibkr_bridge.profiles.profile import Profile

SessionHandler = Callable[[web.Request, Profile], Awaitable[web.StreamResponse]]


def _check_method(request: web.Request, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed("this call is not made with this method", ", ".join(methods))


async def tickle(request: web.Request, profile: Profile) -> web.Response:
    """IBKR's tickle, with the session id clients read for their WebSocket."""
    _check_method(request, "GET", "POST")
    await profile.session_gate.require_login()
    keeper = profile.keeper
    await keeper.wait_until_tickled()  # the session may have come up this very moment
    body = {**keeper.tickle, "iserver": {"authStatus": dict(keeper.status_body)}}
    if keeper.login_expires is not None:
        left = (keeper.login_expires - keeper.utc()).total_seconds()
        body["ssoExpires"] = max(0, round(left * 1000))
    return web.json_response(body)


async def auth_status(request: web.Request, profile: Profile) -> web.Response:
    """IBKR's brokerage session status."""
    _check_method(request, "GET", "POST")
    await profile.session_gate.require_login()
    return web.json_response(dict(profile.keeper.status_body))


async def open_session(request: web.Request, profile: Profile) -> web.Response:
    """A request for the brokerage session: the keeper looks, and asks IBKR only where it is lost."""
    _check_method(request, "POST")
    await profile.keeper.reopen()
    await profile.session_gate.require_login()
    return web.json_response(dict(profile.keeper.status_body))


async def reauthenticate(request: web.Request, profile: Profile) -> web.Response:
    """The old way to ask for it; like the Gateway's, its answer proves nothing."""
    _check_method(request, "GET", "POST")
    profile.keeper.request_check()
    await profile.session_gate.require_login()
    return web.json_response({"message": "triggered"})


SESSION_ROUTES: Mapping[tuple[str, ...], SessionHandler] = {
    TICKLE: tickle,
    AUTH_STATUS: auth_status,
    SSODH_INIT: open_session,
    REAUTHENTICATE: reauthenticate,
}
