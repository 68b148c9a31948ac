"""The bridged calls: take the request whole, send it the road of a call, pass the answer on.

Nothing is sent before the body is here and the rules have seen it. An answer passes unchanged in status, body and type;
small ones whole, large ones as they come, and one that breaks off in the middle is cut off here as well, so that
nobody takes half an answer for a whole one.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import nullcontext

from aiohttp import hdrs, web

from ibkr_bridge import events
from ibkr_bridge.api.session_compat import FROM_THE_KEEPER
from ibkr_bridge.calls.context import CallerGone, Trip
from ibkr_bridge.calls.facts import read_call
from ibkr_bridge.calls.header_policy import downwards, upwards
from ibkr_bridge.calls.messages import Answer, Call, Rest
from ibkr_bridge.errors import GatewayTrouble, NotBridged, OrderUnknown, WrongMethod
from ibkr_bridge.ibkr.catalogue import account_in
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint
from ibkr_bridge.orders.journal.order_record import Record
from ibkr_bridge.orders.service import Errand
from ibkr_bridge.profiles.profile import Line
from ibkr_bridge.server.app_keys import AGAIN, BUS, DRAIN, LINES, MAIN, SETTINGS, VISIT
from ibkr_bridge.server.connection import Door
from ibkr_bridge.server.delivery import is_there, unread
from ibkr_bridge.server.request_parsing import LONGEST_WAIT, asked_seconds, idempotency_key, whole_body, words
from ibkr_bridge.server.request_target import Target
from ibkr_bridge.server.routing import METHODS, OWN, destination, own_route

READER_WITHIN = 15.0  # seconds for a caller to take the next piece of a large answer
OLDEST = 86400.0  # seconds; no answer is remembered so long
ORDERLY = frozenset({"order", "orders", "reply", "notification"})  # parts of paths
BODILESS = (204, 304)


async def bridged(request: web.Request) -> web.StreamResponse:
    """Everything that is not a route of our own."""
    visit = request[VISIT]
    target = visit.target
    if target is None:
        raise NotBridged("nothing is bridged under this path")
    _own_route_other_method(target)
    place = visit.place or destination(target, request.app[SETTINGS])  # which says why there is none
    if request.method not in METHODS:
        raise WrongMethod("the Gateway is not asked with this method", ", ".join(METHODS))
    line = request.app[LINES][MAIN]
    from_keeper = FROM_THE_KEEPER.get(place.segments)
    if from_keeper is not None:
        return await from_keeper(request, line)
    return await _sent_on(request, line, place.segments, place.raw_path + target.query)


def _own_route_other_method(target: Target) -> None:
    own = OWN.get(own_route(target.segments))
    if own is not None:
        raise WrongMethod("this route is not asked with this method", ", ".join(own))


async def _sent_on(request: web.Request, line: Line, segments: tuple[str, ...], target: str) -> web.StreamResponse:
    visit = request[VISIT]
    row = visit.row
    if row is None:
        raise NotBridged("nothing is bridged under this path")
    _no_strange_order(row, segments)
    wait = asked_seconds(request, "X-Bridge-Wait", LONGEST_WAIT)
    max_age = asked_seconds(request, "X-Bridge-Max-Age", OLDEST)
    body = await whole_body(request)
    confirm = words(request, "X-Bridge-Confirm")
    asked = read_call(row, segments, target.partition("?")[2], body, confirmed=confirm)
    call = Call(request.method, target, upwards(request.headers.items()), body, changes=row.effect is not Effect.READ)
    drain = request.app[DRAIN]
    key = visit.key.label if visit.key else ""
    trip = Trip(call, row, asked, key, wait, lambda: is_there(request), lambda: drain.ending, max_age)
    with drain.order if call.changes else nullcontext():
        try:
            answer = await (
                _order(request, line, trip, confirm) if row.order and call.changes else _ask(request, line, trip)
            )
        finally:
            visit.waited, visit.at_gateway = trip.spent.waited, trip.spent.at_gateway
        visit.source, visit.age = trip.source, trip.age
        if line.reads is not None:
            _learned(request, line, trip)
        return await _passed_on(request, answer)


def _no_strange_order(row: Endpoint, segments: tuple[str, ...]) -> None:
    """What looks like an order call and is none we know would pass the desk by, and so the journal.

    Raises:
        NotBridged: it does.
    """
    if not row.known and row.effect is Effect.TRADE and ORDERLY & {segment.lower() for segment in segments}:
        raise NotBridged(
            "no order call of IBKR has this method and path", hint="docs/endpoints.md lists those there are"
        )


def _learned(request: web.Request, line: Line, trip: Trip) -> None:
    """Where the same bytes can be answered from memory, remember what they meant.

    Not those of a token: they mean nothing once its time is over, and nobody would look.
    """
    caller = request[VISIT].key
    if caller is None or caller.is_token:
        return
    door = request.protocol
    head = door.head if isinstance(door, Door) and request.keep_alive else None
    key = line.memory_key(trip) if head is not None else None
    if head is not None and key is not None:
        request.app[AGAIN].learn(head, trip.key, trip.row, key, trip.max_age)


async def _order(request: web.Request, line: Line, trip: Trip, confirm: frozenset[str]) -> Answer:
    """The answer of an order call, and what its headers tell of the order."""
    visit = request[VISIT]
    segments = visit.place.segments if visit.place else ()
    owner, account = visit.key.owner if visit.key else "", account_in(trip.row, segments)
    errand = Errand(
        owner, visit.request_id, idempotency_key(request), confirm, account, segments[-1] if segments else ""
    )
    try:
        return await line.order(trip, errand)
    except CallerGone as exc:
        raise ConnectionResetError("the caller hung up before anything was sent") from exc
    finally:
        visit.order = trip.order
        if trip.order is not None:
            visit.told = functools.partial(_heard, line, trip.order)
            trip.order.unread = unread(request)


def _heard(line: Line, order: Record, arrived: bool) -> None:  # it is a callback's one word
    line.ordering.desk.heard(order, arrived=arrived)


async def _ask(request: web.Request, line: Line, trip: Trip) -> Answer:
    """The answer of a call; where a change was sent and its caller will not hear of it, the log does."""
    try:
        answer = await line.ask(trip)
    except CallerGone as exc:
        raise ConnectionResetError("the caller hung up before anything was sent") from exc
    except OrderUnknown as exc:
        _unheard(request, trip, exc.detail)
        raise
    except asyncio.CancelledError:
        _unheard(request, trip, "the bridge ended before the answer came")
        raise
    if not is_there(request):
        _unheard(request, trip, f"the Gateway answered {answer.status}, but the caller had hung up")
    return answer


def _unheard(request: web.Request, trip: Trip, why: str) -> None:
    if trip.call.changes and trip.sent:
        unknown = events.OutcomeUnknown(request[VISIT].request_id, request.method, trip.row.path, why)
        request.app[BUS].announce(unknown)


async def _passed_on(request: web.Request, answer: Answer) -> web.StreamResponse:
    headers = {**downwards(answer.headers), **answer.notes}
    if answer.rest is None:
        body = None if answer.status in BODILESS else answer.body
        request[VISIT].untyped = hdrs.CONTENT_TYPE not in headers
        return web.Response(status=answer.status, headers=headers, body=body)
    try:
        return await _streamed(request, answer.status, headers, answer.body, answer.rest)
    finally:
        answer.rest.close()


async def _streamed(
    request: web.Request, status: int, headers: dict[str, str], beginning: bytes, rest: Rest
) -> web.StreamResponse:
    request[VISIT].untyped = hdrs.CONTENT_TYPE not in headers
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    try:
        await _write(response, beginning)
        async for piece in rest.pieces():
            await _write(response, piece)
    except (GatewayTrouble, TimeoutError) as exc:
        request[VISIT].code = exc.code if isinstance(exc, GatewayTrouble) else "slow_reader"
        if request.transport is not None:
            request.transport.abort()  # a clean end would make half an answer look whole
        raise ConnectionResetError("the answer broke off") from exc
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(READER_WITHIN):
        await response.write(piece)
