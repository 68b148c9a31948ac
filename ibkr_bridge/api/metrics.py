"""`GET /metrics`: what Prometheus reads."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.observe.metrics import CONTENT_TYPE
from ibkr_bridge.server.app_keys import METRICS


async def metrics(request: web.Request) -> web.Response:
    """All metrics as text. Nothing is asked of the Gateway for them."""
    return web.Response(body=await request.app[METRICS](), headers={"Content-Type": CONTENT_TYPE})
