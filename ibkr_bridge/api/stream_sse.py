"""Streams for web apps: Server-Sent Events in the response of a `GET` that does not end.

Each event is JSON. Events without a name are data. `stale` and `fresh` say that the source is lost and that it is back.
`gap` says that events were missed for good. `end` says that the bridge ends the stream, with the reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import web

from ibkr_bridge.api.stream_access import (
    check_not_ending,
    closing,
    connection_of,
    hub_of,
    new_subscriber,
    publish_opened,
)
from ibkr_bridge.api.stream_encoding import COMMENT, RETRY_MS, SSE_ENCODING, ConnectionSink, sse_event
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.server.app_keys import CLOCK, REQUEST_CONTEXT
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import CONID, FIELD, MAX_FIELDS, Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Encoding, Subscriber

COMMENT_INTERVAL_S = 15.0  # proxies close connections that are silent for about a minute
CLOSING_TIMEOUT_S = 5.0  # for a client to read the last event
DEFAULT_FIELDS = ("31", "84", "85", "86", "88")  # last price, bid, ask size, ask, bid size
CONTRACT_PATTERN = re.compile(CONID)
STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # Next.js compresses what may be transformed, and delays it
    "X-Accel-Buffering": "no",  # nginx
}


class StreamCompanion(Protocol):
    """What sends further events on a stream, beside those of the hub."""

    interval_s: float
    """Seconds between two calls of `work`."""

    def running(self, subscriber: Subscriber) -> AbstractAsyncContextManager[None]:
        """What surrounds the life of the stream."""
        ...

    async def work(self) -> None:
        """Do what is due; must not raise a `BridgeError`."""
        ...


async def quotes(request: web.Request) -> web.StreamResponse:
    """Quotes of contracts: first a full snapshot, then each change."""
    conids = _list_parameter(request, "conids", CONTRACT_PATTERN, MAX_MARKET_DATA_LINES)
    fields = _list_parameter(request, "fields", FIELD, MAX_FIELDS) or list(DEFAULT_FIELDS)
    if not conids:
        raise BadRequest("conids is missing", hint="name contracts, as in /stream/quotes?conids=265598,8314")
    return await run_stream(
        request, [Subscribe(Topic(TopicKind.QUOTES, conid), {"fields": fields}) for conid in conids]
    )


async def orders(request: web.Request) -> web.StreamResponse:
    """The day's orders, then each change of one."""
    return await run_stream(request, [Subscribe(Topic(TopicKind.ORDERS))])


async def trades(request: web.Request) -> web.StreamResponse:
    """The day's trades, then each new one."""
    return await run_stream(request, [Subscribe(Topic(TopicKind.TRADES))])


async def pnl(request: web.Request) -> web.StreamResponse:
    """Profit and loss of each account."""
    return await run_stream(request, [Subscribe(Topic(TopicKind.PNL))])


async def session(request: web.Request) -> web.StreamResponse:
    """The state of the session, then each change."""
    return await run_stream(request, [Subscribe(Topic(TopicKind.SESSION))], wants_source_events=False)


def _list_parameter(request: web.Request, name: str, pattern: re.Pattern[str], max_items: int) -> list[str]:
    """The items of a query parameter with a comma-separated list, each once.

    Raises:
        BadRequest: an item does not match, or there are too many.
    """
    items = [item for value in request.query.getall(name, ()) for item in value.split(",") if item]
    if len(items) > max_items or not all(map(pattern.fullmatch, items)):
        raise BadRequest(f"{name} must be a list of at most {max_items} numbers", hint=f"write {name}=1,2,3")
    return list(dict.fromkeys(items))


async def run_stream(
    request: web.Request,
    subscriptions: Sequence[Subscribe],
    *,
    encoding: Encoding = SSE_ENCODING,
    wants_source_events: bool = True,
    companion: StreamCompanion | None = None,
) -> web.StreamResponse:
    """Send the events of some topics until either side ends the stream.

    Args:
        encoding: how events are written.
        wants_source_events: whether it gets events about a stale or fresh source.
        companion: sends further events on the same stream.

    Raises:
        MarketDataLimit: no market data lines are free for it.
    """
    hub, connection = hub_of(request), connection_of(request)
    check_not_ending(request)
    has_reduced_share = request[REQUEST_CONTEXT].has_reduced_share
    hub.check_capacity(has_reduced_share=has_reduced_share)
    hub.upstream_subscriptions.check_capacity(subscriptions, has_reduced_share=has_reduced_share)
    ended = asyncio.Event()
    sink = ConnectionSink(connection, lambda _: ended.set(), chunked=request.version >= (1, 1))
    subscriber = new_subscriber(request, sink, encoding, wants_source_events=wants_source_events)
    connection.on_lost, connection.on_writable = ended.set, hub.schedule_flush
    hub.add_subscriber(subscriber)
    try:
        for subscribe in subscriptions:
            hub.subscribe(
                subscriber, subscribe, request.headers.get("Last-Event-ID") or request.query.get("lastEventId")
            )
        publish_opened(request)
        return await _send_events(request, hub, subscriber, sink, ended, companion)
    finally:
        connection.on_lost = connection.on_writable = None
        hub.remove_subscriber(subscriber)


async def _send_events(
    request: web.Request,
    hub: Hub,
    subscriber: Subscriber,
    sink: ConnectionSink,
    ended: asyncio.Event,
    companion: StreamCompanion | None,
) -> web.StreamResponse:
    response = web.StreamResponse(headers=STREAM_HEADERS)
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    else:
        response.force_close()  # the end of the connection is the end of the stream
    await response.prepare(request)
    await response.write(f"retry: {RETRY_MS}\n\n".encode())
    sink.is_open = True
    hub.schedule_flush()
    if companion is None:
        await _keep_open(request.app[CLOCK], sink, ended)
    else:
        async with companion.running(subscriber):
            await _keep_open(request.app[CLOCK], sink, ended, companion)
    if subscriber.closed_reason is not None:
        await _send_end(request, subscriber.closed_reason, response)
    return response


async def _keep_open(
    clock: Clock, sink: ConnectionSink, ended: asyncio.Event, companion: StreamCompanion | None = None
) -> None:
    """Wait for the end of a stream. Meanwhile comments keep it open, and the companion does its work."""
    comment_at = clock.now() + COMMENT_INTERVAL_S
    interval_s = COMMENT_INTERVAL_S if companion is None else companion.interval_s
    while not await clock.wait(ended, interval_s):
        if companion is not None:
            await companion.work()
        if clock.now() >= comment_at and sink.is_writable:
            sink.write(COMMENT)
            comment_at = clock.now() + COMMENT_INTERVAL_S


async def _send_end(request: web.Request, reason: str, response: web.StreamResponse) -> None:
    """Send the `end` event with the reason."""
    async with closing(request, reason, CLOSING_TIMEOUT_S):
        await response.write(sse_event({"reason": reason}, name="end"))
        await response.write_eof()
