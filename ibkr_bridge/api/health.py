"""The four open routes: no key, no side effect, nothing secret, and the truth."""

from __future__ import annotations

import json

from aiohttp import web

from ibkr_bridge.clock import utc_text
from ibkr_bridge.profiles.profile import Line
from ibkr_bridge.server.app_keys import DRAIN, LINES, MAIN, PULSE
from ibkr_bridge.session.state_machine import Session, State

SERVING = b'{"status":"ok","bridge":"running"}'
DRAINING = b'{"status":"stopping","bridge":"draining"}'


async def health(request: web.Request) -> web.Response:
    """Whether this process can serve; says nothing of the Gateway."""
    draining = request.app[DRAIN].is_on
    return web.Response(
        status=503 if draining else 200, body=DRAINING if draining else SERVING, content_type="application/json"
    )


async def livez(request: web.Request) -> web.Response:
    """Whether the loops are alive and the event loop is on time; systemd and containers restart us where not."""
    trouble = request.app[PULSE].trouble() or request.app[LINES][MAIN].keeper.trouble()
    return web.Response(status=503 if trouble else 200, text=trouble or "ok")


async def readyz(request: web.Request) -> web.Response:
    """Whether a brokerage call would work now."""
    line = request.app[LINES][MAIN]
    reason = _not_ready(request, line, await line.keeper.fresh())
    return web.Response(status=503 if reason else 200, text=reason or "ready")


def _not_ready(request: web.Request, line: Line, session: Session) -> str | None:
    if request.app[DRAIN].is_on:
        return "stopping: the bridge is draining"
    if session.state is not State.READY:
        return f"{session.reason}: {line.keeper.hint(session)}"
    if line.penalty.box_left:
        return f"penalty_box: IBKR refuses everything for another {line.penalty.box_left:.0f} s"
    if line.gateway.ghosts >= line.turns.limits.places - line.turns.limits.for_orders:
        return "busy: the Gateway's places are held by calls it never answered; restart it if this lasts"
    return "paused: POST /gateway/resume lets new orders through again" if line.pause.is_on else None


async def auth_status(request: web.Request) -> web.Response:
    """Whether the brokerage session is open; never from a view older than five seconds."""
    keeper = request.app[LINES][MAIN].keeper
    session = await keeper.fresh()
    if session.state is State.READY:
        return web.Response(text='{"authenticated": true}', content_type="application/json")
    body = {
        "authenticated": False,
        "reason": session.reason,
        "hint": keeper.hint(session),
        "since": utc_text(keeper.since if session is keeper.session else keeper.utc()),
    }
    return web.Response(text=json.dumps(body), content_type="application/json")
