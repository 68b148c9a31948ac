"""An error as application/problem+json (RFC 9457); this is the only place that writes one."""

from __future__ import annotations

import json
import math

import msgspec
from aiohttp import web

from ibkr_bridge.config.settings import RoadKind
from ibkr_bridge.errors import (
    BridgeError,
    Internal,
)
from ibkr_bridge.models.problem import Problem
from ibkr_bridge.models.session import Action, ActionKind
from ibkr_bridge.server.app_keys import REQUEST_CONTEXT, settings_of
from ibkr_bridge.server.user_messages import Advice, advice_on

AIOHTTP_ERRORS: dict[int, type[BridgeError]] = {500: Internal}


def _sign_in_url(request: web.Request, advice: Advice) -> str | None:
    if advice.kind is not ActionKind.SIGN_IN:
        return None
    settings = settings_of(request)
    return str(settings.gateway_url) if settings.road is RoadKind.GATEWAY else None


def problem_response(request: web.Request, error: BridgeError) -> web.Response:
    """An error as `application/problem+json` (RFC 9457)."""
    request_context = request[REQUEST_CONTEXT]
    request_context.code = error.code
    request_context.source, request_context.age_s = "bridge", None  # also if the bridge fetched something before
    advice = advice_on(error)
    problem = Problem(
        type=f"urn:ibkr-bridge:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        error=error.detail,
        code=error.code,
        hint=error.hint,
        request_id=error.request_id or request_context.request_id,
        retryable=error.retryable,
        field=error.field,
        order_id=request_context.shown_order.id if request_context.shown_order else None,
        user_message=advice.user_message,
        action=Action(advice.kind, _sign_in_url(request, advice)),
    )
    body = {**msgspec.to_builtins(problem), **error.members}
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return web.Response(
        status=error.status, body=json.dumps(body).encode(), headers=headers, content_type="application/problem+json"
    )
