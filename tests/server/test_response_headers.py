"""The headers that every response carries, read through a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ibkr_bridge.calls.context import CallTiming
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, next_state
from ibkr_bridge.server.app_keys import DRAIN, REQUEST_CONTEXT, SETTINGS
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.response_headers import add_headers
from tests.harness import settings_for


async def headers_of(
    context: RequestContext | None, response: web.StreamResponse, drain: Drain | None = None, mode: str = "paper"
) -> Mapping[str, str]:
    """Send a response through a server, and return the headers that the caller gets."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if context is not None:
            request[REQUEST_CONTEXT] = context
        return response

    app = web.Application()
    app[DRAIN] = drain or Drain()
    app[SETTINGS] = settings_for("https://127.0.0.1:1", Path("/unused"), IBKR_TRADING_MODE=mode)
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client, client.get("/") as reply:
        return reply.headers


def context_with(**attributes: object) -> RequestContext:
    """The context of a request, with these attributes set."""
    context = RequestContext("the-id", 0.0)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


async def test_every_response_names_the_bridge_its_mode_and_the_request() -> None:
    """No proxy may cache a response, no browser may guess its type, and no library version may be visible."""
    headers = await headers_of(context_with(), web.Response(text="yes"))

    assert headers["Server"] == "ibkr-bridge"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Bridge-Mode"] == "paper"
    assert headers["X-Request-ID"] == "the-id"
    assert headers["X-Bridge-Source"] == "bridge"


async def test_the_mode_is_that_of_the_settings() -> None:
    """A program that expects paper trading must be able to see that it trades with real money."""
    headers = await headers_of(context_with(), web.Response(), mode="live")

    assert headers["X-Bridge-Mode"] == "live"


async def test_a_stream_keeps_its_own_cache_control() -> None:
    """It also forbids proxies to compress the stream, which would delay its events."""
    headers = await headers_of(context_with(), web.Response(headers={"Cache-Control": "no-store, no-transform"}))

    assert headers.getall("Cache-Control") == ["no-store, no-transform"]  # type: ignore[attr-defined]


async def test_a_server_header_of_the_gateway_is_replaced() -> None:
    """Two `Server` headers would be invalid."""
    headers = await headers_of(context_with(), web.Response(headers={"Server": "gateway"}))

    assert headers.getall("Server") == ["ibkr-bridge"]  # type: ignore[attr-defined]


async def test_headers_without_a_value_are_left_out() -> None:
    """A client could read an empty header as an order or as an age."""
    headers = await headers_of(context_with(), web.Response())

    assert not {"X-Bridge-Order", "X-Bridge-Order-State", "Age", "Server-Timing"} & set(headers)


async def test_a_cached_response_has_its_age_in_whole_seconds() -> None:
    """HTTP defines the header so. The age is rounded down, and an age of 0 is sent too."""
    old = await headers_of(context_with(age_s=3.9, source="cache"), web.Response())
    fresh = await headers_of(context_with(age_s=0.0, source="cache"), web.Response())

    assert (old["Age"], fresh["Age"], old["X-Bridge-Source"]) == ("3", "0", "cache")


async def test_a_response_to_an_order_names_the_order_and_its_state() -> None:
    """A client that could not parse the body still knows the id with which it can look up the order."""
    state = next_state(None, OrderEvent.SENT)
    entry = JournalEntry("abc", "2026-06-17T16:00:00.000000+00:00", OrderEvent.SENT, state, {"kind": "place"})

    headers = await headers_of(context_with(order_record=OrderRecord.from_entries([entry])), web.Response())

    assert (headers["X-Bridge-Order"], headers["X-Bridge-Order-State"]) == ("abc", state.value)


async def test_server_timing_is_that_of_a_proxied_call() -> None:
    """The other routes have none."""
    proxied = await headers_of(context_with(timing=CallTiming(0.0, 0.25)), web.Response())
    own = await headers_of(context_with(), web.Response())

    assert proxied["Server-Timing"] == "wait;dur=0.0, gateway;dur=250.0"
    assert "Server-Timing" not in own


async def test_no_content_type_is_added_to_a_response_of_the_gateway_without_one() -> None:
    """The caller gets the headers of the Gateway, not the default of the web server's library."""
    headers = await headers_of(context_with(no_content_type=True), web.Response(body=b"x", content_type="text/plain"))

    assert "Content-Type" not in headers


async def test_a_response_says_how_long_its_connection_stays_open() -> None:
    """A client that closes first never sends a request on a connection that the bridge is closing."""
    headers = await headers_of(context_with(), web.Response())

    assert headers["Keep-Alive"] == "timeout=70"


async def test_a_stopping_bridge_closes_the_connection_after_the_response() -> None:
    """The next request has to reach the next process, which accepts new connections only."""
    drain = Drain()
    drain.begin(handover=True)

    headers = await headers_of(context_with(), web.Response(), drain)

    assert headers["Connection"] == "close"
    assert "Keep-Alive" not in headers


async def test_a_response_to_an_unparsable_request_has_the_fixed_headers() -> None:
    """No middleware has run for such a request, so it has no id."""
    headers = await headers_of(None, web.Response())

    assert headers["Server"] == "ibkr-bridge"
    assert "X-Request-ID" not in headers
