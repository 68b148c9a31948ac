"""Reads that a call needs before it can be judged or sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.reader import fetch, read
from ibkr_bridge.errors import SessionUnavailable
from tests.body_stream import FakeBodyStream
from tests.calls.road import OK, Road, context_for


def asking(road: Road) -> CallContext:
    """An order whose other calls go to a road."""
    context = context_for("POST", "/iserver/account/DU1/orders", b"{}", key_label="full")
    context.execute = road
    return context


async def test_a_read_is_fetched_through_all_stages() -> None:
    """Session, limits and cache hold for it as for any other call; its key takes the turn."""
    road = Road()

    response = await fetch(asking(road), Call("GET", "/v1/api/iserver/accounts"), max_age_s=0.0)

    assert (response, road.targets) == (OK, ["/iserver/accounts"])
    assert (road.came[0].key_label, road.came[0].max_age_s, road.came[0].endpoint.is_read) == ("full", 0.0, True)


async def test_a_context_outside_a_pipeline_cannot_fetch() -> None:
    """A stage that is called by hand shows its mistake at once."""
    with pytest.raises(RuntimeError, match="has not entered a pipeline"):
        await fetch(context_for("GET", "/portfolio/accounts"), Call("GET", "/v1/api/iserver/accounts"))


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (replace(OK, body=b'{"a":1}'), {"a": 1}),
        (replace(OK, body=b"<html>"), None),
        (replace(OK, status=500, body=b'{"error":"no"}'), None),
    ],
)
async def test_only_json_of_a_status_of_200_is_read(response: Response, told: object) -> None:
    """Nothing is taken from a refusal, however it looks."""
    road = Road(response)

    assert await read(asking(road), ("iserver", "exchangerate"), "source=USD&target=EUR") == told
    assert road.targets == ["/iserver/exchangerate?source=USD&target=EUR"]


async def test_a_body_that_is_too_large_is_let_go_of_unread() -> None:
    """The beginning of a list is no list, and its slot must become free."""
    body_stream = FakeBodyStream()

    told = await read(asking(Road(replace(OK, body=b"[]", body_stream=body_stream))), ("portfolio", "accounts"))

    assert (told, body_stream.read_count, body_stream.close_count) == (None, 0, 1)


async def test_what_keeps_a_read_from_being_sent_is_raised() -> None:
    """Whoever needs it decides what follows."""
    with pytest.raises(SessionUnavailable):
        await read(asking(Road(SessionUnavailable("down"))), ("portfolio", "accounts"))
