"""A request about an order, as the setup sees it."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.context import FirstByteHook
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.request import OrderRequest
from tests.calls.road import context_for
from tests.orders.submitter_setup import ORDERS, TICKET


def request(method: str = "POST", path: str = ORDERS, body: bytes = TICKET, **more: float) -> OrderRequest:
    """One of them."""
    context = context_for(method, path, body)
    for name, value in more.items():
        setattr(context, name, value)
    return OrderRequest(context, OrderOperation.PLACE)


def test_it_is_judged_by_its_contexts_facts_at_first() -> None:
    """Later by those with the value of the order; the context keeps its own."""
    made = request()

    assert made.facts is made.context.facts


@pytest.mark.parametrize(
    "other",
    [request(method="PUT"), request(path=ORDERS.replace("DU1", "DU2")), request(body=TICKET + b" ")],
)
def test_only_the_same_call_has_the_same_fingerprint(other: OrderRequest) -> None:
    """Method, target and body to the byte."""
    assert request().fingerprint == request().fingerprint != other.fingerprint


def test_a_fingerprint_does_not_show_where_one_part_ends() -> None:
    """Else a target and a body could be cut in another place."""
    assert request("GET", "/trsrv/a", b"bc").fingerprint != request("GET", "/trsrv/ab", b"c").fingerprint


def test_the_wait_that_is_left_counts_from_when_the_request_came() -> None:
    """And is never less than nothing; what the request says counts before the settings."""
    made = request(max_wait_s=5.0)
    assert 4.0 < made.remaining_wait() <= 5.0

    made.started_at -= 3.0
    assert 1.0 < made.remaining_wait() <= 2.0
    made.context.wait_s = 0.0

    assert made.remaining_wait() == 0.0


async def test_a_request_that_was_not_handed_to_the_service_cannot_be_sent() -> None:
    """A mistake of the program shows itself before a byte leaves."""

    async def write() -> None:
        raise AssertionError("it was sent")

    made = request()
    with pytest.raises(RuntimeError, match="not handed to the order service"):
        await made.send(made.call, made.facts, FirstByteHook(write), made.is_connected, lambda _: None)


def test_its_caller_is_connected_as_long_as_the_context_says() -> None:
    """It is asked anew each time."""
    made = request()
    assert made.is_connected()

    made.context.is_connected = lambda: False

    assert not made.is_connected()
