"""All positions of an account, fetched page by page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call, Response
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


def page_of(*conids: int, price: float = 1.0) -> list[Response | Exception]:
    """A page with positions in these contracts."""
    return [ok(json.dumps([{"acctId": "DU1", "conid": conid, "mktPrice": price} for conid in conids]))]


@pytest.mark.parametrize("repeated", [(21, 22), (11, 12, 13), (22, 21), (13,)])
async def test_a_page_that_repeats_ends_the_list(repeated: tuple[int, ...]) -> None:
    """IBKR may send an earlier page, or its last one, for pages that do not exist; its prices have moved meanwhile."""
    gateway = ScriptedFetch(
        {
            PAGE.format(0): page_of(11, 12, 13),
            PAGE.format(1): page_of(21, 22),
            PAGE.format(2): page_of(*repeated, price=9.5),
        }
    )

    response = await fetch_all_positions(gateway.send, ALL_POSITIONS)

    assert [row["conid"] for row in json.loads(response.body)] == [11, 12, 13, 21, 22]
    assert len(gateway.targets) == 3


async def test_the_same_contract_in_two_models_is_two_positions() -> None:
    """An advisor's accounts hold a contract once for each model."""
    pages: dict[str, list[Response | Exception]] = {
        PAGE.format(0): [ok('[{"acctId":"DU1","conid":8,"model":"A"}]')],
        PAGE.format(1): [ok('[{"acctId":"DU1","conid":8,"model":"B"}]')],
        PAGE.format(2): [ok("[]")],
    }

    assert len(json.loads((await fetch_all_positions(ScriptedFetch(pages).send, ALL_POSITIONS)).body)) == 2


async def test_a_refusal_says_how_far_it_came() -> None:
    """The error itself stays as it is, since other callers of the same page may get it too."""
    error = RateLimited("too often", retry_after=3.0)
    gateway = ScriptedFetch({PAGE.format(0): page_of(1, 2), PAGE.format(1): page_of(3), PAGE.format(2): [error]})

    with pytest.raises(RateLimited, match="too often") as caught:
        await fetch_all_positions(gateway.send, ALL_POSITIONS)

    assert "2 complete pages with 3 positions" in caught.value.detail
    assert (caught.value.retry_after, error.detail) == (3.0, "too often")
