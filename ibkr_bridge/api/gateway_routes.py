"""The routes about the Gateway that need a key: the status, the session and the trading pause."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.api.present_conditions import conditions_of
from ibkr_bridge.errors import GatewayProtocolError, SessionUnavailable
from ibkr_bridge.profiles.status import ProfileStatus, ReconnectStatus, to_json
from ibkr_bridge.server.app_keys import CLOCK, DRAIN, REQUEST_CONTEXT, UNAPPLIED, profile_of


async def status(request: web.Request) -> web.Response:
    """Everything the bridge knows of itself and the session, with masked account numbers."""
    return web.json_response((await read_status(request)).as_json())


async def read_status(request: web.Request) -> ProfileStatus:
    """The status of the caller's profile, with the session as it was checked in the last seconds."""
    profile = profile_of(request)
    session = await profile.keeper.current()
    return profile.status(
        is_draining=request.app[DRAIN].is_draining,
        session=session,
        unapplied=request.app[UNAPPLIED].names,
        conditions=conditions_of(request, profile, session),
    )


async def reconnect(request: web.Request) -> web.Response:
    """Check the session now, and request it where calls fail, as the backoff allows; the answer says what was done."""
    keeper = profile_of(request).keeper
    report = await keeper.reopen()
    return web.json_response(to_json(ReconnectStatus(keeper.status(), report)))


async def pause(request: web.Request) -> web.Response:
    """Stop new orders; cancels are still sent."""
    profile = profile_of(request)
    is_saved = profile.trading_pause.set(_principal_name(request), request.app[CLOCK].utc())
    return web.json_response(
        {"paused": True, "by": profile.trading_pause.by, "since": profile.trading_pause.since, "kept": is_saved}
    )


async def resume(request: web.Request) -> web.Response:
    """Allow new orders again."""
    profile = profile_of(request)
    return web.json_response({"paused": False, "kept": profile.trading_pause.clear(_principal_name(request))})


def _principal_name(request: web.Request) -> str:
    principal = request[REQUEST_CONTEXT].principal
    if principal is None:
        return "nobody"
    return principal.label if principal.is_token else f"{principal.label} key"


async def logout(request: web.Request) -> web.Response:
    """End the login at IBKR; only a person or IBeam can make a new one."""
    profile = profile_of(request)
    if not profile.keeper.session.has_login:
        raise SessionUnavailable("nobody is signed in", hint="there is no login to end")
    if await profile.keeper.log_out() != 200:
        raise GatewayProtocolError("IBKR did not confirm the log-out", hint="see GET /gateway/status")
    return web.json_response(to_json(profile.keeper.status()))
