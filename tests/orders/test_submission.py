"""The order submitter: each order call ends in exactly one state of the journal, and is sent once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

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
    TradingPaused,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal import recent_orders
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.request import UNKNOWN_OPEN
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

    setup.clock.advance(59.9)
    with pytest.raises(ReadOnly):
        await setup.submit(setup.request(check_rules=raise_read_only))
    assert len(setup.records) == 1

    setup.clock.advance(0.1)
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
        ([False, True, False], ["left", "told", "left"]),
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


CHANGE: dict[str, Any] = {"operation": OrderOperation.MODIFY, "path": "/iserver/account/DU1/order/77"}
CANCEL: dict[str, Any] = {
    "operation": OrderOperation.CANCEL,
    "path": "/iserver/account/DU1/order/77",
    "method": "DELETE",
}


async def test_a_change_is_not_sent_without_the_lock(setup: SubmitterSetup) -> None:
    """IBKR would drop the question of the order that holds it."""
    setup.submitter.lock.try_acquire("another order")
    change = asyncio.create_task(setup.submit(setup.request(b'{"quantity":2}', **CHANGE)))
    await with_timeout(setup.clock.wait_for_sleepers(1))
    calls_before = list(setup.ibkr.calls)

    setup.submitter.lock.release("another order")
    await with_timeout(change)

    assert (calls_before, len(setup.ibkr.calls)) == ([], 1)
    assert setup.submitter.lock.try_acquire("the next")


async def test_a_change_holds_the_lock_while_it_is_sent(setup: SubmitterSetup) -> None:
    """A placement that comes meanwhile waits."""
    setup.ibkr.may_respond.clear()
    change = asyncio.create_task(setup.submit(setup.request(b'{"quantity":2}', **CHANGE)))
    await with_timeout(setup.ibkr.is_inside.wait())

    assert not setup.submitter.lock.try_acquire("another")
    setup.ibkr.may_respond.set()
    await with_timeout(change)


async def test_a_cancel_is_sent_while_another_order_holds_the_lock(setup: SubmitterSetup) -> None:
    """A cancel takes no lock, so it never waits for another order."""
    setup.submitter.lock.try_acquire("another order")
    setup.ibkr.plan = [ibkr_response(b'{"msg":"Request was submitted","order_id":77}')]

    await with_timeout(setup.submit(setup.request(b"", **CANCEL)))

    assert not setup.submitter.lock.try_acquire("me")


async def test_a_change_does_not_wait_for_orders_of_the_last_run(setup: SubmitterSetup) -> None:
    """It concerns an order that its caller knows."""
    setup.wait_error = OrderInProgress("an order of the last run is being searched for")

    await setup.submit(setup.request(b'{"quantity":2}', **CHANGE))

    assert len(setup.ibkr.calls) == 1


async def test_a_cancel_that_was_not_sent_ends_no_question(setup: SubmitterSetup) -> None:
    """IBKR's question is still open, and its caller may confirm it."""
    setup.ibkr.plan = [ibkr_response(QUESTION)]
    await setup.submit(setup.request())
    setup.ibkr.error_before_entry = SessionUnavailable("down")

    with pytest.raises(SessionUnavailable):
        await setup.submit(setup.request(b"", **CANCEL))

    assert setup.records[0].state is OrderState.QUESTION
    assert setup.submitter.lock.pending is not None


async def test_a_cancel_whose_response_was_lost_ends_the_question(setup: SubmitterSetup) -> None:
    """It was sent, and IBKR forgets its question when it comes."""
    setup.ibkr.plan = [ibkr_response(QUESTION), GatewayTimeout("silence")]
    await setup.submit(setup.request())

    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request(b"", **CANCEL))

    assert setup.records[0].state is OrderState.NOT_PLACED


async def test_the_rules_are_checked_before_an_order_waits(setup: SubmitterSetup) -> None:
    """A refusal must not take the time of a question; nothing is held afterwards."""
    setup.submitter.lock.try_acquire("another order")

    with pytest.raises(ReadOnly):
        await with_timeout(setup.submit(setup.request(check_rules=raise_read_only)))

    setup.submitter.lock.release("another order")
    assert setup.submitter.lock.try_acquire("the next")


async def test_a_failed_order_releases_the_lock(setup: SubmitterSetup) -> None:
    """Whatever the error: the next order is sent."""
    setup.ibkr.plan = [GatewayTimeout("silence")]
    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request())

    assert setup.submitter.lock.try_acquire("the next")


async def test_the_facts_of_an_order_are_in_its_first_entry(setup: SubmitterSetup) -> None:
    """A later run of the bridge has only these to recognise the order by."""
    await setup.submit(setup.request(TICKET_WITH_COID, idempotency_key="k"))

    facts: Mapping[str, Any] = (await setup.repository.journal.read_all())[0][1].facts
    record = setup.records[0]
    assert (facts["kind"], facts["account"], facts["coids"], facts["own_name"]) == ("place", "DU1", ["mine"], True)
    assert (facts["owner"], facts["key"], facts["request"], facts["method"]) == ("one", "one", "req", "POST")
    assert (facts["fingerprint"], facts["idempotency"]) == (record.fingerprint, record.idempotency_digest)
    assert facts["wanted"]["alike"] == [{"conid": "8", "side": "BUY"}]
    assert "accounts" not in facts["wanted"]
    assert "figures" in facts["wanted"]


async def test_every_account_and_contract_that_a_placement_names_is_stored(setup: SubmitterSetup) -> None:
    """The same order may come again by another path, or with its contract in another member."""
    body = b'{"orders":[{"acctId":"DU22","conid":"08.0","conidex":"9@NYSE","side":" buy","quantity":1}]}'

    await setup.submit(setup.request(body))

    facts: Mapping[str, Any] = (await setup.repository.journal.read_all())[0][1].facts
    assert facts["wanted"]["alike"] == [{"conid": "8", "others": ["9"], "side": "buy"}]
    assert facts["wanted"]["accounts"] == ["DU22"]


async def test_only_the_figures_of_a_single_order_are_stored(setup: SubmitterSetup) -> None:
    """Of two, it would not be known whose they are."""
    ticket = TICKET[len(b'{"orders":[') : -2]

    await setup.submit(setup.request(b'{"orders":[' + ticket + b"," + ticket.replace(b"8", b"9") + b"]}"))

    facts: Mapping[str, Any] = (await setup.repository.journal.read_all())[0][1].facts
    assert "figures" not in facts["wanted"]
    assert len(facts["wanted"]["alike"]) == 2


async def test_a_change_stores_the_figures_from_before_it(setup: SubmitterSetup) -> None:
    """By them it is recognised whether the change was made."""
    await setup.submit(setup.request())
    await setup.submit(
        setup.request(TICKET[len(b'{"orders":[') : -2].replace(b'"quantity":1', b'"quantity":2'), **CHANGE)
    )

    wanted: Mapping[str, Any] = setup.records[1].match_criteria
    assert (wanted["order"], wanted["was"]) == ("77", setup.records[0].match_criteria["figures"])


async def test_a_change_finds_the_figures_of_an_order_that_is_a_row_only(
    setup: SubmitterSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart most orders are rows, and the figures are read from the journal."""
    await setup.submit(setup.request(TICKET_WITH_COID))
    figures = setup.records[0].match_criteria["figures"]
    await setup.repository.close()
    monkeypatch.setattr(recent_orders, "MAX_COMPLETE", 0)
    later = SubmitterSetup(setup.path)
    await later.repository.load()

    await later.submit(later.request(b"{}", OrderOperation.MODIFY, path="/iserver/account/DU1/order/77"))

    change = next(each for each in later.records if each.operation is OrderOperation.MODIFY)
    assert (bool(figures), change.match_criteria["was"]) == (True, figures)
    await later.repository.close()


async def test_an_identical_order_passes_beside_an_unknown_one_if_its_caller_says_so(setup: SubmitterSetup) -> None:
    """By the header that the documents name. Without it the caller gets the result of the first."""
    setup.ibkr.plan = [GatewayTimeout("silence"), ibkr_response(b'[{"order_id":"78"}]')]
    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request())
    setup.submitter.on_delivery(setup.records[0], arrived=True)

    with pytest.raises(OrderInProgress):
        await setup.submit(setup.request())
    await setup.submit(setup.request(confirmations=frozenset({UNKNOWN_OPEN})))

    assert (UNKNOWN_OPEN, len(setup.ibkr.calls)) == ("unknown-open", 2)


async def test_two_different_refusals_are_both_journaled(setup: SubmitterSetup) -> None:
    """Only the same one of the same call is the same."""

    async def raise_paused() -> None:
        raise TradingPaused("paused")

    for body, check in ((TICKET, raise_read_only), (TICKET, raise_paused), (TICKET_WITH_COID, raise_read_only)):
        with pytest.raises((ReadOnly, TradingPaused)):
            await setup.submit(setup.request(body, check_rules=check))

    rows = await setup.repository.journal.read_all()
    assert [entry.facts["code"] for _, entry, _ in rows] == ["read_only", "trading_paused", "read_only"]
    assert rows[0][1].facts["error"] == "no"


async def test_after_a_thousand_refusals_one_a_second_is_journaled(setup: SubmitterSetup) -> None:
    """A caller in a loop must not fill the disk. A refusal that is not written has no record."""

    async def refuse(number: int) -> object:
        request = setup.request(TICKET.replace(b'"conid":8', b'"conid":%d' % number), check_rules=raise_read_only)
        with pytest.raises(ReadOnly):
            await setup.submit(request)
        return request.record

    for number in range(1000):
        assert await refuse(number) is not None
    at_once = await refuse(1001)
    setup.clock.advance(999.9)
    too_early = await refuse(1002)
    setup.clock.advance(0.1)
    in_time = await refuse(1003)

    assert (at_once, too_early) == (None, None)
    assert in_time is not None
    assert len(await setup.repository.journal.read_all()) == 1001
    assert len(setup.submitter._refusals) == 1000


async def test_a_cancelled_call_before_its_entry_is_a_refusal(setup: SubmitterSetup) -> None:
    """The bridge is ending: the journal says that nothing was sent."""
    setup.submitter.lock.try_acquire("another order")
    waiting = asyncio.create_task(setup.submit(setup.request()))
    await with_timeout(setup.clock.wait_for_sleepers(1))

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await with_timeout(waiting)

    rows = await setup.repository.journal.read_all()
    assert [(entry.what.value, entry.facts["code"]) for _, entry, _ in rows] == [("refused", "shutting_down")]


async def test_an_order_is_in_the_index_before_it_waits(setup: SubmitterSetup) -> None:
    """Its repeat must find it, and not be sent as a second order."""
    setup.submitter.lock.try_acquire("another order")
    first = asyncio.create_task(setup.submit(setup.request()))
    await with_timeout(setup.clock.wait_for_sleepers(1))
    second = asyncio.create_task(setup.submit(setup.request()))
    await asyncio.sleep(0)

    setup.submitter.lock.release("another order")
    await with_timeout(asyncio.gather(first, second))

    assert (len(setup.ibkr.calls), len(setup.records)) == (1, 1)
    assert setup.ibkr.calls[0].target == f"/v1/api{ORDERS}"


@pytest.mark.parametrize(("operation", "body"), [(CHANGE, b'{"quantity": 2}'), (CANCEL, b"")])
async def test_a_change_or_a_cancel_is_sent_as_its_caller_wrote_it(
    setup: SubmitterSetup, operation: dict[str, Any], body: bytes
) -> None:
    """Only a placement gets a cOID."""
    request = setup.request(body, **operation)

    await setup.submit(request)

    assert setup.ibkr.calls == [request.call]
    assert setup.records[0].coids == ()


async def test_a_reply_goes_through_the_submitter(setup: SubmitterSetup) -> None:
    """It is no order of its own."""
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(b'[{"order_id":"77"}]')]
    await setup.submit(setup.request())

    response = await setup.reply("r1", confirmed=True)

    assert (response.body, len(setup.records)) == (b'[{"order_id":"77"}]', 1)


async def test_a_repeat_names_the_order_that_it_repeats(setup: SubmitterSetup) -> None:
    """Its response has the id of that order; a repeated refusal that of the first refusal."""
    requests = [setup.request(TICKET_WITH_COID) for _ in range(2)]
    for request in requests:
        await setup.submit(request)
    refusals = [setup.request(check_rules=raise_read_only) for _ in range(2)]
    for request in refusals:
        with pytest.raises(ReadOnly):
            await setup.submit(request)

    first, second, refused, refused_again = [request.record for request in (*requests, *refusals)]
    assert first is second is setup.records[0]
    assert refused is refused_again is setup.records[1]
    assert len(setup.records) == 2


async def test_an_order_with_a_key_is_no_repeat_of_one_with_another_key(setup: SubmitterSetup) -> None:
    """The key is its identity; the same body means another order then."""
    for key in ("k1", "k2"):
        await setup.submit(setup.request(idempotency_key=key))

    assert (len(setup.ibkr.calls), [record.has_own_identity for record in setup.records]) == (2, [True, True])
    rows = await setup.repository.journal.read_all()
    assert [entry.facts["own_name"] for _, entry, _ in rows if entry.what.value == "sent"] == [True, True]


async def test_an_order_that_waits_is_sent_for_the_caller_that_repeated_it(setup: SubmitterSetup) -> None:
    """The first caller has hung up; its repeat is the one that waits for the response."""
    setup.submitter.lock.try_acquire("another order")
    first, second = setup.request(), setup.request()
    tasks = [asyncio.create_task(setup.submit(first))]
    await with_timeout(setup.clock.wait_for_sleepers(1))
    tasks.append(asyncio.create_task(setup.submit(second)))
    await asyncio.sleep(0)
    first.context.is_connected = lambda: False

    setup.submitter.lock.release("another order")
    responses = await with_timeout(asyncio.gather(*tasks))

    assert [response.status for response in responses] == [200, 200]
    assert len(setup.ibkr.calls) == 1


async def test_a_refusal_that_is_not_written_is_not_kept(setup: SubmitterSetup) -> None:
    """A loop would fill the memory. Those that are written are bounded by the index."""
    setup.submitter._refusal_times.extend([setup.clock.now()] * 1000)
    request = setup.request(check_rules=raise_read_only)

    with pytest.raises(ReadOnly):
        await setup.submit(request)

    assert (setup.records, request.record) == ([], None)
