"""IBKR's questions: handed to the caller, confirmed beforehand, declined after a minute."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import (
    BadRequest,
    GatewayTimeout,
    OrderInProgress,
    OrderNotPlaced,
    OrderUnknown,
    ReplyNotFound,
    SessionUnavailable,
)
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.orders.questions import MAX_CONFIRMATIONS, build_reply_call, is_declining
from ibkr_bridge.orders.serialization import REPLY_TIMEOUT_S
from tests.harness import within
from tests.orders.submitter_setup import QUESTION, TAKEN, SubmitterSetup, answer


async def asked(setup: SubmitterSetup) -> OrderRecord:
    """An order about which IBKR asks."""
    setup.road.plan = [answer(QUESTION), answer(TAKEN)]
    await setup.submit(setup.request())
    return setup.records[0]


async def test_a_question_goes_to_its_caller_unchanged(setup: SubmitterSetup) -> None:
    """The order stands still until it is answered."""
    setup.road.plan = [answer(QUESTION)]

    response = await setup.submit(setup.request())

    assert (response.body, setup.records[0].state, len(setup.road.calls)) == (QUESTION, OrderState.QUESTION, 1)


async def test_a_yes_of_the_caller_places_the_order(setup: SubmitterSetup) -> None:
    """And frees the setup."""
    record = await asked(setup)

    response = await setup.reply("r1", confirmed=True)

    assert (response.body, record.state, record.sent_replies["r1"][1] is not None) == (TAKEN, OrderState.PLACED, True)
    assert await setup.story(record) == ["sent", "asked", "confirmed", "taken"]
    assert setup.submitter.lock.pending is None


async def test_a_no_of_the_caller_places_nothing(setup: SubmitterSetup) -> None:
    """It is written down before it leaves: what was never confirmed is never placed."""
    record = await asked(setup)

    await setup.reply("r1", confirmed=False)

    assert (record.state, await setup.story(record)) == (OrderState.NOT_PLACED, ["sent", "asked", "declined"])


async def test_the_answer_to_a_lost_no_is_certain(setup: SubmitterSetup) -> None:
    """Whatever became of the no itself."""
    record = await asked(setup)
    setup.road.plan = [OrderUnknown("lost")]

    with pytest.raises(OrderNotPlaced):
        await setup.reply("r1", confirmed=False)

    assert record.state is OrderState.NOT_PLACED


async def test_a_lost_yes_leaves_the_order_unknown(setup: SubmitterSetup) -> None:
    """It may have been placed."""
    record = await asked(setup)
    setup.road.plan = [GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await setup.reply("r1", confirmed=True)

    assert record.state is OrderState.UNKNOWN


async def test_a_reply_that_did_not_leave_can_be_sent_again(setup: SubmitterSetup) -> None:
    """The question stands as before."""
    record = await asked(setup)
    setup.road.stops = SessionUnavailable("down")
    with pytest.raises(SessionUnavailable):
        await setup.reply("r1", confirmed=True)
    assert record.state is OrderState.QUESTION

    setup.road.stops = None
    await setup.reply("r1", confirmed=True)

    assert (await setup.story(record))[-2:] == ["confirmed", "taken"]


async def test_the_same_reply_again_is_told_the_same(setup: SubmitterSetup) -> None:
    """And another one is refused: a question is answered once."""
    await asked(setup)
    first = await setup.reply("r1", confirmed=True)

    assert (await setup.reply("r1", confirmed=True)).body == first.body
    with pytest.raises(ReplyNotFound):
        await setup.reply("r1", confirmed=False)

    assert len(setup.road.calls) == 2


async def test_a_question_belongs_to_the_key_that_was_asked(setup: SubmitterSetup) -> None:
    """Another app must not place somebody's order."""
    record = await asked(setup)

    with pytest.raises(OrderInProgress):
        await setup.reply("r1", confirmed=True, owner="other")

    assert (record.state, len(setup.road.calls)) == (OrderState.QUESTION, 1)


async def test_an_id_that_was_never_handed_out_is_not_found(setup: SubmitterSetup) -> None:
    """Nothing is sent: it may be a question to somebody who trades elsewhere."""
    await asked(setup)

    with pytest.raises(ReplyNotFound):
        await setup.reply("r2", confirmed=True)

    assert len(setup.road.calls) == 1


async def test_two_replies_at_once_are_not_both_sent(setup: SubmitterSetup) -> None:
    """One says yes while the other says no."""
    await asked(setup)
    setup.road.may_answer.clear()
    setup.road.is_inside.clear()
    yes = asyncio.create_task(setup.reply("r1", confirmed=True))
    await within(setup.road.is_inside.wait())

    with pytest.raises(ReplyNotFound):
        await setup.reply("r1", confirmed=False)
    setup.road.may_answer.set()

    await within(yes)
    assert len(setup.road.calls) == 2


async def test_what_the_caller_confirmed_beforehand_is_confirmed_for_it(setup: SubmitterSetup) -> None:
    """One question after the other, as long as each names only such messages."""
    setup.road.plan = [answer(QUESTION), answer(QUESTION.replace(b"r1", b"r2")), answer(TAKEN)]

    response = await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (response.body, setup.records[0].state) == (TAKEN, OrderState.PLACED)
    assert [call.target for call in setup.road.calls[1:]] == ["/v1/api/iserver/reply/r1", "/v1/api/iserver/reply/r2"]


@pytest.mark.parametrize(
    "question",
    [
        QUESTION.replace(b"o163", b"o999"),
        QUESTION.replace(b'["o163"]', b'["o163","o999"]'),
        QUESTION.replace(b',"messageIds":["o163"]', b""),
        b'[{"id":"r1","message":["a"],"messageIds":["o163"]},{"id":"r2","message":["b"],"messageIds":["o163"]}]',
    ],
)
async def test_a_question_with_anything_else_in_it_goes_to_the_caller(setup: SubmitterSetup, question: bytes) -> None:
    """Nobody has said yes to that."""
    setup.road.plan = [answer(question)]

    response = await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (response.body, setup.records[0].state, len(setup.road.calls)) == (question, OrderState.QUESTION, 1)


async def test_nothing_is_confirmed_for_a_caller_who_has_gone(setup: SubmitterSetup) -> None:
    """Nobody would hear that it was placed."""
    setup.road.plan = [answer(QUESTION)]
    request = setup.request(confirmations=frozenset({"o163"}))
    request.context.is_connected = lambda: False

    await setup.submit(request)

    assert setup.records[0].state is OrderState.QUESTION


async def test_questions_without_an_end_are_given_to_the_caller(setup: SubmitterSetup) -> None:
    """A loop must end somewhere."""
    setup.road.plan = [answer(QUESTION)]

    await setup.submit(setup.request(confirmations=frozenset({"o163"})))

    assert (len(setup.road.calls), setup.records[0].state) == (MAX_CONFIRMATIONS + 1, OrderState.QUESTION)


async def test_a_question_is_declined_after_a_minute(setup: SubmitterSetup) -> None:
    """It would keep everybody else from placing orders; a reply is too late then."""
    record = await asked(setup)
    declined: list[Call] = []

    async def send(call: Call, wait_s: float) -> None:
        declined.append(call)
        assert setup.submitter.lock.pending is not None

    questions = setup.submitter.questions
    await questions.decline_expired(setup.clock.now() + REPLY_TIMEOUT_S - 0.1, send)
    assert (record.state, declined) == (OrderState.QUESTION, [])
    await questions.decline_expired(setup.clock.now() + REPLY_TIMEOUT_S, send)

    assert declined == [build_reply_call("r1", confirmed=False)]
    assert (record.state, setup.submitter.lock.pending) == (OrderState.NOT_PLACED, None)
    with pytest.raises(ReplyNotFound):
        await setup.reply("r1", confirmed=True)


async def test_an_abandoned_question_is_declined_only_while_nobody_has_the_desk(setup: SubmitterSetup) -> None:
    """A no of ours would end somebody's question; their own order ends the abandoned one."""
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


@pytest.mark.parametrize(("body", "declines"), [(b'{"confirmed":true}', False), (b'{"confirmed":false}', True)])
def test_a_reply_says_yes_or_no(body: bytes, declines: bool) -> None:
    """As a boolean."""
    assert is_declining(parse_order_tickets(body)) is declines


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
def test_a_reply_that_says_neither_or_both_is_refused(body: bytes) -> None:
    """Nobody knows which of two IBKR takes."""
    with pytest.raises(BadRequest):
        is_declining(parse_order_tickets(body))
