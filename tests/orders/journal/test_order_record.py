"""The record of one order, computed from its journal entries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import ReadOnly
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import (
    InFlightOrder,
    OrderRecord,
    StoredResponse,
    cut,
    digest,
    seconds_since,
)
from ibkr_bridge.orders.journal.transitions import JournalEntry, OrderEvent, OrderState, next_state

W = OrderEvent
SENT = {
    "kind": "modify",
    "account": "DU1",
    "owner": "one",
    "request": "req",
    "fingerprint": "f",
    "idempotency": "k",
    "own_name": True,
    "coids": ["mine"],
    "wanted": {"order": "7"},
}
ANSWER = {"status": 200, "content_type": "application/json", "body": "[1]"}


def record_of(*events: tuple[OrderEvent, Mapping[str, Any]]) -> OrderRecord:
    """The record of an order with these events, one second after the other."""
    entries, state = list[JournalEntry](), None
    for second, (what, facts) in enumerate(events):
        state = next_state(state, what)
        entries.append(JournalEntry("a", f"2026-06-17T16:00:{second:02d}.000000+00:00", what, state, facts))
    record = OrderRecord.from_entries(entries)
    assert record is not None
    return record


def test_without_entries_there_is_no_record() -> None:
    """An order exists for the bridge only if its first entry is on disk."""
    assert OrderRecord.from_entries([]) is None


def test_the_first_entry_contains_all_that_a_later_run_has_to_know() -> None:
    """After a restart the bridge recognises a repeated call, and can search for the order at IBKR."""
    record = record_of((W.SENT, SENT))

    assert (record.operation, record.account, record.owner, record.request_id) == (
        OrderOperation.MODIFY,
        "DU1",
        "one",
        "req",
    )
    assert (record.fingerprint, record.idempotency_digest, record.has_own_identity) == ("f", "k", True)
    assert (record.coids, record.match_criteria, record.state) == (("mine",), {"order": "7"}, OrderState.SENDING)
    assert record.created == record.updated


def test_after_a_refusal_the_order_may_be_sent_again_with_the_same_coid() -> None:
    """Nothing was sent, so the order cannot exist at IBKR."""
    record = record_of((W.REFUSED, {**SENT, "error": "paused"}))

    assert (record.coids, record.error, record.may_be_sent_again, record.may_exist) == (
        ("mine",),
        "paused",
        True,
        False,
    )


def test_the_first_response_and_the_latest_one_are_stored_separately() -> None:
    """A repeated call with the same Idempotency-Key gets the first one, not the response to a later reply."""
    record = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"], "answer": ANSWER, "own": True}),
        (W.CONFIRMED, {"reply": "r", "fingerprint": "g"}),
        (W.TAKEN, {"order_ids": [7], "status": "Submitted", "answer": {**ANSWER, "body": "[2]"}, "own": False}),
    )

    assert record.first_response == StoredResponse(200, "application/json", "[1]")
    assert record.latest_response == StoredResponse(200, "application/json", "[2]")
    assert record.sent_replies == {"r": ("g", record.latest_response)}
    assert (record.order_ids, record.ibkr_status, record.reply_ids) == (("7",), "Submitted", ("r",))


def test_a_reply_that_was_held_back_may_be_sent_again() -> None:
    """No byte of it was sent, so IBKR's question is still open."""
    record = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"]}),
        (W.CONFIRMED, {"reply": "r"}),
        (W.HELD_BACK, {"reply": "r", "error": "down"}),
    )

    assert (record.state, record.sent_replies, record.error) == (OrderState.QUESTION, {}, "down")


def test_the_sending_that_counts_is_the_last_one_that_could_place_the_order() -> None:
    """After a question that is its confirmation; only then the reconciler's time begins."""
    sent = record_of((W.SENT, SENT))
    confirmed = record_of((W.SENT, SENT), (W.ASKED, {"replies": ["r"]}), (W.CONFIRMED, {"reply": "r"}), (W.TAKEN, {}))

    assert (sent.sent_at, confirmed.sent_at) == ("2026-06-17T16:00:00.000000+00:00", "2026-06-17T16:00:02.000000+00:00")


@pytest.mark.parametrize(
    ("events", "is_finished"),
    [
        ((W.TAKEN,), False),
        ((W.TAKEN, W.TOLD), True),
        ((W.TAKEN, W.LEFT), True),
        ((W.ASKED, W.TOLD), False),
        ((W.LOST, W.TOLD), False),
        ((W.LOST, W.TOLD, W.MISSED), False),  # a list of IBKR may still show it
        ((W.LOST, W.TOLD, W.FOUND), True),
    ],
)
def test_an_order_is_finished_when_nothing_more_is_expected(events: tuple[OrderEvent, ...], is_finished: bool) -> None:
    """Only then it may leave the memory."""
    record = record_of((W.SENT, SENT), *((what, {}) for what in events))
    assert record.is_finished is is_finished

    record.in_flight = InFlightOrder("f", [])

    assert not record.is_finished


def test_what_an_entry_does_not_say_stays_as_it_was() -> None:
    """A status and the numbers at IBKR; an error ends when IBKR accepts the order."""
    record = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"], "order_ids": [7], "status": "Inactive"}),
        (W.CONFIRMED, {"reply": "r"}),
        (W.HELD_BACK, {"reply": "r", "error": "down"}),
        (W.CONFIRMED, {"reply": "r"}),
        (W.TAKEN, {"order_ids": []}),
    )

    assert (record.order_ids, record.ibkr_status, record.error) == (("7",), "Inactive", None)


@pytest.mark.parametrize("what", [W.TURNED_DOWN, W.DROPPED])
@pytest.mark.parametrize("again", [True, False, None])
def test_a_rejected_order_may_be_sent_again_only_if_its_entry_says_so(what: OrderEvent, again: bool | None) -> None:
    """IBKR did not process it. A plain rejection is an answer."""
    first = [(W.SENT, SENT)] if what is W.TURNED_DOWN else [(W.SENT, SENT), (W.ASKED, {"replies": ["r"]})]
    record = record_of(*first, (what, {"error": "no", **({} if again is None else {"again": again})}))

    assert (record.may_be_sent_again, record.error) == (again is True, "no")


def test_a_value_of_a_caller_is_kept_with_64_characters() -> None:
    """No value of a real order is longer."""
    assert (cut("x" * 65), cut(7)) == ("x" * 64, "7")


def test_the_record_shows_that_a_restart_interrupted_the_order() -> None:
    """A new order waits until its outcome is known."""
    lost = [record_of((W.SENT, SENT), (W.LOST, {"error": "x", **more})) for more in ({"restart": True}, {})]

    assert [record.interrupted_by_restart for record in lost] == [True, False]


def test_a_no_to_a_question_is_a_reply_with_a_response() -> None:
    """A caller that sends its no again gets the same response."""
    record = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"], "answer": ANSWER, "own": True}),
        (W.DECLINED, {"reply": "r", "fingerprint": "g", "error": "a no", "answer": {**ANSWER, "body": "[2]"}}),
    )

    assert (record.state, record.error) == (OrderState.NOT_PLACED, "a no")
    assert record.sent_replies == {"r": ("g", StoredResponse(200, "application/json", "[2]"))}
    assert record.first_response == StoredResponse(200, "application/json", "[1]")


def test_after_a_lost_response_there_is_no_latest_response() -> None:
    """The earlier response, a question, does not show the outcome of the order."""
    record = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"], "answer": ANSWER}),
        (W.TOLD, {}),
        (W.CONFIRMED, {"reply": "r"}),
        (W.LOST, {"error": "silence", "request": "req2"}),
    )

    assert (record.latest_response, record.is_delivered, record.lost_reason, record.lost_request_id) == (
        None,
        False,
        "silence",
        "req2",
    )
    assert record.lost_at == record.updated


@pytest.mark.parametrize(
    ("deliveries", "delivered", "unknown_delivered"),
    [
        ([W.TOLD], True, True),
        ([W.LEFT], False, False),
        ([W.TOLD, W.LEFT], False, False),
        ([W.LEFT, W.TOLD], True, True),
        ([W.FOUND, W.TOLD], True, False),
        ([W.TOLD, W.FOUND, W.TOLD], True, True),
    ],
)
def test_order_unknown_counts_as_delivered_only_if_the_caller_received_it(
    deliveries: list[OrderEvent], delivered: bool, unknown_delivered: bool
) -> None:
    """A caller that received it gets the same error again later. One that disconnected may get the outcome."""
    record = record_of((W.SENT, SENT), (W.LOST, {"error": "silence"}), *((what, {}) for what in deliveries))

    assert (record.is_delivered, record.unknown_delivered) == (delivered, unknown_delivered)
    assert (record.disconnected_at is None) is delivered


@pytest.mark.parametrize(
    ("what", "state", "error"), [(W.FOUND, OrderState.PLACED, None), (W.MISSED, OrderState.NOT_PLACED, "not there")]
)
def test_reconciliation_settles_an_unknown_order(what: OrderEvent, state: OrderState, error: str | None) -> None:
    """The record shows that the outcome does not come from a response of IBKR to the call."""
    record = record_of((W.SENT, SENT), (W.LOST, {"error": "silence"}), (what, {"error": "not there"}))

    assert (record.state, record.settled_by_reconciliation, record.error) == (state, True, error)


@pytest.mark.parametrize(
    ("state", "is_open", "may_exist"),
    [
        (None, False, True),
        (OrderState.SENDING, True, True),
        (OrderState.QUESTION, True, True),
        (OrderState.UNKNOWN, True, True),
        (OrderState.PLACED, False, True),
        (OrderState.REJECTED, False, False),
        (OrderState.REFUSED, False, False),
        (OrderState.NOT_PLACED, False, False),
    ],
)
def test_each_state_says_whether_the_order_is_open_and_whether_it_may_exist(
    state: OrderState | None, is_open: bool, may_exist: bool
) -> None:
    """A record without entries belongs to an order that is about to be sent, so it may exist."""
    record = OrderRecord("a", OrderOperation.PLACE, state=state)

    assert (record.is_open, record.may_exist) == (is_open, may_exist)


@given(st.binary(max_size=200), st.integers(200, 599))
def test_a_stored_response_is_replayed_byte_for_byte(body: bytes, status: int) -> None:
    """The journal stores text, and a body may have bytes that are not valid UTF-8."""
    stored = StoredResponse.from_response(Response(status, {"Content-Type": "x/y"}, body))

    members = {"ibkr_status" if name == "status" else name: value for name, value in stored.facts.items()}
    loaded = StoredResponse(**members)  # type: ignore[arg-type]

    assert loaded.as_response == Response(status, {"Content-Type": "x/y"}, body)


async def test_all_waiting_callers_get_the_result_of_an_exchange() -> None:
    """An error is copied, so that the callers do not raise one shared object."""

    async def work() -> Response:
        raise ReadOnly("the key may not trade")

    in_flight = InFlightOrder("f", [lambda: False, lambda: True])
    assert in_flight.is_wanted()

    with pytest.raises(ReadOnly) as caught:
        await in_flight.run(work())

    assert in_flight.done.is_set()
    assert isinstance(in_flight.result, ReadOnly)
    assert in_flight.result is not caught.value


async def test_waiting_callers_are_woken_if_the_exchange_is_cancelled() -> None:
    """There will be no result, and without this they would wait for ever."""
    in_flight = InFlightOrder("f", [])
    task = asyncio.create_task(in_flight.run(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert (in_flight.done.is_set(), in_flight.result) == (True, None)


def test_a_digest_depends_on_where_its_parts_end() -> None:
    """Otherwise two different calls could have the same fingerprint."""
    assert digest(b"a", b"bc") != digest(b"ab", b"c")
    assert digest(b"a") == digest(b"a") != digest(b"a", b"")


def test_the_form_of_a_digest_does_not_change() -> None:
    """A later version of the bridge compares it with those in the journal."""
    assert digest(b"a", b"bc") == "3fafa1cf2f19a7c1129beb20cf0983f73a489a221fc0dd2f16d1be292d089205"


def test_an_entry_of_this_run_has_a_mark_and_one_of_an_earlier_run_none() -> None:
    """The mark is the monotonic time beside the journal's."""
    record = OrderRecord("a", OrderOperation.PLACE)
    sent = JournalEntry("a", "2026-01-01T00:00:00+00:00", OrderEvent.SENT, OrderState.SENDING, {"kind": "place"})
    record.apply(sent)
    record.apply(JournalEntry("a", sent.at, OrderEvent.LOST, OrderState.UNKNOWN, {}), 5.0)
    record.apply(JournalEntry("a", sent.at, OrderEvent.LEFT, OrderState.UNKNOWN, {}), 7.0)

    assert (record.created_mark, record.updated_mark, record.disconnected_mark) == (None, 7.0, 7.0)


def test_seconds_between_two_times_do_not_depend_on_their_time_zones() -> None:
    """A journal may contain times of another zone than UTC."""
    now = datetime(2026, 6, 17, 16, 0, 1, tzinfo=UTC)

    assert seconds_since("2026-06-17T18:00:00+02:00", now) == 1.0
