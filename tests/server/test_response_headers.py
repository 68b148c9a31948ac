"""The headers that every response carries, through a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

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
    """What a caller gets to see of a response."""

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


def context(**known: object) -> RequestContext:
    """A request of which so much is known."""
    found = RequestContext("the-id", 0.0)
    for name, value in known.items():
        setattr(found, name, value)
    return found


async def test_every_reply_names_the_bridge_its_mode_and_the_request() -> None:
    """Nobody caches it, nobody guesses its type, and no version of a library is given away."""
    found = await headers_of(context(), web.Response(text="yes"))

    assert found["Server"] == "ibkr-bridge"
    assert found["Cache-Control"] == "no-store"
    assert found["X-Content-Type-Options"] == "nosniff"
    assert found["X-Bridge-Mode"] == "paper"
    assert found["X-Request-ID"] == "the-id"
    assert found["X-Bridge-Source"] == "bridge"


async def test_the_mode_is_that_of_the_settings() -> None:
    """An app that believes it plays must be able to see that it does not."""
    found = await headers_of(context(), web.Response(), mode="live")

    assert found["X-Bridge-Mode"] == "live"


async def test_a_stream_keeps_what_it_says_of_caching() -> None:
    """It says more than the others, for proxies that pack what they pass on."""
    found = await headers_of(context(), web.Response(headers={"Cache-Control": "no-store, no-transform"}))

    assert found.getall("Cache-Control") == ["no-store, no-transform"]  # type: ignore[attr-defined]


async def test_a_name_that_was_set_before_is_replaced_not_repeated() -> None:
    """The Gateway's own may have come along."""
    found = await headers_of(context(), web.Response(headers={"Server": "somebody"}))

    assert found.getall("Server") == ["ibkr-bridge"]  # type: ignore[attr-defined]


async def test_what_is_not_known_is_not_said() -> None:
    """An empty header would be read as an order, or as an age."""
    found = await headers_of(context(), web.Response())

    assert not {"X-Bridge-Order", "X-Bridge-Order-State", "Age", "Server-Timing"} & set(found)


async def test_a_remembered_answer_tells_its_age_in_whole_seconds() -> None:
    """As HTTP wants it, rounded down: a fresh one is 0 seconds old, which is told too."""
    old = await headers_of(context(age_s=3.9, source="cache"), web.Response())
    fresh = await headers_of(context(age_s=0.0, source="cache"), web.Response())

    assert (old["Age"], fresh["Age"], old["X-Bridge-Source"]) == ("3", "0", "cache")


async def test_an_order_is_named_with_its_state() -> None:
    """Whoever lost the body still knows which order to ask for."""
    state = next_state(None, OrderEvent.SENT)
    entry = JournalEntry("abc", "2026-06-17T16:00:00.000000+00:00", OrderEvent.SENT, state, {"kind": "place"})

    found = await headers_of(context(order_record=OrderRecord.from_entries([entry])), web.Response())

    assert (found["X-Bridge-Order"], found["X-Bridge-Order-State"]) == ("abc", state.value)


async def test_only_the_spans_that_were_measured_are_told() -> None:
    """In milliseconds, as browsers show them."""
    one = await headers_of(context(upstream_s=0.25), web.Response())
    both = await headers_of(context(waited_s=0.0, upstream_s=0.0015), web.Response())

    assert one["Server-Timing"] == "gateway;dur=250.0"
    assert both["Server-Timing"] == "wait;dur=0.0, gateway;dur=1.5"


async def test_no_type_is_named_where_the_gateway_named_none() -> None:
    """The caller gets what the Gateway said, not what a library made of its silence."""
    found = await headers_of(context(no_content_type=True), web.Response(body=b"x", content_type="text/plain"))

    assert "Content-Type" not in found


async def test_a_kept_connection_says_for_how_long() -> None:
    """Clients let go first, so that no request meets a connection that is being closed."""
    found = await headers_of(context(), web.Response())

    assert found["Keep-Alive"] == "timeout=70"


async def test_an_ending_bridge_closes_the_connection_after_its_reply() -> None:
    """The next request has to find the successor."""
    drain = Drain()
    drain.begin(handover=True)

    found = await headers_of(context(), web.Response(), drain)

    assert found["Connection"] == "close"
    assert "Keep-Alive" not in found


async def test_a_reply_to_what_was_never_read_has_the_fixed_headers_all_the_same() -> None:
    """A request that no middleware has seen has no id to tell."""
    found = await headers_of(None, web.Response())

    assert found["Server"] == "ibkr-bridge"
    assert "X-Request-ID" not in found
