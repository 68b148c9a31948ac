"""`GET /page/events`: one stream with everything that the page shows.

While no page is open nothing of this runs. IBKR's list of orders is fetched beside the stream, so that a Gateway that
does not answer stops no other part of the page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

from aiohttp import web

from ibkr_bridge.api.page.topics import TOPICS, PageState, Topic
from ibkr_bridge.api.plain.orders import fetch_listing
from ibkr_bridge.api.stream_access import check_not_ending, revocation_check
from ibkr_bridge.api.stream_encoding import sse_event
from ibkr_bridge.api.stream_sse import STREAM_HEADERS
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import BridgeError, Busy
from ibkr_bridge.server.app_keys import CLOCK, DRAIN, PLACES_OF_PAGES

LOOK_INTERVAL_S = 1.0
LISTING_INTERVAL_S = 10.0  # between two reads of IBKR's list of orders; IBKR allows one in 5 s
WRITE_TIMEOUT_S = 15.0  # for a browser to read what is sent
SHUTTING_DOWN = "shutting_down"


async def events(request: web.Request) -> web.StreamResponse:
    """Send each topic when it has changed, until the page is closed or its token ends."""
    check_not_ending(request)
    places = request.app[PLACES_OF_PAGES]
    if places.locked():
        raise Busy("too many pages are open", hint="close some of them")
    async with places:
        page, response = PageState(request), web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        with suppress(ConnectionError):  # the page was closed
            async with _fetching_orders(page):
                reason = await _send_topics(page, response)
            await _write(response, sse_event({"reason": reason}, name="end"))
        return response


async def _send_topics(page: PageState, response: web.StreamResponse) -> str:
    """Send what changes. Returns why it ended."""
    request = page.request
    clock, drain, reason_to_end = request.app[CLOCK], request.app[DRAIN], revocation_check(request)
    due, sent, never = dict.fromkeys(TOPICS, 0.0), dict[Topic, bytes](), asyncio.Event()
    while True:
        if drain.is_ending:
            return SHUTTING_DOWN
        if (reason := reason_to_end()) is not None:
            return reason
        for topic in [each for each, at in due.items() if at <= clock.now()]:
            due[topic] = clock.now() + topic.interval_s
            event = sse_event(await topic.read(page), name=topic.name)
            if sent.get(topic) != event:
                sent[topic] = event
                await _write(response, event)
        await clock.wait(never, LOOK_INTERVAL_S)


@asynccontextmanager
async def _fetching_orders(page: PageState) -> AsyncIterator[None]:
    """Fetch IBKR's list of orders from time to time while the page is open."""
    clock = page.request.app[CLOCK]
    task = asyncio.create_task(_fetch_orders(page, clock))  # outlives nothing: it is awaited below
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _fetch_orders(page: PageState, clock: Clock) -> NoReturn:
    never = asyncio.Event()
    while True:
        with suppress(BridgeError):
            page.listing = await fetch_listing(page.request)
        await clock.wait(never, LISTING_INTERVAL_S)


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write to the browser.

    Raises:
        ConnectionError: it has gone, or does not read.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError as exc:
        raise ConnectionResetError("the page does not read") from exc
