"""The order desk: each order call ends in exactly one state of the journal, and is sent once."""

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
from tests.harness import within
from tests.orders.desk import NAMED, QUESTION, TICKET, Desk, answer


async def refuse() -> None:
    """A rule that refuses."""
    raise ReadOnly("no")


async def test_an_order_is_written_down_sent_once_and_settled(desk: Desk) -> None:
    """The journal knows it before IBKR does; the desk is free for the next one."""
    request = desk.request()

    response = await desk.submit(request)

    (record,) = desk.records
    assert (response.status, record.state, record.order_ids) == (200, OrderState.PLACED, ("77",))
    assert (request.record, record.in_flight, await desk.story(record)) == (record, None, ["sent", "taken"])
    assert desk.submitter.lock.try_acquire("somebody")


async def test_an_order_without_a_name_is_given_one(desk: Desk) -> None:
    """By which it is found if its answer is lost; not another character of it changes."""
    await desk.submit(desk.request())

    (sent,) = desk.road.bodies
    coid = desk.records[0].coids[0]
    assert sent == TICKET.replace(b'{"acctId"', b'{"cOID":"' + coid.encode() + b'","acctId"')


@pytest.mark.parametrize("body", [NAMED, b'{"orders":[]}'])
async def test_rules_come_before_how_an_order_is_written(desk: Desk, body: bytes) -> None:
    """A bridge that changes nothing says so whatever the body is; nothing is sent."""
    with pytest.raises(ReadOnly):
        await desk.submit(desk.request(body, check_rules=refuse))

    assert desk.road.calls == []


async def test_a_body_that_is_no_order_is_refused_and_written_down(desk: Desk) -> None:
    """Its caller finds it under the orders, with the reason."""
    request = desk.request(b'{"orders":[]}')

    with pytest.raises(BadRequest):
        await desk.submit(request)

    assert request.record is not None
    assert (request.record.state, await desk.story(request.record)) == (OrderState.REFUSED, ["refused"])


async def test_the_same_order_again_is_the_first_one(desk: Desk) -> None:
    """Its caller never had the answer, and sends it once more."""
    await desk.submit(desk.request(NAMED))
    again = desk.request(NAMED)

    response = await desk.submit(again)

    assert (response.status, again.source, len(desk.road.calls), len(desk.records)) == (200, "cache", 1, 1)


async def test_the_same_order_at_the_same_time_waits_with_the_first(desk: Desk) -> None:
    """Both are told the same."""
    desk.road.may_answer.clear()
    first, second = desk.request(NAMED), desk.request(NAMED)
    tasks = [asyncio.create_task(desk.submit(first))]
    await within(desk.road.is_inside.wait())
    tasks.append(asyncio.create_task(desk.submit(second)))
    await asyncio.sleep(0)

    desk.road.may_answer.set()
    responses = await within(asyncio.gather(*tasks))

    assert responses[0] is responses[1]
    assert (second.source, len(desk.road.calls)) == ("shared", 1)


async def test_an_identity_belongs_to_one_content(desk: Desk) -> None:
    """Another order under the same name would be taken for the first by whoever asks for it."""
    await desk.submit(desk.request(NAMED, idempotency_key="k"))

    with pytest.raises(IdempotencyMismatch):
        await desk.submit(desk.request(TICKET, idempotency_key="k"))
    with pytest.raises(DuplicateOrder):
        await desk.submit(desk.request(NAMED.replace(b'"quantity":1', b'"quantity":2')))

    assert len(desk.road.calls) == 1


async def test_an_order_that_did_not_leave_may_be_sent_again(desk: Desk) -> None:
    """It has no claim to its name."""
    desk.road.stops = SessionUnavailable("down")
    with pytest.raises(SessionUnavailable):
        await desk.submit(desk.request(NAMED))

    desk.road.stops = None
    await desk.submit(desk.request(NAMED))

    assert [record.state for record in desk.records] == [OrderState.REFUSED, OrderState.PLACED]


async def test_a_lost_answer_leaves_the_order_unknown(desk: Desk) -> None:
    """It is told so, and the same order is not sent again."""
    desk.road.plan = [GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await desk.submit(desk.request(NAMED))
    with pytest.raises(OrderUnknown):
        await desk.submit(desk.request(NAMED))

    assert (len(desk.road.calls), desk.records[0].state) == (1, OrderState.UNKNOWN)


async def test_the_same_refusal_is_written_once_a_minute(desk: Desk) -> None:
    """A caller in a loop must not fill the disk; after the minute it is news again."""
    for _ in range(3):
        with pytest.raises(ReadOnly):
            await desk.submit(desk.request(check_rules=refuse))
    assert len(desk.records) == 1

    desk.clock.advance(SAME_REFUSAL_S)
    with pytest.raises(ReadOnly):
        await desk.submit(desk.request(check_rules=refuse))

    assert len(desk.records) == 2


async def test_an_order_waits_for_those_of_the_run_before(desk: Desk) -> None:
    """A change or a cancel does not: it is about an order that is known."""
    desk.waits_for = OrderInProgress("an order of the last run is being searched for")

    with pytest.raises(OrderInProgress):
        await desk.submit(desk.request())
    cancel = desk.request(b"", OrderOperation.CANCEL, method="DELETE", path="/iserver/account/DU1/order/77")
    desk.road.plan = [answer(b'{"msg":"Request was submitted","order_id":77}')]
    await desk.submit(cancel)

    assert [record.state for record in desk.records] == [OrderState.REFUSED, OrderState.PLACED]


async def test_a_cancel_does_not_wait_for_an_order_and_ends_its_question(desk: Desk) -> None:
    """IBKR forgets its question when any order call comes in between."""
    desk.road.plan = [answer(QUESTION), answer(b'{"msg":"Request was submitted","order_id":5}')]
    await desk.submit(desk.request())
    asked = desk.records[0]
    assert asked.state is OrderState.QUESTION

    await within(
        desk.submit(desk.request(b"", OrderOperation.CANCEL, method="DELETE", path="/iserver/account/DU1/order/5"))
    )

    assert (asked.state, desk.submitter.lock.pending) == (OrderState.NOT_PLACED, None)


async def test_another_order_waits_until_a_question_is_answered(desk: Desk) -> None:
    """It would end the question; it is told when it did not get its turn in time."""
    desk.road.plan = [answer(QUESTION)]
    await desk.submit(desk.request())
    second = asyncio.create_task(desk.submit(desk.request(NAMED)))
    await desk.clock.asleep(1)

    desk.clock.advance(6.0)

    with pytest.raises(OrderInProgress, match="waits for the reply to a question"):
        await within(second)
    assert len(desk.road.calls) == 1


@pytest.mark.parametrize(
    ("deliveries", "story"),
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
async def test_whether_an_answer_reached_its_caller_is_written_down(
    desk: Desk, deliveries: list[bool], story: list[str]
) -> None:
    """Once; that it did can turn out to be wrong, and that is believed once as well."""
    await desk.submit(desk.request())
    record = desk.records[0]

    for arrived in deliveries:
        desk.submitter.on_delivery(record, arrived=arrived)

    assert await desk.story(record) == ["sent", "taken", *story]


async def test_a_refusal_needs_no_delivery(desk: Desk) -> None:
    """Nothing left, so nothing has to be looked for."""
    with pytest.raises(ReadOnly):
        await desk.submit(desk.request(check_rules=refuse))
    record = desk.records[0]

    desk.submitter.on_delivery(record, arrived=False)

    assert await desk.story(record) == ["refused"]
