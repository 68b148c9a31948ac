"""A repeated order call, and the response that it gets."""

from __future__ import annotations

import asyncio
import json

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import OrderInProgress, OrderNotPlaced, OrderUnknown, ReadOnly
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders import replay as module
from ibkr_bridge.orders.journal.order_record import InFlightOrder, OrderRecord, StoredResponse
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.replay import not_placed_error, replay, stored_response, unknown_error
from ibkr_bridge.orders.request import OrderRequest
from tests.calls.stage_setup import context_for
from tests.harness import with_timeout
from tests.orders.submitter_setup import ORDERS, TICKET

FIRST_RESPONSE, LATEST_RESPONSE = StoredResponse(200, "application/json", "[1]"), StoredResponse(200, "", "[2]")


def record(state: OrderState = OrderState.PLACED, **attributes: object) -> OrderRecord:
    """The record of an order."""
    order_record = OrderRecord("a", OrderOperation.PLACE, request_id="req", state=state)
    for name, value in attributes.items():
        setattr(order_record, name, value)
    return order_record


def request(idempotency_key: str | None = None) -> OrderRequest:
    """A repeat of the order call."""
    return OrderRequest(context_for("POST", ORDERS, TICKET), OrderOperation.PLACE, idempotency_key=idempotency_key)


@pytest.mark.parametrize(("key", "body"), [(None, b"[2]"), ("k", b"[1]")])
async def test_an_idempotency_key_gets_the_first_response(key: str | None, body: bytes) -> None:
    """Byte for byte. Without a key the latest response is returned."""
    repeat = request(key)

    response = await replay(record(first_response=FIRST_RESPONSE, latest_response=LATEST_RESPONSE), repeat)

    assert (response.body, repeat.source) == (body, "cache")


async def test_an_order_unknown_is_repeated_unchanged() -> None:
    """Each repeat gets the same error, with the id of the request that got it first."""
    unknown = record(
        first_response=FIRST_RESPONSE, unknown_delivered=True, lost_reason="silence", lost_request_id="old"
    )

    with pytest.raises(OrderUnknown) as caught:
        await replay(unknown, request("k"))

    assert (caught.value.detail, caught.value.request_id) == ("silence; order a is being searched for", "old")


async def test_a_found_order_is_returned_in_the_form_of_ibkr() -> None:
    """Its own response was lost."""
    repeat = request()

    response = await replay(record(order_ids=("7", "8"), coids=("mine",), ibkr_status="Filled"), repeat)

    assert json.loads(response.body) == [
        {"order_id": "7", "order_status": "Filled", "local_order_id": "mine"},
        {"order_id": "8", "order_status": "Filled", "local_order_id": "mine"},
    ]
    assert repeat.source == "bridge"


@pytest.mark.parametrize(
    ("state", "error"), [(OrderState.NOT_PLACED, OrderNotPlaced), (OrderState.UNKNOWN, OrderUnknown)]
)
def test_an_order_without_a_response_is_reported_by_its_state(state: OrderState, error: type[Exception]) -> None:
    """It was not found, or the search goes on."""
    with pytest.raises(error):
        stored_response(record(state))


async def test_a_joined_call_gets_the_response_of_the_first() -> None:
    """It counts as a waiting caller, since the first may disconnect meanwhile."""
    in_flight = InFlightOrder("f", [lambda: False])
    repeat = request()
    task = asyncio.create_task(replay(record(in_flight=in_flight), repeat))
    await asyncio.sleep(0)
    assert in_flight.is_wanted()

    in_flight.result = Response(200, {}, b"[3]")
    in_flight.done.set()

    assert (await with_timeout(task)).body == b"[3]"
    assert repeat.source == "shared"


async def test_a_joined_call_gets_a_copy_of_the_error() -> None:
    """The same object raised twice would carry two tracebacks."""
    in_flight = InFlightOrder("f", [])
    in_flight.result = ReadOnly("no")
    task = asyncio.create_task(replay(record(in_flight=in_flight), request()))
    await asyncio.sleep(0)
    in_flight.done.set()

    with pytest.raises(ReadOnly) as caught:
        await with_timeout(task)

    assert caught.value is not in_flight.result


@pytest.mark.parametrize(("lost_at", "error"), [(None, OrderInProgress), ("2026-06-17T16:00:00+00:00", OrderUnknown)])
async def test_a_joined_call_has_a_timeout(
    monkeypatch: pytest.MonkeyPatch, lost_at: str | None, error: type[Exception]
) -> None:
    """The order's own deadlines end long before it."""
    monkeypatch.setattr(module, "MAX_JOIN_S", 0.01)

    with pytest.raises(error):
        await with_timeout(replay(record(in_flight=InFlightOrder("f", []), lost_at=lost_at), request()))


def test_an_order_that_was_not_placed_is_reported_with_its_own_request_id() -> None:
    """A search of the log for it finds the call that was lost."""
    assert not_placed_error(record()).request_id == "req"


def test_a_lost_response_without_a_request_id_has_that_of_the_order() -> None:
    """The log is searched by this id."""
    assert unknown_error(record(lost_reason="x")).request_id == "req"


@pytest.mark.parametrize("operation", [OrderOperation.MODIFY, OrderOperation.CANCEL])
def test_a_lost_change_does_not_say_that_its_order_is_gone(operation: OrderOperation) -> None:
    """The order may still work, and a new one would be the second."""
    lost = record()
    lost.operation = operation

    error = not_placed_error(lost)

    assert ("does not exist" in error.detail, "new order" in error.hint) == (False, False)
