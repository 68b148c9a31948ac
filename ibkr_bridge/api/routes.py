"""Every route of our own, once."""

from __future__ import annotations

from ibkr_bridge.api import gateway_routes, health, orders, stream_sse, stream_websocket, tokens
from ibkr_bridge.api.passthrough import proxy

ROUTES = (
    ("GET", "/health", health.health),
    ("GET", "/livez", health.livez),
    ("GET", "/readyz", health.readyz),
    ("GET", "/gateway/auth-status", health.auth_status),
    ("HEAD", "/health", health.health),
    ("HEAD", "/livez", health.livez),
    ("HEAD", "/readyz", health.readyz),
    ("HEAD", "/gateway/auth-status", health.auth_status),
    ("GET", "/gateway/status", gateway_routes.status),
    ("POST", "/gateway/reconnect", gateway_routes.reconnect),
    ("POST", "/gateway/pause", gateway_routes.pause),
    ("POST", "/gateway/resume", gateway_routes.resume),
    ("POST", "/gateway/logout", gateway_routes.logout),
    ("POST", "/auth/token", tokens.issue_token),
    ("GET", "/stream/quotes", stream_sse.quotes),
    ("GET", "/stream/orders", stream_sse.orders),
    ("GET", "/stream/trades", stream_sse.trades),
    ("GET", "/stream/pnl", stream_sse.pnl),
    ("GET", "/stream/session", stream_sse.session),
    ("GET", "/ws", stream_websocket.open_websocket),
    ("GET", "/v1/api/ws", stream_websocket.open_websocket),
    ("GET", "/orders", orders.list_orders),
    ("GET", "/orders/{id}", orders.get_order),
    ("*", "/{tail:.*}", proxy),
)
