"""All positions of an account, page after page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import GatewayProtocolError, RateLimited
from ibkr_bridge.quirks.position_pages import fetch_all_positions
from tests.body_stream import FakeBodyStream
from tests.quirks.scripted import Scripted, good

ALL = Call("GET", "/v1/api/portfolio/DU1/positions", (("Accept", "*/*"),))
PAGE = "/portfolio/DU1/positions/{}"


async def test_an_account_without_positions_is_one_empty_page() -> None:
    """And an empty list."""
    gateway = Scripted({PAGE.format(0): [good("[]")]})

    assert (await fetch_all_positions(gateway.send, ALL)).body == b"[]"
    assert gateway.asked == [PAGE.format(0)]


async def test_the_joined_answer_has_the_head_of_the_last_page() -> None:
    """Its headers tell what the body is."""
    gateway = Scripted({PAGE.format(0): [good("[1]")], PAGE.format(1): [replace(good("[]"), headers={"X": "y"})]})

    response = await fetch_all_positions(gateway.send, ALL)

    assert (response.status, response.headers, response.body) == (200, {"X": "y"}, b"[1]")


async def test_a_page_that_is_still_coming_cannot_be_joined() -> None:
    """It is let go of."""
    rest = FakeBodyStream()
    gateway = Scripted({PAGE.format(0): [good("[1]")], PAGE.format(1): [replace(good("[2"), body_stream=rest)]})

    with pytest.raises(GatewayProtocolError):
        await fetch_all_positions(gateway.send, ALL)

    assert rest.close_count == 1


async def test_a_page_that_cannot_be_asked_for_ends_it() -> None:
    """Half a list is never told."""
    gateway = Scripted({PAGE.format(0): [good("[1]")], PAGE.format(1): [RateLimited("too often")]})

    with pytest.raises(RateLimited):
        await fetch_all_positions(gateway.send, ALL)
