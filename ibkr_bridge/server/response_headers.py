"""The headers that every response carries."""

from __future__ import annotations

from aiohttp import hdrs, web
from multidict import CIMultiDict

from ibkr_bridge.server.app_keys import DRAIN, REQUEST_CONTEXT, settings_of
from ibkr_bridge.server.connection import KEEPALIVE_HINT_S, SERVER_NAME
from ibkr_bridge.server.request_context import RequestContext

NO_STORE = "no-store"
FIXED_HEADERS = {
    hdrs.SERVER: SERVER_NAME,
    hdrs.CACHE_CONTROL: NO_STORE,
    "X-Content-Type-Options": "nosniff",
}
KEEPALIVE_HEADER = f"timeout={KEEPALIVE_HINT_S:.0f}"


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of every response. It is a handler of `on_response_prepare`, so that streams get them too."""
    context: RequestContext | None = request.get(REQUEST_CONTEXT)
    headers, app = response.headers, request.app
    caching = headers.get(hdrs.CACHE_CONTROL, NO_STORE)  # a stream has a value of its own
    headers.update(FIXED_HEADERS)
    headers["X-Bridge-Mode"] = settings_of(request).trading_mode.value
    headers[hdrs.CACHE_CONTROL] = caching
    if context is not None:
        _add_of_request(headers, context)
        context.is_head_sent = True
    if app[DRAIN].is_ending:
        response.force_close()
        headers[hdrs.CONNECTION] = "close"  # aiohttp has set it before it calls this
    if response.keep_alive:
        headers["Keep-Alive"] = KEEPALIVE_HEADER


def _add_of_request(headers: CIMultiDict[str], context: RequestContext) -> None:
    """Add what is known of the request."""
    headers["X-Request-ID"] = context.request_id
    headers["X-Bridge-Source"] = context.source
    if (order := context.shown_order) is not None and order.state is not None:
        headers["X-Bridge-Order"] = order.id
        headers["X-Bridge-Order-State"] = order.state.value
    if context.warning:
        headers["X-Bridge-Warning"] = context.warning
    if context.age_s is not None:
        headers[hdrs.AGE] = str(int(context.age_s))
    if context.no_content_type:
        headers.pop(hdrs.CONTENT_TYPE, None)
    if timing := context.server_timing:
        headers["Server-Timing"] = timing
