"""The pass-through: read a request, send it through all stages, and return the response.

Nothing is sent before the body is read and the rules are checked. A response keeps its status, body and content type; a
large one is streamed. If it ends early, the caller's connection is aborted, so that a partial response never looks
complete.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from http import HTTPStatus

from aiohttp import hdrs, web

from ibkr_bridge import events
from ibkr_bridge.api.order_submission import submit_order
from ibkr_bridge.api.session_compat import SESSION_ROUTES
from ibkr_bridge.calls.context import CallContext, CallerGone
from ibkr_bridge.calls.header_policy import response_headers
from ibkr_bridge.calls.messages import BodyStream, Response, discard
from ibkr_bridge.errors import BridgeError, GatewayError, InvalidKey, MethodNotAllowed, NotBridged, OrderUnknown
from ibkr_bridge.ibkr.endpoint import RELEASES, Effect, Endpoint
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.app_keys import (
    BUS,
    DRAIN,
    OWN_ROUTES,
    REDACTOR,
    REQUEST_CONTEXT,
    SETTINGS,
    profile_of,
)
from ibkr_bridge.server.delivery import is_connected
from ibkr_bridge.server.request_parsing import check_still_valid, read_call
from ibkr_bridge.server.request_target import Target, UpstreamTarget
from ibkr_bridge.server.routing import METHODS, OwnRoutes, resolve_upstream
from ibkr_bridge.session.ibkr_message import shown_message

CLIENT_READ_TIMEOUT_S = 15.0  # for a caller to read the next chunk of a large response
ORDER_PATH_WORDS = frozenset({"order", "orders", "reply", "notification", "questions"})  # segments of paths
STATUSES_WITHOUT_BODY = (204, 304)


async def proxy(request: web.Request) -> web.StreamResponse:
    """Handle every request that is not for a route of the bridge itself."""
    request_context = request[REQUEST_CONTEXT]
    target = request_context.target
    if target is None:
        raise NotBridged("nothing is bridged under this path")
    upstream_target = request_context.upstream_target
    if upstream_target is None:  # the path is a route of the bridge or is not bridged; both raise
        _check_own_route(target, request.app[OWN_ROUTES])
        upstream_target = resolve_upstream(target, request.app[SETTINGS])
    if request.method not in METHODS and not _is_head_of_read(request, upstream_target):
        raise MethodNotAllowed("calls to the Gateway do not use this method", ", ".join(METHODS))
    profile = profile_of(request)
    session_handler = SESSION_ROUTES.get(upstream_target.segments)
    if session_handler is not None:
        return await session_handler(request, profile)
    return await _forward(request, profile, upstream_target)


def _is_head_of_read(request: web.Request, upstream_target: UpstreamTarget) -> bool:
    """Whether the call behind a HEAD is a read. Any other call is not sent, since HEAD must change nothing.

    IBKR has GET calls that end subscriptions, and may not look at the method of its POST calls that do.
    """
    endpoint = request[REQUEST_CONTEXT].endpoint
    is_release = upstream_target.segments[-1].lower() in RELEASES
    return request.method == hdrs.METH_HEAD and endpoint is not None and endpoint.is_read and not is_release


def _check_own_route(target: Target, own_routes: OwnRoutes) -> None:
    """Raise MethodNotAllowed if the path is a route of the bridge that has other methods."""
    path = own_routes.match(target.segments)
    if path is not None:
        allowed = ", ".join(own_routes.effects[path])
        raise MethodNotAllowed("this route does not use this method", allowed)


async def _forward(request: web.Request, profile: Profile, upstream_target: UpstreamTarget) -> web.StreamResponse:
    request_context = request[REQUEST_CONTEXT]
    if request_context.endpoint is None:
        raise NotBridged("nothing is bridged under this path")
    _check_known_order_call(request_context.endpoint, upstream_target.segments)
    context = await read_call(request, request_context.endpoint, upstream_target, profile.settings.max_wait_s)
    is_order = context.endpoint.operation is not None and context.call.is_change
    request_context.timing = context.timing
    with request.app[DRAIN].order_counter if context.call.is_change else nullcontext():
        if is_order:
            response = await submit_order(request, profile, context, upstream_target.segments)
        else:
            response = await _execute(request, profile, context)
        request_context.source, request_context.age_s = context.source, context.age_s
        request_context.ibkr_message = _words_of_refusal(request, response)
        return await _to_http(request, response)


def _words_of_refusal(request: web.Request, response: Response) -> str | None:
    """IBKR's words in a refusal, redacted, for the log; None if it is none, or no explanation but a page or a text."""
    if response.status < HTTPStatus.BAD_REQUEST or response.body_stream is not None:
        return None
    if not response.body.lstrip().startswith(b"{"):
        return None
    return shown_message(response.body, request.app[REDACTOR].redact)


def _check_known_order_call(endpoint: Endpoint, segments: tuple[str, ...]) -> None:
    """Refuse an unlisted call that looks like an order call: it would not be in the journal.

    Raises:
        NotBridged: the call looks like an order call, and the catalogue does not list it.
    """
    if (
        not endpoint.is_listed
        and endpoint.effect is Effect.TRADE
        and ORDER_PATH_WORDS & {segment.lower() for segment in segments}
    ):
        raise NotBridged(
            "no order call of IBKR has this method and path", hint="docs/endpoints.md lists the order calls"
        )


async def _execute(request: web.Request, profile: Profile, context: CallContext) -> Response:
    """Execute a call. If a change was sent and its caller does not get the response, an event says so."""
    try:
        response = await profile.execute(context)
        if not context.call.is_change:
            _check_may_read(request, response)
    except CallerGone as exc:
        raise ConnectionResetError("the caller disconnected before anything was sent") from exc
    except OrderUnknown as exc:
        _publish_unknown_change(request, context, exc.detail)
        raise
    except asyncio.CancelledError:
        _publish_unknown_change(request, context, "the bridge stopped before the response came")
        raise
    if context.call.is_change and not is_connected(request):
        _publish_unknown_change(
            request, context, f"the Gateway answered {response.status}, but the caller had disconnected"
        )
    return response


def _check_may_read(request: web.Request, response: Response) -> None:
    try:
        check_still_valid(request)
    except InvalidKey:
        discard(response)
        raise


def _publish_unknown_change(request: web.Request, context: CallContext, reason: str) -> None:
    if context.call.is_change and context.is_sent:
        request_id = request[REQUEST_CONTEXT].request_id
        event = events.ChangeUnknown(
            *(request_id, request.method, context.endpoint.path, reason), profile=profile_of(request).name
        )
        request.app[BUS].publish(event)


async def _to_http(request: web.Request, response: Response) -> web.StreamResponse:
    headers = {**response_headers(response.headers), **response.bridge_headers}
    if response.body_stream is None:
        body = None if response.status in STATUSES_WITHOUT_BODY else response.body
        request[REQUEST_CONTEXT].no_content_type = hdrs.CONTENT_TYPE not in headers
        return web.Response(status=response.status, headers=headers, body=body)
    try:
        return await _stream(request, response.status, headers, response.body, response.body_stream)
    finally:
        response.body_stream.close()


async def _stream(
    request: web.Request, status: int, headers: dict[str, str], beginning: bytes, body_stream: BodyStream
) -> web.StreamResponse:
    request[REQUEST_CONTEXT].no_content_type = hdrs.CONTENT_TYPE not in headers
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response  # the caller closes the body's stream
    try:
        await _write_chunk(response, beginning)
        async for chunk in body_stream.chunks():
            check_still_valid(request)  # a slow caller can read for minutes
            await _write_chunk(response, chunk)
    except (GatewayError, InvalidKey, TimeoutError) as exc:
        request[REQUEST_CONTEXT].code = exc.code if isinstance(exc, BridgeError) else "slow_client"
        if request.transport is not None:
            request.transport.abort()  # with a regular end a partial response would look complete
        raise ConnectionResetError("the response is incomplete") from exc
    await response.write_eof()
    return response


async def _write_chunk(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(CLIENT_READ_TIMEOUT_S):
        await response.write(chunk)
