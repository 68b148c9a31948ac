"""The same order call once more, and what it is told."""

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
from ibkr_bridge.orders.replay import replay, stored_response, unknown_error
from ibkr_bridge.orders.request import OrderRequest
from tests.calls.road import context_for
from tests.harness import within
from tests.orders.submitter_setup import ORDERS, TICKET

FIRST, LATEST = StoredResponse(200, "application/json", "[1]"), StoredResponse(200, "", "[2]")


def record(state: OrderState = OrderState.PLACED, **more: object) -> OrderRecord:
    """An order that is known."""
    made = OrderRecord("a", OrderOperation.PLACE, request_id="req", state=state)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def request(idempotency_key: str | None = None) -> OrderRequest:
    """The same call once more."""
    return OrderRequest(context_for("POST", ORDERS, TICKET), OrderOperation.PLACE, idempotency_key=idempotency_key)


@pytest.mark.parametrize(("key", "body"), [(None, b"[2]"), ("k", b"[1]")])
async def test_a_key_promises_the_first_answer_to_the_byte(key: str | None, body: bytes) -> None:
    """Without one the latest is told."""
    again = request(key)

    response = await replay(record(first_response=FIRST, latest_response=LATEST), again)

    assert (response.body, again.source) == (body, "cache")


async def test_who_was_told_that_nobody_knows_is_told_that_again() -> None:
    """Each time the same, to the byte, with the request it was first told to."""
    known = record(first_response=FIRST, unknown_delivered=True, lost_reason="silence", lost_request_id="old")

    with pytest.raises(OrderUnknown) as caught:
        await replay(known, request("k"))

    assert (caught.value.detail, caught.value.request_id) == ("silence; order a is being searched for", "old")


async def test_an_order_that_was_found_is_told_in_ibkrs_shape() -> None:
    """Its own answer never came."""
    again = request()

    response = await replay(record(order_ids=("7", "8"), coids=("mine",), ibkr_status="Filled"), again)

    assert json.loads(response.body) == [
        {"order_id": "7", "order_status": "Filled", "local_order_id": "mine"},
        {"order_id": "8", "order_status": "Filled", "local_order_id": "mine"},
    ]
    assert again.source == "bridge"


@pytest.mark.parametrize(
    ("state", "error"), [(OrderState.NOT_PLACED, OrderNotPlaced), (OrderState.UNKNOWN, OrderUnknown)]
)
def test_an_order_without_an_answer_is_told_as_what_it_is(state: OrderState, error: type[Exception]) -> None:
    """Looked for in vain, or still being searched for."""
    with pytest.raises(error):
        stored_response(record(state))


async def test_who_joins_is_told_what_the_first_is_told() -> None:
    """And counts as one who waits: the first may leave meanwhile."""
    in_flight = InFlightOrder("f", [lambda: False])
    again = request()
    task = asyncio.create_task(replay(record(in_flight=in_flight), again))
    await asyncio.sleep(0)
    assert in_flight.is_wanted()

    in_flight.result = Response(200, {}, b"[3]")
    in_flight.done.set()

    assert (await within(task)).body == b"[3]"
    assert again.source == "shared"


async def test_who_joins_gets_an_error_of_its_own() -> None:
    """The same object raised twice would carry two tracebacks."""
    in_flight = InFlightOrder("f", [])
    in_flight.result = ReadOnly("no")
    task = asyncio.create_task(replay(record(in_flight=in_flight), request()))
    await asyncio.sleep(0)
    in_flight.done.set()

    with pytest.raises(ReadOnly) as caught:
        await within(task)

    assert caught.value is not in_flight.result


@pytest.mark.parametrize(("lost_at", "error"), [(None, OrderInProgress), ("2026-06-17T16:00:00+00:00", OrderUnknown)])
async def test_who_joins_is_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch, lost_at: str | None, error: type[Exception]
) -> None:
    """An order's own deadlines are over long before."""
    monkeypatch.setattr(module, "MAX_JOIN_S", 0.01)

    with pytest.raises(error):
        await within(replay(record(in_flight=InFlightOrder("f", []), lost_at=lost_at), request()))


def test_a_loss_without_a_request_of_its_own_bears_the_orders() -> None:
    """The log is searched by it."""
    assert unknown_error(record(lost_reason="x")).request_id == "req"
