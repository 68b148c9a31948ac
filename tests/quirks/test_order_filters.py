"""The filters of a list of orders, applied here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.quirks.order_filters import ORDER_FILTERS, fetch_filtered_orders, filter_orders, without_filters
from tests.body_stream import FakeBodyStream
from tests.quirks.scripted import Scripted, good

PATH = "/iserver/account/orders"
BOOK = '{"orders":[{"orderId":1,"status":"Filled"},{"orderId":2,"status":"Submitted"}],"snapshot":true}'


def call(query: str) -> Call:
    """A caller's wish."""
    return Call("GET", f"/v1/api{PATH}{query}")


@pytest.mark.parametrize("name", ORDER_FILTERS)
def test_every_state_of_an_order_can_be_asked_for(name: str) -> None:
    """In whatever case."""
    assert without_filters(f"{PATH}?filters={name.upper()}") == (PATH, frozenset({name}))


async def test_ibkr_is_asked_once_and_the_answer_is_filtered() -> None:
    """Other members of the answer stay."""
    gateway = Scripted({PATH: [good(BOOK)]})

    response = await fetch_filtered_orders(gateway.send, call("?filters=filled&force=false"))

    assert gateway.asked == [f"{PATH}?force=false"]
    assert json.loads(response.body) == {"orders": [{"orderId": 1, "status": "Filled"}], "snapshot": True}


async def test_a_list_without_wishes_is_passed_on_as_it_is() -> None:
    """An empty filter stands for everything."""
    whole = good(BOOK)

    assert await fetch_filtered_orders(Scripted({PATH: [whole]}).send, call("?filters=")) is whole


async def test_a_list_that_is_still_coming_cannot_be_filtered() -> None:
    """The rest of it is let go of."""
    rest = FakeBodyStream()
    gateway = Scripted({PATH: [replace(good(BOOK), body_stream=rest)]})

    with pytest.raises(GatewayProtocolError):
        await fetch_filtered_orders(gateway.send, call("?filters=filled"))

    assert rest.close_count == 1


def test_orders_without_a_state_match_none() -> None:
    """Nor do rows that are no orders."""
    body = b'{"orders":[{"orderId":1},7,{"orderId":2,"status":"Filled"}]}'

    assert filter_orders(body, frozenset({"filled"})) == b'{"orders":[{"orderId":2,"status":"Filled"}]}'
