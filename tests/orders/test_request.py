"""A request about an order, as the order submitter gets it."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.context import FirstByteHook
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.request import OrderRequest
from tests.calls.stage_setup import context_for
from tests.orders.submitter_setup import ORDERS, TICKET


def request(method: str = "POST", path: str = ORDERS, body: bytes = TICKET, **attributes: object) -> OrderRequest:
    """A placement; `attributes` are set on its context."""
    context = context_for(method, path, body)
    for name, value in attributes.items():
        setattr(context, name, value)
    return OrderRequest(context, OrderOperation.PLACE)


def test_the_facts_of_a_request_are_first_those_of_its_context() -> None:
    """The rules later get facts with the value of the order; the context keeps its own."""
    order_request = request()

    assert order_request.facts is order_request.context.facts


@pytest.mark.parametrize(
    "other",
    [request(method="PUT"), request(path=ORDERS.replace("DU1", "DU2")), request(body=TICKET + b" ")],
)
def test_only_the_same_call_has_the_same_fingerprint(other: OrderRequest) -> None:
    """Method, target and body count, byte for byte."""
    assert request().fingerprint == request().fingerprint != other.fingerprint


def test_a_fingerprint_separates_target_and_body() -> None:
    """Otherwise two calls could differ only in where the target ends."""
    assert request("GET", "/trsrv/a", b"bc").fingerprint != request("GET", "/trsrv/ab", b"c").fingerprint


def test_the_label_of_a_key_is_that_of_the_context() -> None:
    """The lock and the log name the key by it."""
    assert request(key_label="full").key_label == "full"


def test_the_remaining_wait_counts_from_the_arrival_of_the_request() -> None:
    """It is never negative, and the wait of the request overrides the settings."""
    order_request = request(max_wait_s=5.0)
    assert 4.0 < order_request.remaining_wait() <= 5.0

    order_request.started_at -= 3.0
    assert 1.0 < order_request.remaining_wait() <= 2.0
    order_request.context.wait_s = 0.0

    assert order_request.remaining_wait() == 0.0


async def test_a_request_outside_the_order_service_cannot_be_sent() -> None:
    """The error shows the mistake before a byte is sent."""

    async def write() -> None:
        raise AssertionError("it was sent")

    order_request = request()
    with pytest.raises(RuntimeError, match="not handed to the order service"):
        await order_request.send(
            order_request.call, order_request.facts, FirstByteHook(write), order_request.is_connected, lambda _: None
        )


def test_a_request_asks_its_context_whether_the_caller_is_connected() -> None:
    """The context is asked each time."""
    order_request = request()
    assert order_request.is_connected()

    order_request.context.is_connected = lambda: False

    assert not order_request.is_connected()
