"""The order setup: each order call ends in exactly one state of the journal, and is sent once."""

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
from tests.orders.submitter_setup import NAMED, QUESTION, TICKET, SubmitterSetup, answer


async def refuse() -> None:
    """A rule that refuses."""
    raise ReadOnly("no")


async def test_an_order_is_written_down_sent_once_and_settled(setup: SubmitterSetup) -> None:
    """The journal knows it before IBKR does; the setup is free for the next one."""
    request = setup.request()

    response = await setup.submit(request)

    (record,) = setup.records
    assert (response.status, record.state, record.order_ids) == (200, OrderState.PLACED, ("77",))
    assert (request.record, record.in_flight, await setup.story(record)) == (record, None, ["sent", "taken"])
    assert setup.submitter.lock.try_acquire("somebody")


async def test_an_order_without_a_name_is_given_one(setup: SubmitterSetup) -> None:
    """By which it is found if its answer is lost; not another character of it changes."""
    await setup.submit(setup.request())

    (sent,) = setup.road.bodies
    coid = setup.records[0].coids[0]
    assert sent == TICKET.replace(b'{"acctId"', b'{"cOID":"' + coid.encode() + b'","acctId"')


@pytest.mark.parametrize("body", [NAMED, b'{"orders":[]}'])
async def test_rules_come_before_how_an_order_is_written(setup: SubmitterSetup, body: bytes) -> None:
    """A bridge that changes nothing says so whatever the body is; nothing is sent."""
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(body, check_rules=refuse))

    assert setup.road.calls == []


async def test_a_body_that_is_no_order_is_refused_and_written_down(setup: SubmitterSetup) -> None:
    """Its caller finds it under the orders, with the reason."""
    request = setup.request(b'{"orders":[]}')

    with pytest.raises(BadRequest):
        await setup.submit(request)

    assert request.record is not None
    assert (request.record.state, await setup.story(request.record)) == (OrderState.REFUSED, ["refused"])


async def test_the_same_order_again_is_the_first_one(setup: SubmitterSetup) -> None:
    """Its caller never had the answer, and sends it once more."""
    await setup.submit(setup.request(NAMED))
    again = setup.request(NAMED)

    response = await setup.submit(again)

    assert (response.status, again.source, len(setup.road.calls), len(setup.records)) == (200, "cache", 1, 1)


async def test_the_same_order_at_the_same_time_waits_with_the_first(setup: SubmitterSetup) -> None:
    """Both are told the same."""
    setup.road.may_answer.clear()
    first, second = setup.request(NAMED), setup.request(NAMED)
    tasks = [asyncio.create_task(setup.submit(first))]
    await within(setup.road.is_inside.wait())
    tasks.append(asyncio.create_task(setup.submit(second)))
    await asyncio.sleep(0)

    setup.road.may_answer.set()
    responses = await within(asyncio.gather(*tasks))

    assert responses[0] is responses[1]
    assert (second.source, len(setup.road.calls)) == ("shared", 1)


async def test_an_identity_belongs_to_one_content(setup: SubmitterSetup) -> None:
    """Another order under the same name would be taken for the first by whoever asks for it."""
    await setup.submit(setup.request(NAMED, idempotency_key="k"))

    with pytest.raises(IdempotencyMismatch):
        await setup.submit(setup.request(TICKET, idempotency_key="k"))
    with pytest.raises(DuplicateOrder):
        await setup.submit(setup.request(NAMED.replace(b'"quantity":1', b'"quantity":2')))

    assert len(setup.road.calls) == 1


async def test_an_order_that_did_not_leave_may_be_sent_again(setup: SubmitterSetup) -> None:
    """It has no claim to its name."""
    setup.road.stops = SessionUnavailable("down")
    with pytest.raises(SessionUnavailable):
        await setup.submit(setup.request(NAMED))

    setup.road.stops = None
    await setup.submit(setup.request(NAMED))

    assert [record.state for record in setup.records] == [OrderState.REFUSED, OrderState.PLACED]


async def test_a_lost_answer_leaves_the_order_unknown(setup: SubmitterSetup) -> None:
    """It is told so, and the same order is not sent again."""
    setup.road.plan = [GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request(NAMED))
    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request(NAMED))

    assert (len(setup.road.calls), setup.records[0].state) == (1, OrderState.UNKNOWN)


async def test_the_same_refusal_is_written_once_a_minute(setup: SubmitterSetup) -> None:
    """A caller in a loop must not fill the disk; after the minute it is news again."""
    for _ in range(3):
        with pytest.raises(ReadOnly):
            await setup.submit(setup.request(check_rules=refuse))
    assert len(setup.records) == 1

    setup.clock.advance(SAME_REFUSAL_S)
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(check_rules=refuse))

    assert len(setup.records) == 2


async def test_an_order_waits_for_those_of_the_run_before(setup: SubmitterSetup) -> None:
    """A change or a cancel does not: it is about an order that is known."""
    setup.waits_for = OrderInProgress("an order of the last run is being searched for")

    with pytest.raises(OrderInProgress):
        await setup.submit(setup.request())
    cancel = setup.request(b"", OrderOperation.CANCEL, method="DELETE", path="/iserver/account/DU1/order/77")
    setup.road.plan = [answer(b'{"msg":"Request was submitted","order_id":77}')]
    await setup.submit(cancel)

    assert [record.state for record in setup.records] == [OrderState.REFUSED, OrderState.PLACED]


async def test_a_cancel_does_not_wait_for_an_order_and_ends_its_question(setup: SubmitterSetup) -> None:
    """IBKR forgets its question when any order call comes in between."""
    setup.road.plan = [answer(QUESTION), answer(b'{"msg":"Request was submitted","order_id":5}')]
    await setup.submit(setup.request())
    asked = setup.records[0]
    assert asked.state is OrderState.QUESTION

    await within(
        setup.submit(setup.request(b"", OrderOperation.CANCEL, method="DELETE", path="/iserver/account/DU1/order/5"))
    )

    assert (asked.state, setup.submitter.lock.pending) == (OrderState.NOT_PLACED, None)


async def test_another_order_waits_until_a_question_is_answered(setup: SubmitterSetup) -> None:
    """It would end the question; it is told when it did not get its turn in time."""
    setup.road.plan = [answer(QUESTION)]
    await setup.submit(setup.request())
    second = asyncio.create_task(setup.submit(setup.request(NAMED)))
    await setup.clock.asleep(1)

    setup.clock.advance(6.0)

    with pytest.raises(OrderInProgress, match="waits for the reply to a question"):
        await within(second)
    assert len(setup.road.calls) == 1


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
    setup: SubmitterSetup, deliveries: list[bool], story: list[str]
) -> None:
    """Once; that it did can turn out to be wrong, and that is believed once as well."""
    await setup.submit(setup.request())
    record = setup.records[0]

    for arrived in deliveries:
        setup.submitter.on_delivery(record, arrived=arrived)

    assert await setup.story(record) == ["sent", "taken", *story]


async def test_a_refusal_needs_no_delivery(setup: SubmitterSetup) -> None:
    """Nothing left, so nothing has to be looked for."""
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(check_rules=refuse))
    record = setup.records[0]

    setup.submitter.on_delivery(record, arrived=False)

    assert await setup.story(record) == ["refused"]
