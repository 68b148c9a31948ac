"""Streams for web apps: Server-Sent Events, one `GET` that never ends.

Each event is JSON. Named ones say what is no data: `stale` and `fresh`, when the source is lost and comes back, `gap`,
where events were missed for good, and `end`, when the bridge ends the stream, with the reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from aiohttp import web

from ibkr_bridge.api.stream_access import (
    check_not_ending,
    closing,
    connection_of,
    hub_of,
    publish_opened,
    revocation_check,
)
from ibkr_bridge.api.stream_encoding import COMMENT, RETRY_MS, SSE_ENCODING, ConnectionSink, sse_event
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.server.app_keys import CLOCK
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import CONID, FIELD, MAX_FIELDS, Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Subscriber

COMMENT_INTERVAL_S = 15.0  # seconds; proxies end what is silent for a minute or so
CLOSING_TIMEOUT_S = 5.0  # seconds for a reader to take the last word
DEFAULT_FIELDS = ("31", "84", "85", "86", "88")  # last price, bid, size of ask, ask, size of bid
CONTRACT_PATTERN = re.compile(CONID)
STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # Next.js packs what may be transformed, and holds it back meanwhile
    "X-Accel-Buffering": "no",  # nginx
}


async def quotes(request: web.Request) -> web.StreamResponse:
    """Quotes of contracts: the whole picture first, then what changes."""
    conids = _list_parameter(request, "conids", CONTRACT_PATTERN, MAX_MARKET_DATA_LINES)
    fields = _list_parameter(request, "fields", FIELD, MAX_FIELDS) or list(DEFAULT_FIELDS)
    if not conids:
        raise BadRequest("conids is missing", hint="name contracts, as in /stream/quotes?conids=265598,8314")
    return await _run_stream(
        request, [Subscribe(Topic(TopicKind.QUOTES, conid), {"fields": fields}) for conid in conids]
    )


async def orders(request: web.Request) -> web.StreamResponse:
    """The day's orders, then each one that changes."""
    return await _run_stream(request, [Subscribe(Topic(TopicKind.ORDERS))])


async def trades(request: web.Request) -> web.StreamResponse:
    """The day's trades, then each new one."""
    return await _run_stream(request, [Subscribe(Topic(TopicKind.TRADES))])


async def pnl(request: web.Request) -> web.StreamResponse:
    """Profit and loss, account by account."""
    return await _run_stream(request, [Subscribe(Topic(TopicKind.PNL))])


async def session(request: web.Request) -> web.StreamResponse:
    """The state of the session, and each one that follows."""
    return await _run_stream(request, [Subscribe(Topic(TopicKind.SESSION))], minds_source=False)


def _list_parameter(request: web.Request, name: str, form: re.Pattern[str], most: int) -> list[str]:
    """The parts of a parameter that lists some, between commas.

    Raises:
        BadRequest: it is none.
    """
    given = [part for value in request.query.getall(name, ()) for part in value.split(",") if part]
    if len(given) > most or not all(map(form.fullmatch, given)):
        raise BadRequest(f"{name} is no list of numbers, {most} at most", hint=f"write {name}=1,2,3")
    return list(dict.fromkeys(given))


async def _run_stream(
    request: web.Request, wishes: Sequence[Subscribe], *, minds_source: bool = True
) -> web.StreamResponse:
    """Send what is wished for until either side ends it.

    Raises:
        MarketDataLimit: IBKR cannot send it beside what it sends already.
    """
    hub, connection = hub_of(request), connection_of(request)
    check_not_ending(request)
    hub.check_capacity()
    hub.upstream_subscriptions.check_capacity(wishes)
    over = asyncio.Event()
    sink = ConnectionSink(connection, lambda _: over.set(), chunked=request.version >= (1, 1))
    subscriber = Subscriber(sink, SSE_ENCODING, revocation_check(request), wants_source_events=minds_source)
    connection.on_lost, connection.on_writable = over.set, hub.schedule_flush
    hub.add_subscriber(subscriber)
    try:
        for subscribe in wishes:
            hub.subscribe(
                subscriber, subscribe, request.headers.get("Last-Event-ID") or request.query.get("lastEventId")
            )
        publish_opened(request)
        return await _send_events(request, subscriber, sink, over)
    finally:
        connection.on_lost = connection.on_writable = None
        hub.remove_subscriber(subscriber)


async def _send_events(
    request: web.Request, subscriber: Subscriber, sink: ConnectionSink, over: asyncio.Event
) -> web.StreamResponse:
    response = web.StreamResponse(headers=STREAM_HEADERS)
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    else:
        response.force_close()  # its end is the connection's
    await response.prepare(request)
    await response.write(f"retry: {RETRY_MS}\n\n".encode())
    sink.is_open = True
    hub_of(request).schedule_flush()
    while not await request.app[CLOCK].wait(over, COMMENT_INTERVAL_S):
        if sink.is_writable:
            sink.write(COMMENT)
    if subscriber.closed_reason is not None:
        await _send_end(request, subscriber.closed_reason, response)
    return response


async def _send_end(request: web.Request, reason: str, response: web.StreamResponse) -> None:
    """The last word, for as long as it can be waited for."""
    async with closing(request, reason, CLOSING_TIMEOUT_S):
        await response.write(sse_event({"reason": reason}, name="end"))
        await response.write_eof()
