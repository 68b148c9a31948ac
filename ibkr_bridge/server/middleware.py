"""What happens to every request before its handler, and to every reply before it leaves.

Two middlewares stand around every request: the outer gives it a name and a line in the log, the inner asks a list of
plain questions at the door. Errors of the rooms become RFC 9457 problems here and nowhere else; what nobody
foresaw becomes `internal` with the request's id, and its places (never its words) go to the log.
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
)
from ibkr_bridge.server.admission_checks import CHECKS
from ibkr_bridge.server.app_keys import BUS, DRAIN, SCRUBBER, VISIT
from ibkr_bridge.server.delivery import _if_reset, arrives
from ibkr_bridge.server.problem_details import FROM_AIOHTTP, problem
from ibkr_bridge.server.request_context import Visit, request_id

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pipeline() -> tuple[Middleware, ...]:
    """What every request passes, outermost first."""
    return (
        followed,  # an id for the log and the reply; one line, one measurement; who is inside is counted here
        admitted,  # one question after the other, see CHECKS; errors become JSON, inside, so that they are followed
    )


@web.middleware
async def followed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id (the caller's own, where it carries no secret), and the log one line, however it ends."""
    app = request.app
    visit = request[VISIT] = Visit(request_id(request.headers.get("X-Request-ID"), app[SCRUBBER]), time.monotonic())
    status = 499  # nobody was left to be told
    try:
        with app[DRAIN].request:
            response = await handler(request)
            if visit.told is not None:
                visit.told(await arrives(request, response))
                _if_reset(request, visit.told)
        status = response.status
        return response
    finally:
        ms = round((time.monotonic() - visit.began) * 1000, 1)
        label = visit.key.label if visit.key else "none"
        app[BUS].announce(
            events.RequestServed(
                visit.request_id, label, request.method, visit.route, status, ms, visit.source, visit.code
            )
        )


@web.middleware
async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask all that has to be asked at the door; what refuses, there or inside, becomes what HTTP says."""
    visit = request[VISIT]
    try:
        for check in CHECKS:
            check(request, visit)
        return await handler(request)
    except BridgeError as exc:
        return problem(request, exc)
    except web.HTTPException as exc:
        return problem(request, FROM_AIOHTTP.get(exc.status, BadRequest)("the request could not be taken"))
    except ConnectionError:
        raise  # the caller has gone, or its reply was cut on purpose
    except Exception as exc:  # our own bug: the caller learns the id, the log learns the place
        request.app[BUS].announce(events.RequestFailed(visit.request_id, type(exc).__name__, events.where(exc)))
        return problem(request, Internal("something went wrong inside the bridge"))
