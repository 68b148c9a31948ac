"""What IBKR's answers say of an order; what says nothing leaves it open."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.orders.journal.transitions import OrderEvent
from ibkr_bridge.orders.response import interpret_cancel, interpret_placement

ASKED = {"id": "a12dc9", "message": ["sure?"], "isSuppressed": False, "messageIds": ["o163"]}
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
    ("status", "body", "what"),
    [
        (200, [PLACED], OrderEvent.TAKEN),
        (200, PLACED, OrderEvent.TAKEN),
        (200, [PLACED, PLACED], OrderEvent.TAKEN),
        (200, [ASKED], OrderEvent.ASKED),
        (200, ASKED, OrderEvent.ASKED),
        (200, [PLACED, ASKED], OrderEvent.ASKED),
        (200, {"error": "no"}, OrderEvent.TURNED_DOWN),
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
        (200, [{**ASKED, "id": "../evil"}], OrderEvent.LOST),
        (204, None, OrderEvent.LOST),
        (302, None, OrderEvent.LOST),
    ],
)
def test_each_answer_says_one_thing(status: int, body: object, what: OrderEvent) -> None:
    """And what says nothing is not taken for a yes or a no."""
    assert interpret_placement(status, b"" if body is None else json.dumps(body).encode()).event is what


def test_an_answer_tells_ids() -> None:
    """Of all orders of a bracket."""
    outcome = interpret_placement(200, json.dumps([PLACED, {**PLACED, "order_id": 2}]).encode())

    assert (outcome.order_ids, outcome.status) == (("1234567890", "2"), "Submitted")


@pytest.mark.parametrize(
    ("asked", "can_be"),
    [
        ([ASKED], True),
        ([{**ASKED, "messageIds": ["o163", "o354"]}], True),
        ([ASKED, {**ASKED, "id": "b"}], False),
        ([{**ASKED, "messageIds": []}], False),
        ([{**ASKED, "messageIds": "o163"}], False),
        ([{**ASKED, "messageIds": ["o163", 5]}], False),
        ([{name: value for name, value in ASKED.items() if name != "messageIds"}], False),
    ],
)
def test_only_a_plain_question_can_be_confirmed(asked: list[object], can_be: bool) -> None:
    """One reply, and every message with its name."""
    question = interpret_placement(200, json.dumps(asked).encode()).question

    assert question is not None
    assert question.can_be_confirmed is can_be


@pytest.mark.parametrize(
    ("status", "body", "what"),
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
def test_a_cancel_is_answered_in_other_words(status: int, body: bytes, what: OrderEvent) -> None:
    """Any that is no error will do."""
    assert interpret_cancel(status, body).event is what


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
        ).map(lambda told: json.dumps(told).encode()),
    ),
)
def test_no_answer_confuses_the_reader(status: int, body: bytes) -> None:
    """Whatever comes over the wire is one of five things."""
    for read in (interpret_placement, interpret_cancel):
        outcome = read(status, body)
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
    ("body", "again"),
    [
        (b'{"error":"Bad Request: no bridge","statusCode":400}', True),
        (b'{"error":"Please query /accounts first"}', True),
        (b'{"error":"Insufficient funds"}', False),
    ],
)
def test_a_call_without_a_session_may_be_sent_again(body: bytes, again: bool) -> None:
    """IBKR did not look at it: no name of it is taken."""
    assert interpret_placement(400, body).may_be_sent_again is again
