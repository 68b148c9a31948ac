"""Session calls of IBKR's API, answered by the keeper in IBKR's format.

Clients of this API poll `/tickle` and `auth/status` and request the session at any time. The keeper already has the
responses and limits the calls that reach IBKR. So callers may send these calls as often as they like.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from ibkr_bridge.errors import MethodNotAllowed
from ibkr_bridge.ibkr.catalogue import AUTH_STATUS, REAUTHENTICATE, SSODH_INIT, TICKLE
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.status import to_json
from ibkr_bridge.server.routing import method_at_ibkr

SessionHandler = Callable[[web.Request, Profile], Awaitable[web.StreamResponse]]


def _check_method(request: web.Request, *methods: str, is_read: bool = False) -> None:
    if method_at_ibkr(request.method) not in methods or (request.method == "HEAD" and not is_read):
        raise MethodNotAllowed("this call does not use this method", ", ".join(methods))


async def tickle(request: web.Request, profile: Profile) -> web.Response:
    """The response of IBKR's tickle, with the session id that clients need for their websocket."""
    _check_method(request, "GET", "POST", is_read=True)
    await profile.session_gate.require_login()
    keeper = profile.keeper
    await keeper.wait_until_tickled()  # the session may have opened a moment ago
    body = {**keeper.tickle, "iserver": {"authStatus": dict(keeper.status_body)}}
    if keeper.login_expires is not None:
        remaining_s = (keeper.login_expires - keeper.utc()).total_seconds()
        body["ssoExpires"] = max(0, round(remaining_s * 1000))
    return web.json_response(body)


async def auth_status(request: web.Request, profile: Profile) -> web.Response:
    """IBKR's status of the brokerage session."""
    _check_method(request, "GET", "POST", is_read=True)
    await profile.session_gate.require_login()
    return web.json_response(dict(profile.keeper.status_body))


async def open_session(request: web.Request, profile: Profile) -> web.Response:
    """Open the brokerage session. The keeper checks it and requests it at IBKR only where calls fail.

    The member `reopening`, which IBKR does not have, says whether it was requested, and why not.
    """
    _check_method(request, "POST")
    report = await profile.keeper.reopen()
    await profile.session_gate.require_login()
    return web.json_response({**profile.keeper.status_body, "reopening": to_json(report)})


async def reauthenticate(request: web.Request, profile: Profile) -> web.Response:
    """IBKR's older call to open the session. As at the Gateway, the response does not mean that it is open."""
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
