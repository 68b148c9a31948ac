"""The headers that every response carries."""

from __future__ import annotations

from aiohttp import hdrs, web

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.server.app_keys import DRAIN, SETTINGS, VISIT
from ibkr_bridge.server.connection import HINT, NAME

NO_STORE = "no-store"
ON_EVERY_REPLY = {
    hdrs.SERVER: NAME,
    hdrs.CACHE_CONTROL: NO_STORE,
    "X-Content-Type-Options": "nosniff",
}
LET_GO_FIRST = f"timeout={HINT:.0f}"


def always(settings: Settings) -> dict[str, str]:
    """The headers that stand on every reply, whatever it says."""
    return {**ON_EVERY_REPLY, "X-Bridge-Mode": settings.trading_mode.value}


def common(settings: Settings) -> dict[str, str]:
    """Those of every reply on a kept connection."""
    return {**always(settings), "Keep-Alive": LET_GO_FIRST}


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every reply; hung into `on_response_prepare`, so that streams have them too."""
    visit = request.get(VISIT)
    headers = response.headers
    caching = headers.get(hdrs.CACHE_CONTROL, NO_STORE)  # a stream says more than others
    headers.update(always(request.app[SETTINGS]))
    headers[hdrs.CACHE_CONTROL] = caching
    if visit is not None:
        headers["X-Request-ID"] = visit.request_id
        headers["X-Bridge-Source"] = visit.source
        if visit.order is not None and visit.order.state is not None:
            headers["X-Bridge-Order"] = visit.order.id
            headers["X-Bridge-Order-State"] = visit.order.state.value
        if visit.age is not None:
            headers[hdrs.AGE] = str(int(visit.age))
        if visit.untyped:
            headers.pop(hdrs.CONTENT_TYPE, None)
        timing = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in visit.spans if seconds is not None]
        if timing:
            headers["Server-Timing"] = ", ".join(timing)
    if request.app[DRAIN].ending:
        response.force_close()
        headers[hdrs.CONNECTION] = "close"  # aiohttp chose it before it asked us
    if response.keep_alive:
        headers["Keep-Alive"] = LET_GO_FIRST
