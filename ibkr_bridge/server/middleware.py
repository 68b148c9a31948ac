"""The middlewares around every request.

The outer one gives the request an id and writes one line to the log; the inner one runs the checks in order. Errors
become RFC 9457 problems here and nowhere else. An unexpected exception becomes `internal` with the request's id; the
places it passed through go to the log, never its message.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from ibkr_bridge import events
from ibkr_bridge.errors import (
    BadRequest,
    BridgeError,
    Internal,
    UpstreamError,
    UpstreamRefused,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.admission_checks import CHECKS
from ibkr_bridge.server.app_keys import BUS, DRAIN, OWN_ROUTES, RECENT_REQUESTS, REDACTOR, REQUEST_CONTEXT
from ibkr_bridge.server.credentials import has_any
from ibkr_bridge.server.delivery import deliver, watch_reset
from ibkr_bridge.server.problem_details import AIOHTTP_ERRORS, problem_response
from ibkr_bridge.server.refusal_names import refused_name
from ibkr_bridge.server.request_context import RequestContext, choose_request_id

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def middlewares() -> tuple[Middleware, ...]:
    """The middlewares, outermost first."""
    return (
        log_request,  # request id, one log line, duration; counts the requests in progress
        check_and_map_errors,  # CHECKS in order; errors become problem+json
    )


@web.middleware
async def log_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, and write one line to the log, however it ends."""
    app = request.app
    request_context = request[REQUEST_CONTEXT] = RequestContext(
        choose_request_id(request.headers.get("X-Request-ID"), app[REDACTOR]), time.monotonic()
    )
    status = 499  # nginx's code for a client that has closed the connection; it stays if no response is made
    response: web.StreamResponse | None = None
    try:
        with app[DRAIN].request_counter:
            response = await handler(request)
            if request_context.on_delivered is not None:
                request_context.on_delivered(await deliver(request, response))
                watch_reset(request, request_context.on_delivered)
        status = response.status
        return response
    finally:
        for release in request_context.on_finished:
            release()
        served = _served(request, request_context, status)
        app[BUS].publish(served)
        _remember(request, request_context, served, response)


def _remember(
    request: web.Request,
    context: RequestContext,
    served: events.RequestServed,
    response: web.StreamResponse | None,
) -> None:
    """Add the request to those that the operator's page shows, unless it comes from that page, or has a credential."""
    manages = context.endpoint is not None and context.endpoint.effect is Effect.MANAGE
    if manages or context.route in request.app[OWN_ROUTES].of_page:
        return
    sent = response.body if isinstance(response, web.Response) else None
    bodies = (context.body, sent if isinstance(sent, bytes) else b"")
    request.app[RECENT_REQUESTS].add(served, context.target, context.upstream_target, bodies)


def _served(request: web.Request, context: RequestContext, status: int) -> events.RequestServed:
    """The event about a request that has ended."""
    is_probe = status == 200 and request.app[OWN_ROUTES].is_open(request.method, context.route)
    kind = events.ProbeServed if is_probe else events.RequestServed
    timing = context.timing
    return kind(
        context.request_id,
        context.key_label or (events.WRONG_KEY if has_any(request.headers, request.query) else events.NO_KEY),
        request.method,
        context.route,
        status,
        _ms(time.monotonic() - context.started_at),
        context.source,
        context.code,
        None if timing is None else _ms(timing.waited_s),
        None if timing is None else _ms(timing.upstream_s),
        context.ibkr_message or None,
        context.refused,
        profile=context.profile,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


@web.middleware
async def check_and_map_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Run the checks, then the handler; an error of either becomes a response."""
    request_context = request[REQUEST_CONTEXT]
    try:
        for check in CHECKS:
            check(request, request_context)
        return await handler(request)
    except BridgeError as exc:
        request_context.refused = refused_name(exc, request.raw_path, request.headers)
        if isinstance(exc, UpstreamRefused | UpstreamError):
            request_context.ibkr_message = exc.detail  # it has IBKR's words, redacted
        return _problem(request, exc)
    except web.HTTPException as exc:
        return _problem(request, AIOHTTP_ERRORS.get(exc.status, BadRequest)("the request could not be read"))
    except ConnectionError:
        raise  # the caller has disconnected, or its response was aborted on purpose
    except Exception as exc:  # a bug of ours: the caller gets the request id, the log gets the places
        request.app[BUS].publish(
            events.RequestFailed(
                *(request_context.request_id, type(exc).__name__, events.traceback_places(exc)),
                profile=request_context.profile,
            )
        )
        return _problem(request, Internal("something went wrong inside the bridge"))


def _problem(request: web.Request, error: BridgeError) -> web.Response:
    """The response of an error. A response that has begun is cut off instead: within it, a second one would be read as
    a part of it.

    Raises:
        ConnectionResetError: a response has begun.
    """
    if not request[REQUEST_CONTEXT].is_head_sent:
        return problem_response(request, error)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the response had begun")
