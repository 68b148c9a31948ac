"""What the entries of one order add up to."""

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


def record_of(*told: tuple[OrderEvent, Mapping[str, Any]]) -> OrderRecord:
    """An order to which this happened, one second after the other."""
    entries, state = list[JournalEntry](), None
    for second, (what, facts) in enumerate(told):
        state = next_state(state, what)
        entries.append(JournalEntry("a", f"2026-06-17T16:00:{second:02d}.000000+00:00", what, state, facts))
    made = OrderRecord.from_entries(entries)
    assert made is not None
    return made


def test_no_entries_are_no_order() -> None:
    """There is nothing to tell."""
    assert OrderRecord.from_entries([]) is None


def test_its_first_entry_tells_all_that_a_later_run_has_to_know() -> None:
    """Whose it is, what it is known by, and what it was to do."""
    made = record_of((W.SENT, SENT))

    assert (made.operation, made.account, made.owner, made.request_id) == (OrderOperation.MODIFY, "DU1", "one", "req")
    assert (made.fingerprint, made.idempotency_digest, made.has_own_identity) == ("f", "k", True)
    assert (made.coids, made.match_criteria, made.state) == (("mine",), {"order": "7"}, OrderState.SENDING)
    assert made.created == made.updated


def test_a_refusal_tells_the_same_and_frees_its_names() -> None:
    """Nothing left."""
    made = record_of((W.REFUSED, {**SENT, "error": "paused"}))

    assert (made.coids, made.error, made.may_be_sent_again, made.may_exist) == (("mine",), "paused", True, False)


def test_an_answer_is_kept_and_the_first_one_apart_from_later_ones() -> None:
    """An Idempotency-Key promises the first; a reply's answer is not it."""
    made = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"], "answer": ANSWER, "own": True}),
        (W.CONFIRMED, {"reply": "r", "fingerprint": "g"}),
        (W.TAKEN, {"order_ids": [7], "status": "Submitted", "answer": {**ANSWER, "body": "[2]"}, "own": False}),
    )

    assert made.first_response == StoredResponse(200, "application/json", "[1]")
    assert made.latest_response == StoredResponse(200, "application/json", "[2]")
    assert made.sent_replies == {"r": ("g", made.latest_response)}
    assert (made.order_ids, made.ibkr_status, made.reply_ids) == (("7",), "Submitted", ("r",))


def test_a_reply_that_was_held_back_may_be_sent_once_more() -> None:
    """The question stands as before."""
    made = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"]}),
        (W.CONFIRMED, {"reply": "r"}),
        (W.HELD_BACK, {"reply": "r", "error": "down"}),
    )

    assert (made.state, made.sent_replies, made.error) == (OrderState.QUESTION, {}, "down")


def test_a_lost_answer_takes_the_earlier_one_with_it() -> None:
    """What was told before is not what became of it."""
    made = record_of(
        (W.SENT, SENT),
        (W.ASKED, {"replies": ["r"], "answer": ANSWER}),
        (W.TOLD, {}),
        (W.CONFIRMED, {"reply": "r"}),
        (W.LOST, {"error": "silence", "request": "req2"}),
    )

    assert (made.latest_response, made.is_delivered, made.lost_reason, made.lost_request_id) == (
        None,
        False,
        "silence",
        "req2",
    )
    assert made.lost_at == made.updated


@pytest.mark.parametrize(
    ("deliveries", "delivered", "unknown_delivered"),
    [
        ([W.TOLD], True, True),
        ([W.LEFT], False, False),
        ([W.TOLD, W.LEFT], False, False),
        ([W.LEFT, W.TOLD], True, True),
    ],
)
def test_that_nobody_knows_counts_as_told_only_when_its_caller_had_it(
    deliveries: list[OrderEvent], delivered: bool, unknown_delivered: bool
) -> None:
    """Who had it is told the same ever after; who left may be told what was found."""
    made = record_of((W.SENT, SENT), (W.LOST, {"error": "silence"}), *((what, {}) for what in deliveries))

    assert (made.is_delivered, made.unknown_delivered) == (delivered, unknown_delivered)
    assert (made.disconnected_at is None) is delivered


@pytest.mark.parametrize(
    ("what", "state", "error"), [(W.FOUND, OrderState.PLACED, None), (W.MISSED, OrderState.NOT_PLACED, "not there")]
)
def test_what_the_search_found_settles_it(what: OrderEvent, state: OrderState, error: str | None) -> None:
    """And is told apart from what IBKR answered."""
    made = record_of((W.SENT, SENT), (W.LOST, {"error": "silence"}), (what, {"error": "not there"}))

    assert (made.state, made.settled_by_reconciliation, made.error) == (state, True, error)


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
def test_a_state_says_whether_it_is_settled_and_whether_it_may_exist(
    state: OrderState | None, is_open: bool, may_exist: bool
) -> None:
    """One that has not begun may: somebody is about to send it."""
    made = OrderRecord("a", OrderOperation.PLACE, state=state)

    assert (made.is_open, made.may_exist) == (is_open, may_exist)


@given(st.binary(max_size=200), st.integers(200, 599))
def test_an_answer_is_told_again_byte_for_byte(body: bytes, status: int) -> None:
    """Whatever bytes they are."""
    kept = StoredResponse.from_response(Response(status, {"Content-Type": "x/y"}, body))

    again = StoredResponse(**{"ibkr_status" if name == "status" else name: value for name, value in kept.facts.items()})  # type: ignore[arg-type]

    assert again.as_response == Response(status, {"Content-Type": "x/y"}, body)


async def test_all_who_wait_are_told_what_came_of_it() -> None:
    """An answer, or an error of which each gets a copy."""

    async def work() -> Response:
        raise ReadOnly("no")

    in_flight = InFlightOrder("f", [lambda: False, lambda: True])
    assert in_flight.is_wanted()

    with pytest.raises(ReadOnly) as caught:
        await in_flight.run(work())

    assert in_flight.done.is_set()
    assert isinstance(in_flight.result, ReadOnly)
    assert in_flight.result is not caught.value


async def test_who_waits_is_told_when_the_first_is_cancelled() -> None:
    """There is no result, and yet it is over."""
    in_flight = InFlightOrder("f", [])
    task = asyncio.create_task(in_flight.run(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert (in_flight.done.is_set(), in_flight.result) == (True, None)


def test_a_digest_tells_where_its_parts_end() -> None:
    """Else one part could go over into the next."""
    assert digest(b"a", b"bc") != digest(b"ab", b"c")
    assert digest(b"a") == digest(b"a") != digest(b"a", b"")


def test_seconds_are_counted_between_two_times_of_any_zone() -> None:
    """The journal is in UTC."""
    now = datetime(2026, 6, 17, 16, 0, 1, tzinfo=UTC)

    assert seconds_since("2026-06-17T18:00:00+02:00", now) == 1.0
