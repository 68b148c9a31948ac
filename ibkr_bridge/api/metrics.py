"""`GET /metrics`: what Prometheus reads."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.errors import InvalidKey
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.observe.metrics import CONTENT_TYPE
from ibkr_bridge.server.app_keys import METRICS, REQUEST_CONTEXT


async def metrics(request: web.Request) -> web.Response:
    """The metrics of the profiles that the key reaches, of all for a key that manages. Nothing is asked of IBKR."""
    principal = request[REQUEST_CONTEXT].principal
    if principal is None:
        raise InvalidKey("the key is missing or wrong")
    body = await request.app[METRICS](None if Effect.MANAGE in principal.effects else principal.profiles)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
