"""Tokens for web pages: the server of the app requests one with its key and passes it to the browser."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge import events
from ibkr_bridge.clock import utc_text
from ibkr_bridge.errors import InvalidKey
from ibkr_bridge.server.app_keys import BUS, KEYRING, REQUEST_CONTEXT
from ibkr_bridge.server.request_parsing import read_body
from ibkr_bridge.server.tokens import parse_token_request


async def issue_token(request: web.Request) -> web.Response:
    """Issue a token with the scope and the lifetime of the request body."""
    request_context = request[REQUEST_CONTEXT]
    if request_context.principal is None:
        raise InvalidKey("the key is missing or wrong")
    token_request = parse_token_request(await read_body(request))
    text, claims = request.app[KEYRING].issue(request_context.principal, token_request, request_context.profile)
    expires, scope = utc_text(claims.expires), claims.scope.value
    request.app[BUS].publish(
        events.TokenIssued(
            *(request_context.request_id, request_context.principal.label, claims.token_id, scope, str(expires)),
            profile=request_context.profile,
        )
    )
    return web.json_response(
        {
            "token": text,
            "token_type": "Bearer",
            "expires_in": token_request.ttl_s,
            "expires": expires,
            "scope": scope,
        }
    )
