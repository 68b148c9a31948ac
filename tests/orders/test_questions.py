"""IBKR's questions: passed on to the caller, confirmed by the request, or declined after a minute."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.calls.messages import Call, noop
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import (
    BadRequest,
    GatewayTimeout,
    OrderInProgress,
    OrderNotPlaced,
    OrderUnknown,
    ReadOnly,
    ReplyNotFound,
    SessionUnavailable,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal import index as index_module
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.questions import build_reply_call, is_declining
from ibkr_bridge.orders.request import OrderRequest
from tests.harness import with_timeout
from tests.orders.submitter_setup import ACCEPTED, QUESTION, TICKET_AND_QUESTION, SubmitterSetup, ibkr_response


async def submit_with_question(setup: SubmitterSetup) -> OrderRecord:
    """Submit an order about which IBKR asks a question; the response to the reply accepts it."""
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(ACCEPTED)]
    await setup.submit(setup.request())
    return setup.records[0]


async def test_a_question_goes_to_its_caller_unchanged(setup: SubmitterSetup) -> None:
    """The order waits until the question is answered."""
    setup.ibkr.plan = [ibkr_response(QUESTION)]

    response = await setup.submit(setup.request())

    assert (response.body, setup.records[0].state, len(setup.ibkr.calls)) == (QUESTION, OrderState.QUESTION, 1)


async def test_a_confirmation_places_the_order(setup: SubmitterSetup) -> None:
    """It also releases the lock."""
    record = await submit_with_question(setup)

    response = await setup.reply("r1", confirmed=True)

    assert (response.body, record.state, record.sent_replies["r1"][1] is not None) == (
        ACCEPTED,
        OrderState.PLACED,
        True,
    )
    assert await setup.event_names(record) == ["sent", "asked", "confirmed", "taken"]
    assert setup.submitter.lock.pending is None


async def test_a_decline_places_nothing(setup: SubmitterSetup) -> None:
    """It is journaled before it is sent: an order that was never confirmed is never placed."""
    record = await submit_with_question(setup)

    await setup.reply("r1", confirmed=False)

    assert (record.state, await setup.event_names(record)) == (OrderState.NOT_PLACED, ["sent", "asked", "declined"])


async def test_an_order_whose_decline_was_lost_is_not_placed(setup: SubmitterSetup) -> None:
    """Whether the decline arrived does not matter."""
    record = await submit_with_question(setup)
    setup.ibkr.plan = [OrderUnknown("lost")]

    with pytest.raises(OrderNotPlaced):
        await setup.reply("r1", confirmed=False)

    assert record.state is OrderState.NOT_PLACED


async def test_a_lost_confirmation_leaves_the_order_unknown(setup: SubmitterSetup) -> None:
    """The order may have been placed."""
    record = await submit_with_question(setup)
    setup.ibkr.plan = [GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await setup.reply("r1", confirmed=True)

    assert record.state is OrderState.UNKNOWN


async def test_a_reply_that_was_not_sent_can_be_sent_again(setup: SubmitterSetup) -> None:
    """The question is still open."""
    record = await submit_with_question(setup)
    setup.ibkr.error_before_entry = SessionUnavailable("down")
    with pytest.raises(SessionUnavailable):
        await setup.reply("r1", confirmed=True)
    assert record.state is OrderState.QUESTION

    setup.ibkr.error_before_entry = None
    await setup.reply("r1", confirmed=True)

    assert (await setup.event_names(record))[-2:] == ["confirmed", "taken"]


async def test_a_repeated_reply_gets_the_same_response(setup: SubmitterSetup) -> None:
    """A different reply is refused: a question is answered once."""
    await submit_with_question(setup)
    first = await setup.reply("r1", confirmed=True)

    assert (await setup.reply("r1", confirmed=True)).body == first.body
    with pytest.raises(ReplyNotFound):
        await setup.reply("r1", confirmed=False)

    assert len(setup.ibkr.calls) == 2


async def test_a_repeated_reply_of_an_order_that_left_the_memory_gets_the_same_response(
    setup: SubmitterSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has it."""
    monkeypatch.setattr(index_module, "MAX_FULL_RECORDS", 0)
    monkeypatch.setattr(index_module, "SLACK", 1)
    record = await submit_with_question(setup)
    first = await setup.reply("r1", confirmed=True)
    setup.submitter.on_delivery(record, arrived=True)
    assert setup.submitter.repository.index.find(record.id) is None

    assert (await setup.reply("r1", confirmed=True)).body == first.body
    assert len(setup.ibkr.calls) == 2


async def test_a_question_belongs_to_the_key_of_its_order(setup: SubmitterSetup) -> None:
    """Another program must not place the order."""
    record = await submit_with_question(setup)

    with pytest.raises(OrderInProgress):
        await setup.reply("r1", confirmed=True, owner="other")

    assert (record.state, len(setup.ibkr.calls)) == (OrderState.QUESTION, 1)


async def test_an_unknown_reply_id_is_not_found(setup: SubmitterSetup) -> None:
    """Nothing is sent: the question may belong to another program that trades at IBKR."""
    await submit_with_question(setup)

    for made_up in ("r2", "r", "r11", "", "R1"):
        with pytest.raises(ReplyNotFound, match="no question of this bridge"):
            await setup.reply(made_up, confirmed=True)

    assert len(setup.ibkr.calls) == 1
    assert setup.records[0].state is OrderState.QUESTION


async def test_two_replies_at_once_are_not_both_sent(setup: SubmitterSetup) -> None:
    """One confirms while the other declines."""
    await submit_with_question(setup)
    setup.ibkr.may_respond.clear()
    setup.ibkr.is_inside.clear()
    confirmation = asyncio.create_task(setup.reply("r1", confirmed=True))
    await with_timeout(setup.ibkr.is_inside.wait())

    with pytest.raises(ReplyNotFound):
        await setup.reply("r1", confirmed=False)
    setup.ibkr.may_respond.set()

    await with_timeout(confirmation)
    assert len(setup.ibkr.calls) == 2


async def test_messages_that_the_request_confirms_are_confirmed(setup: SubmitterSetup) -> None:
    """One question after the other is confirmed, as long as it has no other messages."""
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(QUESTION.replace(b"r1", b"r2")), ibkr_response(ACCEPTED)]

    response = await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (response.body, setup.records[0].state) == (ACCEPTED, OrderState.PLACED)
    assert [call.target for call in setup.ibkr.calls[1:]] == ["/v1/api/iserver/reply/r1", "/v1/api/iserver/reply/r2"]


@pytest.mark.parametrize(
    "question",
    [
        QUESTION.replace(b"o163", b"o999"),
        QUESTION.replace(b'["o163"]', b'["o163","o999"]'),
        QUESTION.replace(b',"messageIds":["o163"]', b""),
        b'[{"id":"r1","message":["a"],"messageIds":["o163"]},{"id":"r2","message":["b"],"messageIds":["o163"]}]',
        b'[{"id":"r1","message":["a"],"messageIds":["o163"]},{"id":"r2","message":["b"],"messageIds":["o999"]}]',
        b'[{"id":"r1","message":["a"],"messageIds":["o163"]},{"id":"r2","message":["b"]}]',
    ],
)
async def test_a_question_with_other_messages_goes_to_the_caller(setup: SubmitterSetup, question: bytes) -> None:
    """The request has not confirmed them."""
    setup.ibkr.plan = [ibkr_response(question)]

    response = await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (response.body, setup.records[0].state, len(setup.ibkr.calls)) == (question, OrderState.QUESTION, 1)


async def test_nothing_is_confirmed_for_a_disconnected_caller(setup: SubmitterSetup) -> None:
    """The caller would not learn that the order was placed."""
    setup.ibkr.plan = [ibkr_response(QUESTION)]
    request = setup.request(confirmations=frozenset({"o163"}))
    request.context.is_connected = lambda: False

    await setup.submit(request)

    assert setup.records[0].state is OrderState.QUESTION


async def test_the_number_of_confirmations_is_limited(setup: SubmitterSetup) -> None:
    """Twenty, as the documents say. The question after the last confirmation goes to the caller."""
    setup.ibkr.plan = [ibkr_response(QUESTION)]

    await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (len(setup.ibkr.calls), setup.records[0].state) == (20 + 1, OrderState.QUESTION)


async def test_a_question_is_declined_after_a_minute(setup: SubmitterSetup) -> None:
    """An open question keeps all other orders waiting. A later reply is refused."""
    record = await submit_with_question(setup)
    declined: list[Call] = []

    async def send(call: Call, wait_s: float) -> None:
        declined.append(call)
        assert setup.submitter.lock.pending is not None
        assert wait_s == 1.0  # other orders wait meanwhile

    questions = setup.submitter.questions
    await questions.decline_expired(setup.clock.now() + 59.9, send)
    assert (record.state, declined) == (OrderState.QUESTION, [])
    await questions.decline_expired(setup.clock.now() + 60.0, send)

    assert declined == [build_reply_call("r1", confirmed=False)]
    assert (record.state, setup.submitter.lock.pending) == (OrderState.NOT_PLACED, None)
    with pytest.raises(ReplyNotFound):
        await setup.reply("r1", confirmed=True)


async def test_an_abandoned_question_is_declined_only_while_the_lock_is_free(setup: SubmitterSetup) -> None:
    """Our decline would end the question of the order that holds the lock; that order ends the abandoned one."""
    declined: list[Call] = []

    async def send(call: Call, wait_s: float) -> None:
        declined.append(call)

    questions, lock = setup.submitter.questions, setup.submitter.lock
    lock.try_acquire("somebody")
    questions.decline_later("r8")
    await questions.decline_expired(0.0, send)
    assert declined == []

    lock.release("somebody")
    questions.decline_later("r9")
    await questions.decline_expired(0.0, send)

    assert declined == [build_reply_call("r9", confirmed=False)]


@pytest.mark.parametrize(
    ("body", "is_decline"),
    [(b'{"confirmed":true}', False), (b'{"confirmed":false}', True), (b'{"a":1,"confirmed":true,"z":2}', False)],
)
def test_a_reply_confirms_or_declines(body: bytes, is_decline: bool) -> None:
    """Its value is a boolean."""
    assert is_declining(parse_order_tickets(body)) is is_decline


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"confirmed":"true"}',
        b'{"confirmed":1}',
        b'{"confirmed":true,"confirmed":false}',
        b'{"confirmed":true,"Confirmed":false}',
        b'{"Confirmed":true}',
        b"[" * 100_000,
    ],
)
def test_an_ambiguous_reply_is_refused(body: bytes) -> None:
    """It is unknown which of two values IBKR uses."""
    with pytest.raises(BadRequest):
        is_declining(parse_order_tickets(body))


async def send_nothing(_: Call, __: float) -> None:
    """A decline that IBKR gets."""


@pytest.mark.parametrize("end", ["no reply", "declined by its caller", "a cancel"])
async def test_a_question_that_ends_beside_a_placed_ticket_leaves_the_order_unknown(
    setup: SubmitterSetup, end: str
) -> None:
    """IBKR has one of its tickets: `not_placed` would invite the caller to send that one again."""
    setup.ibkr.plan = [ibkr_response(TICKET_AND_QUESTION), ibkr_response(b'{"msg":"Request was submitted"}')]
    await setup.submit(setup.request())
    record = setup.records[0]

    if end == "no reply":
        setup.clock.advance(60.0)
        await setup.submitter.questions.decline_expired(setup.clock.now(), send_nothing)
    elif end == "a cancel":
        setup.submitter.questions.on_cancel_sent()
    else:
        await setup.reply("r1", confirmed=False)

    assert (record.state, record.order_ids) == (OrderState.UNKNOWN, ("77",))
    assert setup.submitter.lock.pending is None


async def test_of_two_questions_the_second_stays_open_after_the_first_reply(setup: SubmitterSetup) -> None:
    """Each has a reply of its own; the lock is held until the last of them."""
    two = b'[{"id":"r1","message":["a"],"messageIds":["o1"]},{"id":"r2","message":["b"],"messageIds":["o2"]}]'
    setup.ibkr.plan = [ibkr_response(two), ibkr_response(ACCEPTED)]
    await setup.submit(setup.request())
    record = setup.records[0]

    await setup.reply("r1", confirmed=True)
    state_between, pending = record.state, setup.submitter.lock.pending
    await setup.reply("r2", confirmed=True)

    assert (state_between, record.state) == (OrderState.QUESTION, OrderState.PLACED)
    assert pending is not None
    assert pending.question.replies == ("r2",)
    assert [call.target for call in setup.ibkr.calls[1:]] == ["/v1/api/iserver/reply/r1", "/v1/api/iserver/reply/r2"]


async def test_every_reply_of_an_expired_question_is_declined_and_the_lock_released(setup: SubmitterSetup) -> None:
    """Also if a decline fails: other orders must not wait for ever."""
    two = b'[{"id":"r1","message":["a"]},{"id":"r2","message":["b"]}]'
    setup.ibkr.plan = [ibkr_response(two)]
    await setup.submit(setup.request())
    declined: list[str] = []

    async def send(call: Call, _: float) -> None:
        declined.append(call.target.rpartition("/")[2])
        if len(declined) == 2:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        await setup.submitter.questions.decline_expired(setup.clock.now() + 60.0, send)

    assert declined == ["r1", "r2"]
    assert setup.submitter.lock.try_acquire("another")
    rows = await setup.repository.journal.read_all()
    assert rows[-1][1].facts["error"] == "no reply came in time"


async def test_a_waiting_reply_is_refused_when_its_question_is_declined(setup: SubmitterSetup) -> None:
    """The question was declined while the reply waited for admission, so the yes must not be sent."""
    record = await submit_with_question(setup)
    admitted = asyncio.Event()
    reply = setup.request(b'{"confirmed":true}', OrderOperation.REPLY, path="/iserver/reply/r1")

    async def wait_for_admission() -> None:
        await admitted.wait()

    reply.check_rules = wait_for_admission
    waiting = asyncio.create_task(setup.submit(reply))
    await asyncio.sleep(0)
    await setup.submitter.questions.decline_expired(setup.clock.now() + 60.0, send_nothing)
    admitted.set()

    with pytest.raises(ReplyNotFound):
        await with_timeout(waiting)
    assert (record.state, len(setup.ibkr.calls)) == (OrderState.NOT_PLACED, 1)


async def test_an_open_question_says_who_confirmed_it(setup: SubmitterSetup) -> None:
    """The journal tells a confirmation by the header from one by a reply."""
    second = QUESTION.replace(b"o163", b"o1").replace(b"r1", b"r2")
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(second), ibkr_response(ACCEPTED)]
    await setup.submit(setup.request(confirmations=frozenset({"o163"})))
    await setup.reply("r2", confirmed=True)

    rows = await setup.repository.journal.read_all()
    confirmed = [entry.facts for _, entry, _ in rows if entry.what is OrderEvent.CONFIRMED]

    assert [(facts["reply"], facts["by"], facts["request"]) for facts in confirmed] == [
        ("r1", "X-Bridge-Confirm", "req"),
        ("r2", "its caller", "req"),
    ]


async def test_a_confirmation_by_header_that_was_not_sent_leaves_the_question_to_the_caller(
    setup: SubmitterSetup,
) -> None:
    """The caller may still reply; the lock is held until then."""
    setup.ibkr.plan = [ibkr_response(QUESTION)]

    def refuse_the_second() -> None:
        if len(setup.ibkr.calls) == 1:
            raise SessionUnavailable("down")

    setup.ibkr.on_first_byte = refuse_the_second
    response = await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (response.body, setup.records[0].state) == (QUESTION, OrderState.QUESTION)
    pending = setup.submitter.lock.pending
    assert pending is not None
    assert pending.record is setup.records[0]


async def test_a_reply_is_checked_by_the_rules(setup: SubmitterSetup) -> None:
    """A yes places an order, as the order itself does. A refused yes leaves the question open."""
    record = await submit_with_question(setup)

    async def refuse() -> None:
        raise ReadOnly("no")

    for body in (b'{"confirmed":true}', b'{"confirmed":false}'):
        reply = setup.request(body, OrderOperation.REPLY, path="/iserver/reply/r1", check_rules=refuse)
        with pytest.raises(ReadOnly):
            await setup.submit(reply)

    assert (record.state, len(setup.ibkr.calls)) == (OrderState.QUESTION, 1)
    assert (await setup.reply("r1", confirmed=True)).body == ACCEPTED


async def test_a_second_reply_with_another_id_waits_for_the_first(setup: SubmitterSetup) -> None:
    """Replies to two questions at once would both be sent."""
    two = b'[{"id":"r1","message":["a"]},{"id":"r2","message":["b"]}]'
    setup.ibkr.plan = [ibkr_response(two), ibkr_response(ACCEPTED)]
    await setup.submit(setup.request())
    setup.ibkr.may_respond.clear()
    setup.ibkr.is_inside.clear()
    first = asyncio.create_task(setup.reply("r1", confirmed=True))
    await with_timeout(setup.ibkr.is_inside.wait())

    with pytest.raises(OrderInProgress, match="another reply") as error:
        await setup.reply("r2", confirmed=True)
    setup.ibkr.may_respond.set()

    await with_timeout(first)
    assert (error.value.retry_after, len(setup.ibkr.calls)) == (1.0, 2)


async def test_an_abandoned_question_is_declined_within_ten_seconds_and_releases_the_lock(
    setup: SubmitterSetup,
) -> None:
    """Longer than the keeper needs after a start. An error of the decline keeps no order waiting."""
    waits: list[float] = []

    async def send(_: Call, wait_s: float) -> None:
        waits.append(wait_s)
        raise KeyError("bug")

    setup.submitter.questions.decline_later("r9")
    with pytest.raises(KeyError):
        await setup.submitter.questions.decline_expired(0.0, send)

    assert waits == [10.0]
    assert setup.submitter.lock.try_acquire("another")


async def test_a_question_that_nobody_waits_for_wakes_the_loop(setup: SubmitterSetup) -> None:
    """IBKR would ask it for an hour otherwise."""
    wakes: list[None] = []
    setup.submitter.lock.on_question = lambda: wakes.append(None)

    setup.submitter.questions.decline_later("r9")

    assert wakes == [None]


def reply_request(setup: SubmitterSetup, reply_id: str = "r1", *, confirmed: bool = True) -> OrderRequest:
    """The request of a caller that replies to a question."""
    body = b'{"confirmed":true}' if confirmed else b'{"confirmed":false}'
    return setup.request(body, OrderOperation.REPLY, path=f"/iserver/reply/{reply_id}")


async def test_a_confirmation_by_header_says_yes_to_the_question(setup: SubmitterSetup) -> None:
    """And the rules see it as a yes: a no passes them always."""
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(ACCEPTED)]

    await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert setup.ibkr.calls[1] == build_reply_call("r1", confirmed=True)
    assert (setup.ibkr.calls[1].body, setup.ibkr.calls[1].is_change) == (b'{"confirmed":true}', True)
    facts = setup.ibkr.facts[1]
    assert (facts.operation, facts.is_declining, facts.accounts) == (OrderOperation.REPLY, False, frozenset({"DU1"}))


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_reply_is_checked_with_the_facts_of_its_order(setup: SubmitterSetup, confirmed: bool) -> None:
    """A reply names no account and no quantity; the order does."""
    await submit_with_question(setup)
    reply = reply_request(setup, confirmed=confirmed)

    await setup.submit(reply)

    assert reply.record is setup.records[0]
    for facts in (reply.facts, setup.ibkr.facts[1]):
        assert (facts.operation, facts.is_declining, facts.accounts) == (
            OrderOperation.REPLY,
            not confirmed,
            frozenset({"DU1"}),
        )


async def test_a_lost_confirmation_by_header_is_reported(setup: SubmitterSetup) -> None:
    """The order may be placed: the question must not be passed on as if it were open."""
    setup.ibkr.plan = [ibkr_response(QUESTION), GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert setup.records[0].state is OrderState.UNKNOWN
    assert setup.submitter.lock.try_acquire("another")


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_repeated_reply_shares_the_response_of_the_running_one(setup: SubmitterSetup, confirmed: bool) -> None:
    """A third reply, after the first has ended, gets the stored response."""
    record = await submit_with_question(setup)
    setup.ibkr.may_respond.clear()
    setup.ibkr.is_inside.clear()
    first, second, third = (reply_request(setup, confirmed=confirmed) for _ in range(3))
    tasks = [asyncio.create_task(setup.submit(first))]
    await with_timeout(setup.ibkr.is_inside.wait())
    tasks.append(asyncio.create_task(setup.submit(second)))
    await asyncio.sleep(0)
    setup.ibkr.may_respond.set()

    bodies = [response.body for response in await with_timeout(asyncio.gather(*tasks))]
    bodies.append((await setup.submit(third)).body)

    assert bodies == [ACCEPTED] * 3
    assert [each.source for each in (first, second, third)] == ["gateway", "shared", "cache"]
    assert (len(setup.ibkr.calls), record.in_flight) == (2, None)


async def test_a_repeated_reply_whose_response_was_lost_gets_the_same_error(setup: SubmitterSetup) -> None:
    """A yes is unknown, until the search has found the order."""
    await submit_with_question(setup)
    setup.ibkr.plan = [GatewayTimeout("silence")]
    errors = []
    requests = [reply_request(setup), reply_request(setup)]
    for request in requests:
        with pytest.raises(OrderUnknown) as error:
            await setup.submit(request)
        errors.append(error.value.detail)

    assert (errors[0], requests[1].source) == (errors[1], "bridge")
    assert len(setup.ibkr.calls) == 2


async def test_a_repeated_no_whose_response_was_lost_is_not_placed(setup: SubmitterSetup) -> None:
    """It was never confirmed, whatever became of the no."""
    await submit_with_question(setup)
    setup.ibkr.plan = [OrderUnknown("lost")]
    for _ in range(2):
        with pytest.raises(OrderNotPlaced, match="was declined, and is not placed"):
            await setup.submit(reply_request(setup, confirmed=False))

    assert len(setup.ibkr.calls) == 2


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_reply_to_a_question_that_is_over_is_not_sent(setup: SubmitterSetup, confirmed: bool) -> None:
    """A first yes was held back, then the minute passed: the id is known and its question is gone."""
    record = await submit_with_question(setup)

    def stop() -> None:
        raise SessionUnavailable("down")

    setup.ibkr.on_first_byte = stop
    with pytest.raises(SessionUnavailable):
        await setup.submit(reply_request(setup))
    setup.ibkr.on_first_byte = noop
    await setup.submitter.questions.decline_expired(setup.clock.now() + 60.0, send_nothing)

    with pytest.raises(ReplyNotFound, match="this question is over"):
        await setup.submit(reply_request(setup, confirmed=confirmed))

    assert (record.state, len(setup.ibkr.calls)) == (OrderState.NOT_PLACED, 1)


async def test_a_no_that_waits_is_over_when_its_question_is_declined(setup: SubmitterSetup) -> None:
    """Its caller is told so, and no second no is sent."""
    await submit_with_question(setup)
    may_go_on = asyncio.Event()
    reply = reply_request(setup, confirmed=False)

    async def wait() -> None:
        await may_go_on.wait()

    reply.check_rules = wait
    waiting = asyncio.create_task(setup.submit(reply))
    await asyncio.sleep(0)
    await setup.submitter.questions.decline_expired(setup.clock.now() + 60.0, send_nothing)
    may_go_on.set()

    with pytest.raises(ReplyNotFound):
        await with_timeout(waiting)
    assert len(setup.ibkr.calls) == 1


async def test_a_cancel_without_an_open_question_ends_nothing(setup: SubmitterSetup) -> None:
    """Neither if there is none, nor if its yes is being sent: that one may place the order."""
    setup.submitter.questions.on_cancel_sent()
    record = await submit_with_question(setup)
    setup.ibkr.may_respond.clear()
    setup.ibkr.is_inside.clear()
    reply = asyncio.create_task(setup.submit(reply_request(setup)))
    await with_timeout(setup.ibkr.is_inside.wait())

    setup.submitter.questions.on_cancel_sent()
    state, pending = record.state, setup.submitter.lock.pending
    setup.ibkr.may_respond.set()
    await with_timeout(reply)

    assert (state, pending is not None, record.state) == (OrderState.SENDING, True, OrderState.PLACED)


async def test_the_lock_is_held_until_the_no_is_sent_although_a_late_yes_fails_meanwhile(
    setup: SubmitterSetup,
) -> None:
    """The next order would end IBKR's question in between, and the no would end its own."""
    await submit_with_question(setup)
    may_go_on, is_held = asyncio.Event(), list[bool]()
    reply = reply_request(setup)

    async def wait() -> None:
        await may_go_on.wait()

    async def send(_: Call, __: float) -> None:
        may_go_on.set()
        with pytest.raises(ReplyNotFound):
            await with_timeout(waiting)
        is_held.append(not setup.submitter.lock.try_acquire("another"))

    reply.check_rules = wait
    waiting = asyncio.create_task(setup.submit(reply))
    await asyncio.sleep(0)
    await setup.submitter.questions.decline_expired(setup.clock.now() + 60.0, send)

    assert is_held == [True]
    assert setup.submitter.lock.try_acquire("another")
