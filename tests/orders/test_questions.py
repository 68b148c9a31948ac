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
from tests.orders.desk import QUESTION, TAKEN, Desk, answer


async def asked(desk: Desk) -> OrderRecord:
    """An order about which IBKR asks."""
    desk.road.plan = [answer(QUESTION), answer(TAKEN)]
    await desk.submit(desk.request())
    return desk.records[0]


async def test_a_question_goes_to_its_caller_unchanged(desk: Desk) -> None:
    """The order stands still until it is answered."""
    desk.road.plan = [answer(QUESTION)]

    response = await desk.submit(desk.request())

    assert (response.body, desk.records[0].state, len(desk.road.calls)) == (QUESTION, OrderState.QUESTION, 1)


async def test_a_yes_of_the_caller_places_the_order(desk: Desk) -> None:
    """And frees the desk."""
    record = await asked(desk)

    response = await desk.reply("r1", confirmed=True)

    assert (response.body, record.state, record.sent_replies["r1"][1] is not None) == (TAKEN, OrderState.PLACED, True)
    assert await desk.story(record) == ["sent", "asked", "confirmed", "taken"]
    assert desk.submitter.lock.pending is None


async def test_a_no_of_the_caller_places_nothing(desk: Desk) -> None:
    """It is written down before it leaves: what was never confirmed is never placed."""
    record = await asked(desk)

    await desk.reply("r1", confirmed=False)

    assert (record.state, await desk.story(record)) == (OrderState.NOT_PLACED, ["sent", "asked", "declined"])


async def test_the_answer_to_a_lost_no_is_certain(desk: Desk) -> None:
    """Whatever became of the no itself."""
    record = await asked(desk)
    desk.road.plan = [OrderUnknown("lost")]

    with pytest.raises(OrderNotPlaced):
        await desk.reply("r1", confirmed=False)

    assert record.state is OrderState.NOT_PLACED


async def test_a_lost_yes_leaves_the_order_unknown(desk: Desk) -> None:
    """It may have been placed."""
    record = await asked(desk)
    desk.road.plan = [GatewayTimeout("silence")]

    with pytest.raises(OrderUnknown):
        await desk.reply("r1", confirmed=True)

    assert record.state is OrderState.UNKNOWN


async def test_a_reply_that_did_not_leave_can_be_sent_again(desk: Desk) -> None:
    """The question stands as before."""
    record = await asked(desk)
    desk.road.stops = SessionUnavailable("down")
    with pytest.raises(SessionUnavailable):
        await desk.reply("r1", confirmed=True)
    assert record.state is OrderState.QUESTION

    desk.road.stops = None
    await desk.reply("r1", confirmed=True)

    assert (await desk.story(record))[-2:] == ["confirmed", "taken"]


async def test_the_same_reply_again_is_told_the_same(desk: Desk) -> None:
    """And another one is refused: a question is answered once."""
    await asked(desk)
    first = await desk.reply("r1", confirmed=True)

    assert (await desk.reply("r1", confirmed=True)).body == first.body
    with pytest.raises(ReplyNotFound):
        await desk.reply("r1", confirmed=False)

    assert len(desk.road.calls) == 2


async def test_a_question_belongs_to_the_key_that_was_asked(desk: Desk) -> None:
    """Another app must not place somebody's order."""
    record = await asked(desk)

    with pytest.raises(OrderInProgress):
        await desk.reply("r1", confirmed=True, owner="other")

    assert (record.state, len(desk.road.calls)) == (OrderState.QUESTION, 1)


async def test_an_id_that_was_never_handed_out_is_not_found(desk: Desk) -> None:
    """Nothing is sent: it may be a question to somebody who trades elsewhere."""
    await asked(desk)

    with pytest.raises(ReplyNotFound):
        await desk.reply("r2", confirmed=True)

    assert len(desk.road.calls) == 1


async def test_two_replies_at_once_are_not_both_sent(desk: Desk) -> None:
    """One says yes while the other says no."""
    await asked(desk)
    desk.road.may_answer.clear()
    desk.road.is_inside.clear()
    yes = asyncio.create_task(desk.reply("r1", confirmed=True))
    await within(desk.road.is_inside.wait())

    with pytest.raises(ReplyNotFound):
        await desk.reply("r1", confirmed=False)
    desk.road.may_answer.set()

    await within(yes)
    assert len(desk.road.calls) == 2


async def test_what_the_caller_confirmed_beforehand_is_confirmed_for_it(desk: Desk) -> None:
    """One question after the other, as long as each names only such messages."""
    desk.road.plan = [answer(QUESTION), answer(QUESTION.replace(b"r1", b"r2")), answer(TAKEN)]

    response = await desk.submit(desk.request(confirmations=frozenset({"o163"})))

    assert (response.body, desk.records[0].state) == (TAKEN, OrderState.PLACED)
    assert [call.target for call in desk.road.calls[1:]] == ["/v1/api/iserver/reply/r1", "/v1/api/iserver/reply/r2"]


@pytest.mark.parametrize(
    "question",
    [
        QUESTION.replace(b"o163", b"o999"),
        QUESTION.replace(b'["o163"]', b'["o163","o999"]'),
        QUESTION.replace(b',"messageIds":["o163"]', b""),
        b'[{"id":"r1","message":["a"],"messageIds":["o163"]},{"id":"r2","message":["b"],"messageIds":["o163"]}]',
    ],
)
async def test_a_question_with_anything_else_in_it_goes_to_the_caller(desk: Desk, question: bytes) -> None:
    """Nobody has said yes to that."""
    desk.road.plan = [answer(question)]

    response = await desk.submit(desk.request(confirmations=frozenset({"o163"})))

    assert (response.body, desk.records[0].state, len(desk.road.calls)) == (question, OrderState.QUESTION, 1)


async def test_nothing_is_confirmed_for_a_caller_who_has_gone(desk: Desk) -> None:
    """Nobody would hear that it was placed."""
    desk.road.plan = [answer(QUESTION)]
    request = desk.request(confirmations=frozenset({"o163"}))
    request.context.is_connected = lambda: False

    await desk.submit(request)

    assert desk.records[0].state is OrderState.QUESTION


async def test_questions_without_an_end_are_given_to_the_caller(desk: Desk) -> None:
    """A loop must end somewhere."""
    desk.road.plan = [answer(QUESTION)]

    await desk.submit(desk.request(confirmations=frozenset({"o163"})))

    assert (len(desk.road.calls), desk.records[0].state) == (MAX_CONFIRMATIONS + 1, OrderState.QUESTION)


async def test_a_question_is_declined_after_a_minute(desk: Desk) -> None:
    """It would keep everybody else from placing orders; a reply is too late then."""
    record = await asked(desk)
    declined: list[Call] = []

    async def send(call: Call, wait_s: float) -> None:
        declined.append(call)
        assert desk.submitter.lock.pending is not None

    questions = desk.submitter.questions
    await questions.decline_expired(desk.clock.now() + REPLY_TIMEOUT_S - 0.1, send)
    assert (record.state, declined) == (OrderState.QUESTION, [])
    await questions.decline_expired(desk.clock.now() + REPLY_TIMEOUT_S, send)

    assert declined == [build_reply_call("r1", confirmed=False)]
    assert (record.state, desk.submitter.lock.pending) == (OrderState.NOT_PLACED, None)
    with pytest.raises(ReplyNotFound):
        await desk.reply("r1", confirmed=True)


async def test_an_abandoned_question_is_declined_only_while_nobody_has_the_desk(desk: Desk) -> None:
    """A no of ours would end somebody's question; their own order ends the abandoned one."""
    declined: list[Call] = []

    async def send(call: Call, wait_s: float) -> None:
        declined.append(call)

    questions, lock = desk.submitter.questions, desk.submitter.lock
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
