"""The order submitter: each order call ends in exactly one state of the journal, and is sent once."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.errors import (
    BadRequest,
    DuplicateOrder,
    GatewayTimeout,
    IdempotencyMismatch,
    OrderInProgress,
    OrderUnknown,
    ReadOnly,
    SessionUnavailable,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.submission import SAME_REFUSAL_S
from tests.harness import with_timeout
from tests.orders.submitter_setup import ORDERS, QUESTION, TICKET, TICKET_WITH_COID, SubmitterSetup, ibkr_response


async def raise_read_only() -> None:
    """A rule that refuses."""
    raise ReadOnly("no")


async def test_an_order_is_journaled_sent_once_and_settled(setup: SubmitterSetup) -> None:
    """The journal has it before IBKR does. Then the lock is free for the next order."""
    request = setup.request()

    response = await setup.submit(request)

    (record,) = setup.records
    assert (response.status, record.state, record.order_ids) == (200, OrderState.PLACED, ("77",))
    assert (request.record, record.in_flight, await setup.event_names(record)) == (record, None, ["sent", "taken"])
    assert setup.submitter.lock.try_acquire("somebody")


async def test_an_order_without_a_coid_gets_one(setup: SubmitterSetup) -> None:
    """The cOID finds the order if its response is lost. No other byte of the body changes."""
    await setup.submit(setup.request())

    (sent_body,) = setup.ibkr.bodies
    coid = setup.records[0].coids[0]
    assert sent_body == TICKET.replace(b'{"acctId"', b'{"cOID":"' + coid.encode() + b'","acctId"')


@pytest.mark.parametrize("body", [TICKET_WITH_COID, b'{"orders":[]}'])
async def test_the_rules_are_checked_before_the_body(setup: SubmitterSetup, body: bytes) -> None:
    """A read-only bridge says so for any body, and nothing is sent."""
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(body, check_rules=raise_read_only))

    assert setup.ibkr.calls == []


async def test_a_body_without_orders_is_refused_and_journaled(setup: SubmitterSetup) -> None:
    """Its caller finds it in the list of orders, with the reason."""
    request = setup.request(b'{"orders":[]}')

    with pytest.raises(BadRequest):
        await setup.submit(request)

    assert request.record is not None
    assert (request.record.state, await setup.event_names(request.record)) == (OrderState.REFUSED, ["refused"])


async def test_a_repeated_order_gets_the_response_of_the_first(setup: SubmitterSetup) -> None:
    """Its caller lost the response and sends the order once more."""
    await setup.submit(setup.request(TICKET_WITH_COID))
    repeat = setup.request(TICKET_WITH_COID)

    response = await setup.submit(repeat)

    assert (response.status, repeat.source, len(setup.ibkr.calls), len(setup.records)) == (200, "cache", 1, 1)


async def test_a_repeat_during_the_first_call_waits_for_its_response(setup: SubmitterSetup) -> None:
    """Both get the same response."""
    setup.ibkr.may_respond.clear()
    first, second = setup.request(TICKET_WITH_COID), setup.request(TICKET_WITH_COID)
    tasks = [asyncio.create_task(setup.submit(first))]
    await with_timeout(setup.ibkr.is_inside.wait())
    tasks.append(asyncio.create_task(setup.submit(second)))
    await asyncio.sleep(0)

    setup.ibkr.may_respond.set()
    responses = await with_timeout(asyncio.gather(*tasks))

    assert responses[0] is responses[1]
    assert (second.source, len(setup.ibkr.calls)) == ("shared", 1)


async def test_an_identity_belongs_to_one_body(setup: SubmitterSetup) -> None:
    """Another order with the same identity would be taken for the first one."""
    await setup.submit(setup.request(TICKET_WITH_COID, idempotency_key="k"))

    with pytest.raises(IdempotencyMismatch):
        await setup.submit(setup.request(TICKET, idempotency_key="k"))
    with pytest.raises(DuplicateOrder):
        await setup.submit(setup.request(TICKET_WITH_COID.replace(b'"quantity":1', b'"quantity":2')))

    assert len(setup.ibkr.calls) == 1


async def test_an_order_that_was_not_sent_may_be_sent_again(setup: SubmitterSetup) -> None:
    """Its cOID is still free."""
    setup.ibkr.error_before_entry = SessionUnavailable("down")
    with pytest.raises(SessionUnavailable):
        await setup.submit(setup.request(TICKET_WITH_COID))

    setup.ibkr.error_before_entry = None
    await setup.submit(setup.request(TICKET_WITH_COID))

    assert [record.state for record in setup.records] == [OrderState.REFUSED, OrderState.PLACED]


async def test_a_lost_response_leaves_the_order_unknown(setup: SubmitterSetup) -> None:
    """The caller gets this error, and a repeat is not sent."""
    setup.ibkr.plan = [GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request(TICKET_WITH_COID))
    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request(TICKET_WITH_COID))

    assert (len(setup.ibkr.calls), setup.records[0].state) == (1, OrderState.UNKNOWN)


async def test_the_same_refusal_is_journaled_once_a_minute(setup: SubmitterSetup) -> None:
    """A caller in a loop must not fill the disk."""
    for _ in range(3):
        with pytest.raises(ReadOnly):
            await setup.submit(setup.request(check_rules=raise_read_only))
    assert len(setup.records) == 1

    setup.clock.advance(SAME_REFUSAL_S)
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(check_rules=raise_read_only))

    assert len(setup.records) == 2


async def test_a_placement_waits_for_unsettled_orders_of_the_last_run(setup: SubmitterSetup) -> None:
    """A change or a cancel does not wait: it concerns a known order."""
    setup.wait_error = OrderInProgress("an order of the last run is being searched for")

    with pytest.raises(OrderInProgress):
        await setup.submit(setup.request())
    cancel = setup.request(b"", OrderOperation.CANCEL, method="DELETE", path="/iserver/account/DU1/order/77")
    setup.ibkr.plan = [ibkr_response(b'{"msg":"Request was submitted","order_id":77}')]
    await setup.submit(cancel)

    assert [record.state for record in setup.records] == [OrderState.REFUSED, OrderState.PLACED]


async def test_a_cancel_does_not_wait_for_an_order_and_ends_its_question(setup: SubmitterSetup) -> None:
    """IBKR drops its question when any other order call comes."""
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(b'{"msg":"Request was submitted","order_id":5}')]
    await setup.submit(setup.request())
    questioned = setup.records[0]
    assert questioned.state is OrderState.QUESTION

    await with_timeout(
        setup.submit(setup.request(b"", OrderOperation.CANCEL, method="DELETE", path="/iserver/account/DU1/order/5"))
    )

    assert (questioned.state, setup.submitter.lock.pending) == (OrderState.NOT_PLACED, None)


async def test_another_order_waits_until_a_question_is_answered(setup: SubmitterSetup) -> None:
    """It would end the question. If its maximum wait is over, it gets an error."""
    setup.ibkr.plan = [ibkr_response(QUESTION)]
    await setup.submit(setup.request())
    second = asyncio.create_task(setup.submit(setup.request(TICKET_WITH_COID)))
    await setup.clock.wait_for_sleepers(1)

    setup.clock.advance(6.0)

    with pytest.raises(OrderInProgress, match="waits for the reply to a question"):
        await with_timeout(second)
    assert len(setup.ibkr.calls) == 1


@pytest.mark.parametrize(
    ("deliveries", "event_names"),
    [
        ([True], ["told"]),
        ([True, True], ["told"]),
        ([False], ["left"]),
        ([False, False], ["left"]),
        ([True, False], ["told", "left"]),
        ([False, True], ["left", "told"]),
        ([True, False, True, False], ["told", "left", "told"]),
    ],
)
async def test_the_delivery_of_a_response_is_journaled(
    setup: SubmitterSetup, deliveries: list[bool], event_names: list[str]
) -> None:
    """Once for each result: a delivery may later prove to have failed."""
    await setup.submit(setup.request())
    record = setup.records[0]

    for arrived in deliveries:
        setup.submitter.on_delivery(record, arrived=arrived)

    assert await setup.event_names(record) == ["sent", "taken", *event_names]


async def test_the_delivery_of_a_refusal_is_not_journaled(setup: SubmitterSetup) -> None:
    """Nothing was sent, so no order has to be found."""
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(check_rules=raise_read_only))
    record = setup.records[0]

    setup.submitter.on_delivery(record, arrived=False)

    assert await setup.event_names(record) == ["refused"]


LONG = "9" * 100_000
KEPT = ("conid", "side", "price", "auxPrice", "quantity", "tif", "orderType", "parentId", "cOID")


async def longest_value(setup: SubmitterSetup) -> int:
    """The length of the longest text in the journal."""
    rows = await setup.repository.journal.read_all()

    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for each in value.items() for part in each for text in texts(part)]
        return [text for each in value for text in texts(each)] if isinstance(value, list) else [str(value)]

    return max(len(text) for _, entry, _ in rows for text in texts(entry.facts))


@pytest.mark.parametrize("value", [f'"{LONG}"', f"1.{LONG}", f'["{LONG}"]', '{"a":"' + LONG + '"}'])
@pytest.mark.parametrize("name", KEPT)
async def test_a_long_value_is_refused_and_not_kept(setup: SubmitterSetup, name: str, value: str) -> None:
    """A cut value could be taken for that of another order, and a whole one fills memory and disk."""
    ticket = f'{{"acctId":"DU1","{name}":{value}}}'

    for body in (f'{{"orders":[{ticket}]}}', ticket):
        with pytest.raises(BadRequest):
            await setup.submit(setup.request(body.encode()))

    assert setup.ibkr.calls == []
    assert await longest_value(setup) <= 128
    assert max(len(repr(record.match_criteria)) for record in setup.records) < 400


@pytest.mark.parametrize("operation", [OrderOperation.MODIFY, OrderOperation.CANCEL, OrderOperation.ANSWER])
async def test_long_names_in_a_path_are_cut(setup: SubmitterSetup, operation: OrderOperation) -> None:
    """They are kept beside the order, and a path may have four thousand bytes."""
    path = f"/iserver/account/{'A' * 1900}/order/{'1' * 1900}"
    body = b'{"orderId":"' + b"1" * 60 + b'","quantity":1}'
    request = setup.request(body, operation, path=path, account="A" * 1900)

    await setup.submit(request)

    (record,) = setup.records
    assert len(record.account or "") <= 64
    assert len(repr(record.match_criteria)) < 400


async def test_a_cancel_with_a_long_body_is_sent(setup: SubmitterSetup) -> None:
    """A way out of an order is never refused for something beside it."""
    body = f'{{"quantity":"{LONG}"}}'.encode()

    await setup.submit(setup.request(body, OrderOperation.CANCEL, method="DELETE", path=f"{ORDERS}/77"))

    assert len(setup.ibkr.calls) == 1
