"""Streams for web apps: Server-Sent Events, one `GET` that never ends.

Each event is JSON. Named ones say what is no data: `stale` and `fresh`, when the source is lost and comes back, `gap`,
where events were missed for good, and `end`, when the bridge ends the stream, with the reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from aiohttp import web

from ibkr_bridge.api.stream_access import door_of, hub_of, last_word, note_begin, refuse_while_ending, trouble
from ibkr_bridge.api.stream_encoding import COMMENT, RETRY, ROWS, Outlet, sse
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.server.app_keys import CLOCK
from ibkr_bridge.streaming.market_data_lines import MOST_LINES
from ibkr_bridge.streaming.protocol import CONID, FIELD, MOST_FIELDS, Kind, Topic, Wish
from ibkr_bridge.streaming.subscriber import Reader

SILENT_FOR = 15.0  # seconds; proxies end what is silent for a minute or so
FAREWELL_WITHIN = 5.0  # seconds for a reader to take the last word
USUAL_FIELDS = ("31", "84", "85", "86", "88")  # last price, bid, size of ask, ask, size of bid
CONTRACT = re.compile(CONID)
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # Next.js packs what may be transformed, and holds it back meanwhile
    "X-Accel-Buffering": "no",  # nginx
}


async def quotes(request: web.Request) -> web.StreamResponse:
    """Quotes of contracts: the whole picture first, then what changes."""
    conids = _listed(request, "conids", CONTRACT, MOST_LINES)
    fields = _listed(request, "fields", FIELD, MOST_FIELDS) or list(USUAL_FIELDS)
    if not conids:
        raise BadRequest("conids is missing", hint="name contracts, as in /stream/quotes?conids=265598,8314")
    return await _streamed(request, [Wish(Topic(Kind.QUOTES, conid), {"fields": fields}) for conid in conids])


async def orders(request: web.Request) -> web.StreamResponse:
    """The day's orders, then each one that changes."""
    return await _streamed(request, [Wish(Topic(Kind.ORDERS))])


async def trades(request: web.Request) -> web.StreamResponse:
    """The day's trades, then each new one."""
    return await _streamed(request, [Wish(Topic(Kind.TRADES))])


async def pnl(request: web.Request) -> web.StreamResponse:
    """Profit and loss, account by account."""
    return await _streamed(request, [Wish(Topic(Kind.PNL))])


async def session(request: web.Request) -> web.StreamResponse:
    """The state of the session, and each one that follows."""
    return await _streamed(request, [Wish(Topic(Kind.SESSION))], minds_source=False)


def _listed(request: web.Request, name: str, form: re.Pattern[str], most: int) -> list[str]:
    """The parts of a parameter that lists some, between commas.

    Raises:
        BadRequest: it is none.
    """
    given = [part for value in request.query.getall(name, ()) for part in value.split(",") if part]
    if len(given) > most or not all(map(form.fullmatch, given)):
        raise BadRequest(f"{name} is no list of numbers, {most} at most", hint=f"write {name}=1,2,3")
    return list(dict.fromkeys(given))


async def _streamed(request: web.Request, wishes: Sequence[Wish], *, minds_source: bool = True) -> web.StreamResponse:
    """Send what is wished for until either side ends it.

    Raises:
        LineLimit: IBKR cannot send it beside all that is sent already.
    """
    hub, door = hub_of(request), door_of(request)
    refuse_while_ending(request)
    hub.check_room()
    hub.asking.check_room(wishes)
    over = asyncio.Event()
    outlet = Outlet(door, lambda _: over.set(), chunked=request.version >= (1, 1))
    reader = Reader(outlet, ROWS, trouble(request), minds_source=minds_source)
    door.on_lost, door.on_clear = over.set, hub.soon
    hub.enter(reader)
    try:
        for wish in wishes:
            hub.join(reader, wish, request.headers.get("Last-Event-ID") or request.query.get("lastEventId"))
        note_begin(request)
        return await _told(request, reader, outlet, over)
    finally:
        door.on_lost = door.on_clear = None
        hub.gone(reader)


async def _told(request: web.Request, reader: Reader, outlet: Outlet, over: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    else:
        response.force_close()  # its end is the connection's
    await response.prepare(request)
    await response.write(f"retry: {RETRY}\n\n".encode())
    outlet.is_open = True
    hub_of(request).soon()
    while not await request.app[CLOCK].wait(over, SILENT_FOR):
        if outlet.is_clear:
            outlet.write(COMMENT)
    if reader.over is not None:
        await _ended(request, reader.over, response)
    return response


async def _ended(request: web.Request, reason: str, response: web.StreamResponse) -> None:
    """The last word, for as long as it can be waited for."""
    async with last_word(request, reason, FAREWELL_WITHIN):
        await response.write(sse({"reason": reason}, name="end"))
        await response.write_eof()
