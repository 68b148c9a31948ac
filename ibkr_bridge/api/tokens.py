"""Tokens for pages: the app's server asks for one with its key, and hands it to the browser."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.clock import utc_text
from ibkr_bridge.errors import BadKey
from ibkr_bridge.server.app_keys import BUS, KEYS, VISIT
from ibkr_bridge.server.request_parsing import whole_body
from ibkr_bridge.server.tokens import wanted


async def token(request: web.Request) -> web.Response:
    """A token of the scope and for the time that the body asks for."""
    visit = request[VISIT]
    if visit.key is None:
        raise BadKey("the key is missing or wrong")
    asked = wanted(await whole_body(request))
    text, claims = request.app[KEYS].issue(visit.key, asked)
    expires, scope = utc_text(claims.expires), claims.scope.value
    request.app[BUS].announce(events.TokenIssued(visit.request_id, visit.key.label, claims.name, scope, str(expires)))
    told = {"token": text, "token_type": "Bearer", "expires_in": asked.seconds, "expires": expires, "scope": scope}
    return web.json_response(told)
