"""What a route is called in the document: its operation id, and the readers that it is for. Pure.

Generators make a function of each operation. So an id is a verb and its object in camelCase, which is a good name in
TypeScript and in most other languages.
"""

from __future__ import annotations

import re

from ibkr_bridge.api.route import Route

OPERATION_IDS = {  # of handlers whose own name is no good name of a function; the others are written in camelCase
    "GET /health": "getHealth",
    "GET /livez": "getLiveness",
    "GET /readyz": "getReadiness",
    "GET /gateway/auth-status": "getAuthStatus",
    "GET /gateway/status": "getStatus",
    "GET /gateway/history": "getBridgeHistory",
    "GET /gateway/history/changes": "getBridgeHistoryChanges",
    "POST /gateway/reconnect": "reconnect",
    "POST /gateway/pause": "pauseTrading",
    "POST /gateway/resume": "resumeTrading",
    "POST /gateway/logout": "logOut",
    "GET /profiles": "listProfiles",
    "POST /profiles": "createProfile",
    "DELETE /profiles/{name}": "forgetProfile",
    "POST /profiles/{name}/keys": "addProfileKey",
    "POST /profiles/{name}/credential": "importCredential",
    "POST /profiles/{name}/check": "checkCredential",
    "GET /profiles/{name}/status": "getProfileStatus",
    "GET /profiles/{name}/history": "getProfileHistory",
    "POST /profiles/{name}/connection": "beginConnection",
    "GET /profiles/{name}/connection": "getConnection",
    "POST /profiles/{name}/connection/verifier": "verifyConnection",
    "DELETE /profiles/{name}/connection": "endConnection",
    "POST /profiles/{name}/pause": "pauseProfile",
    "POST /profiles/{name}/resume": "resumeProfile",
    "POST /profiles/{name}/logout": "logOutProfile",
    "GET /events": "streamEvents",
    "GET /stream/quotes": "streamQuotes",
    "GET /stream/orders": "streamOrders",
    "GET /stream/trades": "streamTrades",
    "GET /stream/pnl": "streamPnl",
    "GET /stream/session": "streamSession",
    "GET /v1/api/ws": "openGatewayWebsocket",
    "GET /openapi.json": "getOpenapi",
    "GET /metrics": "getMetrics",
    "GET /docs": "getDocs",
    "GET /client.ts": "getTypescriptClient",
}
TAGS = (  # the first pattern that matches a path decides
    (r"/(stream/|events)", "Streams"),
    (r"/(ws|v1/api/ws)", "IBKR's protocol"),
    (r"/(health|livez|readyz|gateway/|profiles|consumer)", "Operation"),
    (r"/(auth/|openapi|docs|client)", "Development"),
    (r"/", "Trading"),
)
TAG_TEXTS = {
    "Trading": "For apps: accounts, instruments, quotes and orders.",
    "Streams": "For apps: Server-Sent Events that do not end by themselves.",
    "Development": "For developers: tokens for pages, and this description.",
    "Operation": "For operators and monitors: profiles, the session, the trading pause and health.",
    "IBKR's protocol": "For programs that speak IBKR's websocket protocol already.",
}


def operation_id(route: Route) -> str:
    """The name of a function that calls the route."""
    name = OPERATION_IDS.get(f"{route.method} {route.path}")
    return name or re.sub(r"_(\w)", lambda match: match[1].upper(), route.handler.__name__)


def tag(route: Route) -> str:
    """The readers that a route is for."""
    return next(name for pattern, name in TAGS if re.match(pattern, route.path))
