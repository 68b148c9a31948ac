"""The filters of a list of orders, which the bridge applies itself."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.quirks.order_filters import ORDER_FILTERS, fetch_filtered_orders, filter_orders, without_filters
from tests.body_stream import FakeBodyStream
from tests.quirks.scripted import ScriptedFetch, ok

PATH = "/iserver/account/orders"
ORDERS_LIST = '{"orders":[{"orderId":1,"status":"Filled"},{"orderId":2,"status":"Submitted"}],"snapshot":true}'


def call(query: str) -> Call:
    """A caller's request for the list of orders."""
    return Call("GET", f"/v1/api{PATH}{query}")


@pytest.mark.parametrize("name", ORDER_FILTERS)
def test_every_order_status_is_a_filter(name: str) -> None:
    """Upper and lower case do not matter."""
    assert without_filters(f"{PATH}?filters={name.upper()}") == (PATH, frozenset({name}))


async def test_one_call_is_sent_and_its_response_is_filtered() -> None:
    """Other members of the response stay."""
    gateway = ScriptedFetch({PATH: [ok(ORDERS_LIST)]})

    response = await fetch_filtered_orders(gateway.send, call("?filters=filled&force=false"))

    assert gateway.targets == [f"{PATH}?force=false"]
    assert json.loads(response.body) == {"orders": [{"orderId": 1, "status": "Filled"}], "snapshot": True}


async def test_a_list_without_a_filter_is_passed_on_unchanged() -> None:
    """An empty filter selects all orders."""
    response = ok(ORDERS_LIST)

    assert await fetch_filtered_orders(ScriptedFetch({PATH: [response]}).send, call("?filters=")) is response


async def test_a_streamed_list_cannot_be_filtered() -> None:
    """Its body stream is closed."""
    body_stream = FakeBodyStream()
    gateway = ScriptedFetch({PATH: [replace(ok(ORDERS_LIST), body_stream=body_stream)]})

    with pytest.raises(GatewayProtocolError):
        await fetch_filtered_orders(gateway.send, call("?filters=filled"))

    assert body_stream.close_count == 1


def test_an_order_without_a_status_matches_no_filter() -> None:
    """A row that is not an order matches none either."""
    body = b'{"orders":[{"orderId":1},7,{"orderId":2,"status":"Filled"}]}'

    assert filter_orders(body, frozenset({"filled"})) == b'{"orders":[{"orderId":2,"status":"Filled"}]}'
