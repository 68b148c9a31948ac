"""One exchange about an order: written before its first byte, and when its answer has come, however it ends."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace

import pytest

from ibkr_bridge.calls.context import CallerGone
from ibkr_bridge.errors import (
    BridgeError,
    GatewayForbidden,
    GatewayTimeout,
    OrderUnknown,
    RateLimited,
    TradingPaused,
    UpstreamRefused,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.exchange import ExchangeStep, OrderExchange, outcome_facts, refusal_of
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.response import OrderOutcome, Question, interpret_placement
from tests.body_stream import FakeBodyStream
from tests.orders.submitter_setup import QUESTION, TAKEN, SubmitterSetup, answer


class Dealing:
    """An exchange of a new order."""

    def __init__(self, setup: SubmitterSetup) -> None:
        self.setup = setup
        self.declined: list[str] = []
        self.exchange = OrderExchange(setup.repository, self.declined.append)
        self.record = OrderRecord("a", OrderOperation.PLACE, fingerprint="f", request_id="req")
        setup.repository.index.add(self.record)

    async def run(self) -> OrderOutcome:
        """Exchange."""
        request = self.setup.request()
        step = ExchangeStep(
            request.call, request.facts, OrderEvent.SENT, {"kind": "place", "fingerprint": "f"}, interpret_placement
        )
        return (await self.exchange.run(self.record, request, step))[1]

    async def fails(self, error: type[BaseException]) -> BaseException:
        """Exchange, and fail."""
        with pytest.raises(error) as caught:
            await self.run()
        return caught.value

    async def story(self) -> list[str]:
        """What the journal tells."""
        return await self.setup.story(self.record)


@pytest.fixture
def dealing(setup: SubmitterSetup) -> Dealing:
    """An exchange of a new order."""
    return Dealing(setup)


@pytest.mark.parametrize(
    ("body", "status", "story", "state"),
    [
        (TAKEN, 200, "taken", OrderState.PLACED),
        (QUESTION, 200, "asked", OrderState.QUESTION),
        (b'{"error":"no margin"}', 200, "turned_down", OrderState.REJECTED),
        (b"<html>", 200, "lost", OrderState.UNKNOWN),
        (b"", 502, "lost", OrderState.UNKNOWN),
    ],
)
async def test_an_answer_is_written_down_as_what_it_says(
    dealing: Dealing, body: bytes, status: int, story: str, state: OrderState
) -> None:
    """One that says nothing leaves the order unknown."""
    dealing.setup.road.plan = [answer(body, status)]

    outcome = await dealing.run()

    assert (outcome.event.value, dealing.record.state, await dealing.story()) == (story, state, ["sent", story])


@pytest.mark.parametrize("error", [RateLimited, UpstreamRefused, GatewayForbidden])
async def test_a_refusal_at_the_door_is_no_loss(dealing: Dealing, error: type[BridgeError]) -> None:
    """Nobody has seen the order, so the same call may be sent again."""
    dealing.setup.road.plan = [error("no")]

    await dealing.fails(error)

    assert (dealing.record.state, dealing.record.may_be_sent_again) == (OrderState.REJECTED, True)


@pytest.mark.parametrize("error", [GatewayTimeout("silence"), OrderUnknown("lost")])
async def test_an_answer_that_is_lost_is_told_as_unknown_with_the_orders_id(
    dealing: Dealing, error: BridgeError
) -> None:
    """Its caller can follow it there."""
    dealing.setup.road.plan = [error]

    told = await dealing.fails(OrderUnknown)

    assert "order a is being searched for" in str(told)
    assert (dealing.record.lost_reason, await dealing.story()) == (error.detail, ["sent", "lost"])


async def test_an_error_of_our_own_behind_the_first_byte_is_a_loss_too(dealing: Dealing) -> None:
    """It left, whatever went wrong then; the error itself is raised, so that it is seen."""
    dealing.setup.road.plan = [KeyError("bug")]

    await dealing.fails(KeyError)

    assert await dealing.story() == ["sent", "lost"]


async def test_an_error_before_the_entry_leaves_no_trace(dealing: Dealing) -> None:
    """The setup writes the refusal."""
    dealing.setup.road.stops = TradingPaused("paused")

    await dealing.fails(TradingPaused)

    assert (dealing.record.state, await dealing.story()) == (None, [])


async def test_an_answer_that_is_too_long_is_none(dealing: Dealing) -> None:
    """It is let go of; half of an answer could say the opposite of the whole."""
    rest = FakeBodyStream()
    dealing.setup.road.plan = [replace(answer(b" " * 5_000_000), body_stream=rest)]

    await dealing.fails(OrderUnknown)

    assert (rest.close_count, dealing.record.state) == (1, OrderState.UNKNOWN)


async def test_an_answer_that_came_packed_is_read(dealing: Dealing) -> None:
    """An order must not be lost over that."""
    packed = answer(gzip.compress(TAKEN))
    dealing.setup.road.plan = [replace(packed, headers={"Content-Encoding": "gzip"})]

    assert (await dealing.run()).order_ids == ("77",)


@pytest.mark.parametrize(
    ("late", "state", "declined"),
    [
        (TAKEN, OrderState.PLACED, []),
        (b'{"error":"no margin"}', OrderState.REJECTED, []),
        (QUESTION, OrderState.NOT_PLACED, ["r1"]),
        (b"<html>", OrderState.UNKNOWN, []),
    ],
)
async def test_a_late_answer_settles_an_order_that_was_given_up(
    dealing: Dealing, late: bytes, state: OrderState, declined: list[str]
) -> None:
    """The best evidence there is; a question that nobody waits for is declined."""
    dealing.setup.road.plan = [GatewayTimeout("silence")]
    await dealing.fails(OrderUnknown)

    dealing.setup.road.late(answer(late))

    assert (dealing.record.state, dealing.declined) == (state, declined)


async def test_a_late_question_about_an_order_that_is_settled_is_not_declined(dealing: Dealing) -> None:
    """It was found meanwhile, so the question is no more."""
    dealing.setup.road.plan = [GatewayTimeout("silence")]
    await dealing.fails(OrderUnknown)
    dealing.setup.repository.append_eventually(dealing.record, OrderEvent.FOUND, {})

    dealing.setup.road.late(answer(QUESTION))

    assert (dealing.record.state, dealing.declined) == (OrderState.PLACED, [])


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (TradingPaused("paused"), "trading_paused"),
        (asyncio.CancelledError(), "shutting_down"),
        (CallerGone(), "caller_gone"),
    ],
)
def test_why_nothing_left_is_kept_as_a_code_and_words(exc: BaseException, code: str) -> None:
    """Programs switch on the code."""
    assert refusal_of(exc)[0] == code
    assert refusal_of(exc)[1]


def test_an_outcome_is_kept_without_what_it_does_not_say() -> None:
    """The journal is read for years."""
    assert outcome_facts(OrderOutcome(OrderEvent.TAKEN)) == {}
    assert outcome_facts(
        OrderOutcome(OrderEvent.ASKED, ("7",), "x", "y", Question(("r",), ("o",)), may_be_sent_again=True)
    ) == {"replies": ["r"], "messages": ["o"], "order_ids": ["7"], "status": "x", "error": "y", "again": True}


def test_a_confirmation_needs_a_question_and_a_placement_a_fresh_order() -> None:
    """The state that is required is looked at before the entry is written."""
    of = {
        event: ExchangeStep(None, None, event, {}, interpret_placement).required_state  # type: ignore[arg-type]
        for event in (OrderEvent.SENT, OrderEvent.CONFIRMED)
    }

    assert of == {OrderEvent.SENT: None, OrderEvent.CONFIRMED: OrderState.QUESTION}
