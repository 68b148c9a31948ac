"""One exchange about an order: it is journaled before its first byte and at its end, however it ends."""

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
    ReplyNotFound,
    TradingPaused,
    UpstreamRefused,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.exchange import ExchangeStep, OrderExchange, outcome_facts, refusal_of
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.response import OrderOutcome, Question, interpret_placement
from tests.body_stream import FakeBodyStream
from tests.disk import Disk
from tests.harness import with_timeout
from tests.orders.submitter_setup import ACCEPTED, QUESTION, TICKET_AND_QUESTION, SubmitterSetup, ibkr_response


class ExchangeSetup:
    """An exchange of a new order."""

    def __init__(self, setup: SubmitterSetup) -> None:
        self.setup = setup
        self.declined: list[str] = []
        self.exchange = OrderExchange(setup.repository, self.declined.append)
        self.record = OrderRecord("a", OrderOperation.PLACE, fingerprint="f", request_id="req")
        setup.repository.index.add(self.record)

    async def run(self, event: OrderEvent = OrderEvent.SENT) -> OrderOutcome:
        """Run the exchange."""
        request = self.setup.request()
        entry_facts = {"kind": "place", "fingerprint": "f"} if event is OrderEvent.SENT else {"reply": "r1"}
        step = ExchangeStep(request.call, request.facts, event, entry_facts, interpret_placement)
        return (await self.exchange.run(self.record, request, step))[1]

    async def run_and_fail(self, error: type[BaseException]) -> BaseException:
        """Run the exchange, which must fail. Returns its error."""
        with pytest.raises(error) as caught:
            await self.run()
        return caught.value

    async def event_names(self) -> list[str]:
        """The names of the order's events in the journal."""
        return await self.setup.event_names(self.record)


@pytest.fixture
def exchange_setup(setup: SubmitterSetup) -> ExchangeSetup:
    """An exchange of a new order."""
    return ExchangeSetup(setup)


@pytest.mark.parametrize(
    ("body", "status", "event_name", "state"),
    [
        (ACCEPTED, 200, "taken", OrderState.PLACED),
        (QUESTION, 200, "asked", OrderState.QUESTION),
        (b'{"error":"no margin"}', 200, "turned_down", OrderState.REJECTED),
    ],
)
async def test_a_response_is_journaled_as_its_event(
    exchange_setup: ExchangeSetup, body: bytes, status: int, event_name: str, state: OrderState
) -> None:
    """Each of IBKR's clear responses has one."""
    exchange_setup.setup.ibkr.plan = [ibkr_response(body, status)]

    outcome = await exchange_setup.run()

    assert (outcome.event.value, exchange_setup.record.state, await exchange_setup.event_names()) == (
        event_name,
        state,
        ["sent", event_name],
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"<html>Internal Server Error</html>", 500),
        (b"", 502),
        (b"", 503),
        (b'{"order":', 200),
        (b'{"error":"held","order_id":"9"}', 200),
        (b'{"error":"try later"}', 503),
    ],
)
async def test_what_the_journal_calls_unknown_is_an_error_for_the_caller(
    exchange_setup: ExchangeSetup, body: bytes, status: int
) -> None:
    """IBKR's response would look like an answer, and invite the caller to send the order again."""
    exchange_setup.setup.ibkr.plan = [ibkr_response(body, status)]

    with pytest.raises(OrderUnknown, match="is being searched for"):
        await exchange_setup.run()

    assert exchange_setup.record.state is OrderState.UNKNOWN
    assert await exchange_setup.event_names() == ["sent", "lost"]
    assert exchange_setup.record.latest_response is None  # a repetition gets the same error, not this response


@pytest.mark.parametrize("error", [RateLimited, UpstreamRefused, GatewayForbidden])
async def test_a_call_that_ibkr_did_not_accept_is_rejected(
    exchange_setup: ExchangeSetup, error: type[BridgeError]
) -> None:
    """IBKR has not processed the order, so the same call may be sent again."""
    exchange_setup.setup.ibkr.plan = [error("no")]

    await exchange_setup.run_and_fail(error)

    assert (exchange_setup.record.state, exchange_setup.record.may_be_sent_again) == (OrderState.REJECTED, True)


@pytest.mark.parametrize(
    ("body", "may_be_sent_again"),
    [
        (b"no bridge", True),
        (b'{"message":"Init session first"}', True),
        (b"<html><body>not authenticated</body></html>", True),
        (b'{"error":"Bad Request: no bridge"}', True),
        (b"no such contract", False),
    ],
)
async def test_a_refusal_for_want_of_a_session_may_be_sent_again(
    exchange_setup: ExchangeSetup, body: bytes, may_be_sent_again: bool
) -> None:
    """IBKR did not process the order, in whatever form it says so."""
    exchange_setup.setup.ibkr.plan = [ibkr_response(body, 400)]

    await exchange_setup.run()

    record = exchange_setup.record
    assert (record.state, record.may_be_sent_again) == (OrderState.REJECTED, may_be_sent_again)


@pytest.mark.parametrize("error", [GatewayTimeout("silence"), OrderUnknown("lost")])
async def test_a_lost_response_is_reported_as_unknown_with_the_id_of_the_order(
    exchange_setup: ExchangeSetup, error: BridgeError
) -> None:
    """With the id, the caller can follow the order."""
    exchange_setup.setup.ibkr.plan = [error]

    unknown = await exchange_setup.run_and_fail(OrderUnknown)

    assert "order a is being searched for" in str(unknown)
    assert (exchange_setup.record.lost_reason, await exchange_setup.event_names()) == (error.detail, ["sent", "lost"])


async def test_an_unexpected_error_after_the_first_byte_is_a_lost_response(exchange_setup: ExchangeSetup) -> None:
    """The order was sent. The error itself is raised, so that it is seen."""
    exchange_setup.setup.ibkr.plan = [KeyError("bug")]

    await exchange_setup.run_and_fail(KeyError)

    assert await exchange_setup.event_names() == ["sent", "lost"]


async def test_an_error_before_the_entry_leaves_the_journal_empty(exchange_setup: ExchangeSetup) -> None:
    """The submitter writes the refusal."""
    exchange_setup.setup.ibkr.error_before_entry = TradingPaused("paused")

    await exchange_setup.run_and_fail(TradingPaused)

    assert (exchange_setup.record.state, await exchange_setup.event_names()) == (None, [])


async def test_the_entry_is_on_the_disk_when_the_bytes_are_handed_over(exchange_setup: ExchangeSetup) -> None:
    """A kill in the next step of the loop must find it there. The file is read by a second connection."""
    on_disk: list[list[str]] = []
    setup = exchange_setup.setup
    setup.ibkr.on_first_byte = lambda: on_disk.append(setup.states_on_disk())

    await exchange_setup.run()

    assert on_disk == [["sending"]]


async def test_the_entry_of_a_confirmation_is_on_the_disk_when_its_bytes_are_handed_over(
    exchange_setup: ExchangeSetup,
) -> None:
    """It is the confirmation that places the order."""
    on_disk: list[list[str]] = []
    setup = exchange_setup.setup
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(ACCEPTED)]
    await exchange_setup.run()
    setup.ibkr.on_first_byte = lambda: on_disk.append(setup.states_on_disk())

    await exchange_setup.run(OrderEvent.CONFIRMED)

    assert on_disk == [["sending", "question", "sending"]]


async def test_a_question_that_is_over_is_not_confirmed(exchange_setup: ExchangeSetup) -> None:
    """It was declined while its reply waited for admission."""
    exchange_setup.setup.ibkr.plan = [ibkr_response(QUESTION)]
    await exchange_setup.run()
    exchange_setup.setup.repository.append_eventually(exchange_setup.record, OrderEvent.DECLINED, {})

    with pytest.raises(ReplyNotFound):
        await exchange_setup.run(OrderEvent.CONFIRMED)

    assert (await exchange_setup.event_names())[-1] == "declined"
    assert len(exchange_setup.setup.ibkr.calls) == 1


async def test_an_order_that_was_sent_is_not_sent_again(exchange_setup: ExchangeSetup) -> None:
    """A record is sent once, whichever part of the code sends it."""
    await exchange_setup.run()

    with pytest.raises(ReplyNotFound):
        await exchange_setup.run()

    assert len(exchange_setup.setup.ibkr.calls) == 1


@pytest.mark.parametrize("is_confirmation", [False, True])
async def test_an_exchange_that_is_stopped_after_its_entry_says_so(
    exchange_setup: ExchangeSetup, is_confirmation: bool
) -> None:
    """No byte left: the order is refused, and of a question the caller may confirm it once more."""
    setup = exchange_setup.setup
    if is_confirmation:
        setup.ibkr.plan = [ibkr_response(QUESTION)]
        await exchange_setup.run()

    def stop() -> None:
        raise TradingPaused("paused")

    setup.ibkr.on_first_byte = stop
    with pytest.raises(TradingPaused):
        await exchange_setup.run(OrderEvent.CONFIRMED if is_confirmation else OrderEvent.SENT)

    event_name, state = ("held_back", OrderState.QUESTION) if is_confirmation else ("refused", OrderState.REFUSED)
    rows = await setup.repository.journal.read_all()
    facts = rows[-1][1].facts
    assert (exchange_setup.record.state, (await exchange_setup.event_names())[-1]) == (state, event_name)
    assert (facts["code"], facts["error"], facts["stopped"]) == ("trading_paused", "paused", True)
    assert len(setup.ibkr.calls) == is_confirmation


async def test_a_response_is_stored_with_the_request_that_got_it(exchange_setup: ExchangeSetup) -> None:
    """A repeated call gets it from there, after a restart too."""
    await exchange_setup.run()

    facts = (await exchange_setup.setup.repository.journal.read_all())[-1][1].facts
    assert (facts["request"], facts["own"], facts["order_ids"]) == ("req", True, ["77"])
    assert exchange_setup.record.latest_response is not None
    assert exchange_setup.record.latest_response.as_response.body == ACCEPTED


async def test_a_late_question_beside_a_placed_ticket_leaves_the_order_to_the_search(
    exchange_setup: ExchangeSetup,
) -> None:
    """The question is declined, and the ticket that IBKR has is not called `not_placed`."""
    exchange_setup.setup.ibkr.plan = [GatewayTimeout("silence")]
    await exchange_setup.run_and_fail(OrderUnknown)

    exchange_setup.setup.ibkr.on_late_response(ibkr_response(TICKET_AND_QUESTION))

    assert (exchange_setup.record.state, exchange_setup.declined) == (OrderState.UNKNOWN, ["r1"])


async def test_a_response_that_is_too_large_counts_as_lost(exchange_setup: ExchangeSetup) -> None:
    """It is closed unread: a part of it could say the opposite of the whole."""
    body_stream = FakeBodyStream()
    exchange_setup.setup.ibkr.plan = [replace(ibkr_response(b" " * 5_000_000), body_stream=body_stream)]

    await exchange_setup.run_and_fail(OrderUnknown)

    assert (body_stream.close_count, exchange_setup.record.state) == (1, OrderState.UNKNOWN)


async def test_a_compressed_response_is_read(exchange_setup: ExchangeSetup) -> None:
    """Compression must not make an order unknown."""
    compressed = ibkr_response(gzip.compress(ACCEPTED))
    exchange_setup.setup.ibkr.plan = [replace(compressed, headers={"Content-Encoding": "gzip"})]

    assert (await exchange_setup.run()).order_ids == ("77",)


@pytest.mark.parametrize(
    ("late_body", "state", "declined"),
    [
        (ACCEPTED, OrderState.PLACED, []),
        (b'{"error":"no margin"}', OrderState.REJECTED, []),
        (QUESTION, OrderState.NOT_PLACED, ["r1"]),
        (b"<html>", OrderState.UNKNOWN, []),
    ],
)
async def test_a_late_response_settles_an_unknown_order(
    exchange_setup: ExchangeSetup, late_body: bytes, state: OrderState, declined: list[str]
) -> None:
    """It is the best evidence there is. A question in it is declined, since no caller waits for it."""
    exchange_setup.setup.ibkr.plan = [GatewayTimeout("silence")]
    await exchange_setup.run_and_fail(OrderUnknown)

    exchange_setup.setup.ibkr.on_late_response(ibkr_response(late_body))

    assert (exchange_setup.record.state, exchange_setup.declined) == (state, declined)


async def test_a_late_question_about_a_settled_order_is_not_declined(exchange_setup: ExchangeSetup) -> None:
    """The order was found meanwhile, so the question is no longer open."""
    exchange_setup.setup.ibkr.plan = [GatewayTimeout("silence")]
    await exchange_setup.run_and_fail(OrderUnknown)
    exchange_setup.setup.repository.append_eventually(exchange_setup.record, OrderEvent.FOUND, {})

    exchange_setup.setup.ibkr.on_late_response(ibkr_response(QUESTION))

    assert (exchange_setup.record.state, exchange_setup.declined) == (OrderState.PLACED, [])


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (TradingPaused("paused"), "trading_paused"),
        (asyncio.CancelledError(), "shutting_down"),
        (CallerGone(), "caller_gone"),
    ],
)
def test_the_reason_for_not_sending_is_a_code_and_a_text(exc: BaseException, code: str) -> None:
    """Programs switch on the code."""
    assert refusal_of(exc)[0] == code
    assert refusal_of(exc)[1]


def test_the_facts_of_an_outcome_leave_out_empty_values() -> None:
    """Journals are kept for years, so they must stay small."""
    assert outcome_facts(OrderOutcome(OrderEvent.TAKEN)) == {}
    assert outcome_facts(
        OrderOutcome(OrderEvent.ASKED, ("7",), "x", "y", Question(("r",), ("o",)), may_be_sent_again=True)
    ) == {"replies": ["r"], "messages": ["o"], "order_ids": ["7"], "status": "x", "error": "y", "again": True}


def test_a_confirmation_needs_a_question_and_a_placement_a_new_order() -> None:
    """The required state is checked before the entry is written."""
    required_states = {
        event: ExchangeStep(None, None, event, {}, interpret_placement).required_state  # type: ignore[arg-type]
        for event in (OrderEvent.SENT, OrderEvent.CONFIRMED)
    }

    assert required_states == {OrderEvent.SENT: None, OrderEvent.CONFIRMED: OrderState.QUESTION}


async def test_a_question_that_ends_while_its_yes_is_written_is_not_confirmed(
    exchange_setup: ExchangeSetup, disk: Disk
) -> None:
    """The disk is slow, and the minute passes meanwhile: the yes must not follow the no."""
    setup = exchange_setup.setup
    setup.ibkr.plan = [ibkr_response(QUESTION), ibkr_response(ACCEPTED)]
    await exchange_setup.run()
    disk.hold()
    yes = asyncio.create_task(exchange_setup.run(OrderEvent.CONFIRMED))
    await disk.wait_until_holding()
    setup.repository.append_eventually(exchange_setup.record, OrderEvent.DROPPED, {"error": "a cancel"})
    disk.release()

    with pytest.raises(ReplyNotFound):
        await with_timeout(yes)
    assert (exchange_setup.record.state, len(setup.ibkr.calls)) == (OrderState.NOT_PLACED, 1)


@pytest.mark.parametrize(
    ("late_body", "event_name"), [(ACCEPTED, "taken"), (QUESTION, "declined"), (b'{"error":"no"}', "turned_down")]
)
async def test_a_late_response_is_journaled_as_late(
    exchange_setup: ExchangeSetup, late_body: bytes, event_name: str
) -> None:
    """A person who reads the journal sees why the state changed without a call."""
    exchange_setup.setup.ibkr.plan = [GatewayTimeout("silence")]
    await exchange_setup.run_and_fail(OrderUnknown)

    exchange_setup.setup.ibkr.on_late_response(ibkr_response(late_body))

    entry = (await exchange_setup.setup.repository.journal.read_all())[-1][1]
    assert (entry.what.value, entry.facts["late"]) == (event_name, True)


async def test_a_stopped_order_counts_among_the_refused_ones(exchange_setup: ExchangeSetup) -> None:
    """Only the last thousand of these stay in memory."""
    setup = exchange_setup.setup

    def stop() -> None:
        raise TradingPaused("paused")

    setup.ibkr.on_first_byte = stop
    await exchange_setup.run_and_fail(TradingPaused)
    is_there = setup.repository.index.find("a") is exchange_setup.record
    for number in range(1000):
        setup.repository.index.add_refused(OrderRecord(f"refused {number}", OrderOperation.PLACE))

    assert (is_there, setup.repository.index.find("a")) == (True, None)
