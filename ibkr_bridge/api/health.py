"""The four open routes: they need no key, have no side effect and show no secret."""

from __future__ import annotations

import json

from aiohttp import web

from ibkr_bridge.api.present_conditions import conditions_of
from ibkr_bridge.clock import utc_text
from ibkr_bridge.server.app_keys import DRAIN, LOOP_MONITOR, profile_of
from ibkr_bridge.session.state_machine import SessionState

RUNNING_BODY = b'{"status":"ok","bridge":"running"}'
DRAINING_BODY = b'{"status":"stopping","bridge":"draining"}'


async def health(request: web.Request) -> web.Response:
    """Whether this process can serve, regardless of the Gateway."""
    is_draining = request.app[DRAIN].is_draining
    return web.Response(
        status=503 if is_draining else 200,
        body=DRAINING_BODY if is_draining else RUNNING_BODY,
        content_type="application/json",
    )


async def livez(request: web.Request) -> web.Response:
    """Whether all loops run and the event loop is on time. If not, systemd or Docker restarts the bridge."""
    problem = request.app[LOOP_MONITOR].problem() or profile_of(request).keeper.problem()
    return web.Response(status=503 if problem else 200, text=problem or "ok")


async def readyz(request: web.Request) -> web.Response:
    """Whether brokerage calls and orders work now; if not, the most important condition that stops them."""
    profile = profile_of(request)
    conditions = conditions_of(request, profile, await profile.keeper.current())
    first = next((each for each in conditions if each.stops), None)
    return web.Response(status=503 if first else 200, text=first.line if first else "ready")


async def auth_status(request: web.Request) -> web.Response:
    """Whether the brokerage session is open, as of a check that is at most five seconds old.

    With `?verbose=1` the answer has IBKR's own words as well, redacted.
    """
    keeper = profile_of(request).keeper
    session = await keeper.current()
    is_verbose = request.query.get("verbose") == "1"
    if session.state is SessionState.READY and not is_verbose:
        return web.Response(text='{"authenticated": true}', content_type="application/json")
    if session.state is SessionState.READY:
        return web.json_response({"authenticated": True, "ibkr_message": keeper.ibkr_message})
    body = {
        "authenticated": False,
        "reason": session.reason,
        "hint": keeper.hint(session),
        "since": utc_text(keeper.since if session is keeper.session else keeper.utc()),
    }
    if is_verbose:
        body["ibkr_message"] = keeper.ibkr_message
    return web.Response(text=json.dumps(body), content_type="application/json")
