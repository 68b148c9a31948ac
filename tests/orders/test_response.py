"""What IBKR's responses say about an order; a response without a clear meaning leaves it unknown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.orders.journal.transitions import OrderEvent
from ibkr_bridge.orders.response import (
    OrderOutcome,
    interpret_cancel,
    interpret_modification,
    interpret_partial_reply,
    interpret_placement,
    mark_unprocessed,
)

QUESTION = {"id": "a12dc9", "message": ["sure?"], "isSuppressed": False, "messageIds": ["o163"]}
PLACED = {"order_id": "1234567890", "order_status": "Submitted", "encrypt_message": "1"}
PROMPT = {
    "orderId": 5,
    "reqId": "6",
    "dismissable": [],
    "text": "sure?",
    "options": ["Yes"],
    "type": "M",
    "messageId": "p12",
    "prompt": True,
}


@pytest.mark.parametrize(
    ("status", "body", "event"),
    [
        (200, [PLACED], OrderEvent.TAKEN),
        (200, PLACED, OrderEvent.TAKEN),
        (200, [PLACED, PLACED], OrderEvent.TAKEN),
        (200, [QUESTION], OrderEvent.ASKED),
        (200, QUESTION, OrderEvent.ASKED),
        (200, [PLACED, QUESTION], OrderEvent.ASKED),
        (200, {"error": "no"}, OrderEvent.TURNED_DOWN),
        (200, {"id": "a12dc9", "error": "no"}, OrderEvent.TURNED_DOWN),
        (200, {"message": ["sure?"], "error": "no"}, OrderEvent.TURNED_DOWN),
        (200, [{"error": "no"}], OrderEvent.TURNED_DOWN),
        (200, {"error": "reply id not found: 'x'"}, OrderEvent.DROPPED),
        (200, {"error": "Order not confirmed "}, OrderEvent.DROPPED),
        (200, PROMPT, OrderEvent.LOST),
        (200, [PLACED, {"error": "no"}], OrderEvent.LOST),
        (200, {"order_id": "1", "error": "no"}, OrderEvent.LOST),
        (200, {"success": False}, OrderEvent.TURNED_DOWN),
        (400, {"error": "Bad Request: no bridge", "statusCode": 400}, OrderEvent.TURNED_DOWN),
        (400, {"error": "reply id not found: 'x'"}, OrderEvent.DROPPED),
        (404, "<html>", OrderEvent.TURNED_DOWN),
        (500, {"error": "Please query /accounts first"}, OrderEvent.TURNED_DOWN),
        (500, {"error": "Timeout waiting for the server"}, OrderEvent.LOST),
        (500, {"error": "Bad Request: orders"}, OrderEvent.TURNED_DOWN),
        (500, None, OrderEvent.LOST),
        (503, {"error": "Service Unavailable"}, OrderEvent.LOST),
        (502, None, OrderEvent.LOST),
        (200, None, OrderEvent.LOST),
        (200, [], OrderEvent.LOST),
        (200, {}, OrderEvent.LOST),
        (200, ["x"], OrderEvent.LOST),
        (200, [PLACED, "x"], OrderEvent.LOST),
        (200, "Success", OrderEvent.LOST),
        (200, {"order_id": ""}, OrderEvent.LOST),
        (200, {"order_id": True}, OrderEvent.TAKEN),
        (200, [{**QUESTION, "id": "../evil"}], OrderEvent.LOST),
        (200, [PLACED, {**QUESTION, "id": "../evil"}], OrderEvent.LOST),
        (204, None, OrderEvent.LOST),
        (302, None, OrderEvent.LOST),
    ],
)
def test_each_response_means_one_event(status: int, body: object, event: OrderEvent) -> None:
    """A response without a clear meaning is neither an acceptance nor a rejection."""
    assert interpret_placement(status, b"" if body is None else json.dumps(body).encode()).event is event


def test_a_response_contains_the_ids_of_all_orders() -> None:
    """A bracket has several."""
    outcome = interpret_placement(200, json.dumps([PLACED, {**PLACED, "order_id": 2}]).encode())

    assert (outcome.order_ids, outcome.status) == (("1234567890", "2"), "Submitted")


@pytest.mark.parametrize(
    ("questions", "can_be_confirmed"),
    [
        ([QUESTION], True),
        ([{**QUESTION, "messageIds": ["o163", "o354"]}], True),
        ([QUESTION, {**QUESTION, "id": "b"}], False),
        ([{**QUESTION, "messageIds": []}], False),
        ([{**QUESTION, "messageIds": "o163"}], False),
        ([{**QUESTION, "messageIds": ["o163", 5]}], False),
        ([{name: value for name, value in QUESTION.items() if name != "messageIds"}], False),
    ],
)
def test_only_a_simple_question_can_be_confirmed(questions: list[object], can_be_confirmed: bool) -> None:
    """It has one reply id, and every message has an id."""
    question = interpret_placement(200, json.dumps(questions).encode()).question

    assert question is not None
    assert question.can_be_confirmed is can_be_confirmed


@pytest.mark.parametrize(
    ("status", "body", "event"),
    [
        (200, b'{"msg":"Request was submitted","order_id":602801486,"conid":-1,"account":null}', OrderEvent.TAKEN),
        (200, b'{"error":"OrderID 1 doesn\'t exist"}', OrderEvent.TURNED_DOWN),
        (200, b"Success", OrderEvent.TAKEN),
        (200, b'"Request was submitted"', OrderEvent.TAKEN),
        (200, b"", OrderEvent.LOST),
        (200, b"<html>", OrderEvent.LOST),
        (503, b"", OrderEvent.LOST),
        (400, b"{}", OrderEvent.TURNED_DOWN),
    ],
)
def test_a_cancel_has_responses_of_its_own(status: int, body: bytes, event: OrderEvent) -> None:
    """Any text that is not an error counts as accepted."""
    assert interpret_cancel(status, body).event is event


@given(
    status=st.integers(100, 999),
    body=st.one_of(
        st.binary(max_size=80),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["error", "id", "message", "order_id", "prompt", "messageIds", "success"]),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=9,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_every_response_means_one_of_five_events(status: int, body: bytes) -> None:
    """For any status and any bytes."""
    for interpret in (interpret_placement, interpret_cancel):
        outcome = interpret(status, body)
        assert outcome.event in (
            OrderEvent.TAKEN,
            OrderEvent.ASKED,
            OrderEvent.TURNED_DOWN,
            OrderEvent.DROPPED,
            OrderEvent.LOST,
        )
        assert (outcome.question is not None) == (outcome.event is OrderEvent.ASKED)
        assert outcome.event is not OrderEvent.TAKEN or status == 200


@pytest.mark.parametrize(
    ("body", "may_be_sent_again"),
    [
        (b'{"error":"Bad Request: no bridge","statusCode":400}', True),
        (b'{"error":"Please query /accounts first"}', True),
        (b'{"error":"Insufficient funds"}', False),
    ],
)
def test_a_call_without_a_session_may_be_sent_again(body: bytes, may_be_sent_again: bool) -> None:
    """IBKR has not processed it, so its cOID stays free."""
    assert interpret_placement(400, body).may_be_sent_again is may_be_sent_again


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize(
    "text",
    [
        "OrderID 1234 doesn't exist",
        "Order 77 not found",
        "No such order",
        "Order has been cancelled",
        "Order #5 is expired",
        "order is not active",
        "Order ID 1234 was not found.",
    ],
)
def test_an_order_that_is_over_or_missing_is_a_refusal_at_any_status(status: int, text: str) -> None:
    """IBKR did nothing; searching for five minutes would only keep the caller waiting."""
    body = json.dumps({"error": text}).encode()

    for interpret in (interpret_placement, interpret_modification, interpret_cancel):
        assert interpret(status, body).event in (OrderEvent.TURNED_DOWN, OrderEvent.DROPPED)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    "text",
    [
        "Cannot cancel order in its state",
        "Can't modify: order inactive",
        "Too late to cancel",
        "Order routing: upstream call cancelled",
        "order request expired while waiting for the order system",
        "order gateway not active, try again",
        "Order service: session not found",
        "The order was sent, its account was not found",
    ],
)
def test_words_about_other_things_do_not_refuse_a_placement(status: int, text: str) -> None:
    """The order may exist, and a caller that reads "rejected" places it again."""
    body = json.dumps({"error": text}).encode()

    assert interpret_placement(status, body).event is OrderEvent.LOST
    for interpret in (interpret_modification, interpret_cancel):
        assert interpret(status, body).event is OrderEvent.TURNED_DOWN


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, "invalid response from the order system"),
        (500, "invalid response"),
        (500, "The upstream call was a bad request"),
        (500, "Internal error: invalid state of the order"),
        (408, "timeout"),
        (408, "Bad Request: invalid account"),
        (499, "client closed"),
    ],
)
def test_a_failure_after_the_call_was_read_leaves_the_outcome_unknown(status: int, text: str) -> None:
    """Only a text that is about the ticket itself, as a whole, shows that IBKR did nothing."""
    body = json.dumps({"error": text}).encode()

    assert interpret_placement(status, body).event is OrderEvent.LOST


@pytest.mark.parametrize(
    "text", ["Invalid currency", "invalid order price", "Bad Request: invalid account", "no bridge"]
)
def test_a_malformed_ticket_is_a_refusal_with_status_500(text: str) -> None:
    """IBKR read the ticket and did nothing."""
    assert interpret_placement(500, json.dumps({"error": text}).encode()).event is OrderEvent.TURNED_DOWN


@pytest.mark.parametrize("text", ["Order already filled", "order was executed", "Order 5 is completed"])
def test_an_executed_order_refuses_a_cancel_or_a_change_and_says_nothing_of_a_placement(text: str) -> None:
    """As the answer to a placement it could mean that the placement was carried out."""
    body = json.dumps({"error": text}).encode()

    assert interpret_cancel(500, body).event is OrderEvent.TURNED_DOWN
    assert interpret_modification(503, body).event is OrderEvent.TURNED_DOWN
    assert interpret_placement(503, body).event is OrderEvent.LOST


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>order not found</html>",
        b'"order not found"',
        b'["order not found"]',
        b'{"message":"order not found"}',
        b'{"error":"internal error"}',
        b'{"error":"Order already submitted"}',
        b'{"error":"order not found"',
    ],
)
def test_pages_and_other_words_leave_the_outcome_unknown(body: bytes) -> None:
    """Only an error in JSON, with words that are clear, is IBKR's own decision."""
    for interpret in (interpret_placement, interpret_modification, interpret_cancel):
        assert interpret(503, body).event is OrderEvent.LOST


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize(("before", "shown"), [(280, True), (290, True), (292, False), (299, False), (300, False)])
def test_no_word_of_a_long_error_is_cut_in_two(status: int, before: int, shown: bool) -> None:
    """The beginning of an account number alone would not be recognised and masked when the text is shown."""
    text = "." * before + "DU1234567" + " for you" * 9

    error = interpret_placement(status, json.dumps({"error": text}).encode()).error or ""

    assert (len(error) <= 301, error[-1], "DU1234567" in error) == (True, "…", shown)
    assert "DU" not in error.replace("DU1234567", "")


def test_a_cancels_long_message_is_shortened_in_the_same_way() -> None:
    """It is IBKR's word for the state, and is shown like an error."""
    message = "." * 295 + "DU1234567"

    assert interpret_cancel(200, json.dumps({"msg": message}).encode()).status == "." * 295 + "…"


def test_an_error_of_exactly_300_characters_is_kept_whole() -> None:
    """300 is the most that is stored."""
    assert interpret_placement(400, json.dumps({"error": "e" * 300}).encode()).error == "e" * 300


@pytest.mark.parametrize(
    ("event", "body", "may_be_sent_again"),
    [
        (OrderEvent.TURNED_DOWN, b"Error: no bridge", True),
        (OrderEvent.TURNED_DOWN, b'{"reason": "not authenticated"}', True),
        (OrderEvent.TURNED_DOWN, b"your price is wrong", False),
        (OrderEvent.LOST, b"Error: no bridge", False),
        (OrderEvent.TAKEN, b"Error: no bridge", False),
    ],
)
def test_a_refusal_for_want_of_a_session_was_not_processed(
    event: OrderEvent, body: bytes, may_be_sent_again: bool
) -> None:
    """The words count wherever they stand in the body; about an order that may exist they say nothing."""
    assert mark_unprocessed(OrderOutcome(event), 400, body).may_be_sent_again is may_be_sent_again


@pytest.mark.parametrize("body", [b'""', b"5", b"[1]", b"true", b"null"])
def test_a_value_without_a_word_is_no_answer_to_a_cancel(body: bytes) -> None:
    """A text or an object of IBKR's says that it took the cancel."""
    assert interpret_cancel(200, body).event is OrderEvent.LOST


@pytest.mark.parametrize(
    ("rest", "body", "event", "replies"),
    [
        (("r2",), [PLACED], OrderEvent.ASKED, ("r2",)),
        ((), [PLACED], OrderEvent.TAKEN, None),
        (("r2",), {"error": "no"}, OrderEvent.TURNED_DOWN, None),
        (("r2",), {"error": "reply id not found"}, OrderEvent.DROPPED, None),
        (("r2",), [QUESTION], OrderEvent.ASKED, ("a12dc9",)),
    ],
)
def test_after_one_of_several_replies_the_other_questions_stay_open(
    rest: tuple[str, ...], body: object, event: OrderEvent, replies: tuple[str, ...] | None
) -> None:
    """Only if IBKR took that reply: a refusal, or another question, is the outcome itself."""
    outcome = interpret_partial_reply(200, json.dumps(body).encode(), rest)

    assert outcome.event is event
    assert (outcome.question.replies if outcome.question else None) == replies
    assert outcome.order_ids == (("1234567890",) if body == [PLACED] else ())


@pytest.mark.parametrize(
    "text",
    [
        "Order not found " + "x" * 400,
        "order cancelled: " + "y" * 300,
        "invalid a b c " + "d" * 300,
        "Order not found" + " " * 2000 + "at the other exchange; it was placed",
    ],
)
def test_a_long_text_is_judged_as_a_whole(text: str) -> None:
    """Only its beginning is stored. Were that judged, an order that may exist would count as refused."""
    assert interpret_placement(500, json.dumps({"error": text}).encode()).event is OrderEvent.LOST


def test_a_long_text_does_not_take_long() -> None:
    """The patterns of a cancel search a text again from each word."""
    text = "order " * 200_000

    assert interpret_cancel(500, json.dumps({"error": text}).encode()).event is OrderEvent.LOST
