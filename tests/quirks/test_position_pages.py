"""All positions of an account, fetched page by page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import GatewayProtocolError, RateLimited
from ibkr_bridge.quirks.position_pages import fetch_all_positions
from tests.body_stream import FakeBodyStream
from tests.quirks.scripted import ScriptedFetch, ok

ALL_POSITIONS = Call("GET", "/v1/api/portfolio/DU1/positions", (("Accept", "*/*"),))
PAGE = "/portfolio/DU1/positions/{}"


async def test_an_account_without_positions_needs_one_call() -> None:
    """The result is an empty list."""
    gateway = ScriptedFetch({PAGE.format(0): [ok("[]")]})

    assert (await fetch_all_positions(gateway.send, ALL_POSITIONS)).body == b"[]"
    assert gateway.targets == [PAGE.format(0)]


async def test_the_joined_response_has_the_headers_of_the_last_page() -> None:
    """Its headers describe the body."""
    gateway = ScriptedFetch({PAGE.format(0): [ok("[1]")], PAGE.format(1): [replace(ok("[]"), headers={"X": "y"})]})

    response = await fetch_all_positions(gateway.send, ALL_POSITIONS)

    assert (response.status, response.headers, response.body) == (200, {"X": "y"}, b"[1]")


async def test_a_streamed_page_cannot_be_joined() -> None:
    """Its body stream is closed."""
    body_stream = FakeBodyStream()
    gateway = ScriptedFetch({PAGE.format(0): [ok("[1]")], PAGE.format(1): [replace(ok("[2"), body_stream=body_stream)]})

    with pytest.raises(GatewayProtocolError):
        await fetch_all_positions(gateway.send, ALL_POSITIONS)

    assert body_stream.close_count == 1


async def test_an_error_of_one_page_is_raised() -> None:
    """Half a list is never returned."""
    gateway = ScriptedFetch({PAGE.format(0): [ok("[1]")], PAGE.format(1): [RateLimited("too often")]})

    with pytest.raises(RateLimited):
        await fetch_all_positions(gateway.send, ALL_POSITIONS)
