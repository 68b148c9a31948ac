"""What IBKR's answers say of an order; what says nothing leaves it open."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.orders.journal.transitions import What
from ibkr_bridge.orders.response import read_answer, read_done

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
        (200, [PLACED], What.TAKEN),
        (200, PLACED, What.TAKEN),
        (200, [PLACED, PLACED], What.TAKEN),
        (200, [ASKED], What.ASKED),
        (200, ASKED, What.ASKED),
        (200, [PLACED, ASKED], What.ASKED),
        (200, {"error": "no"}, What.TURNED_DOWN),
        (200, [{"error": "no"}], What.TURNED_DOWN),
        (200, {"error": "reply id not found: 'x'"}, What.DROPPED),
        (200, {"error": "Order not confirmed "}, What.DROPPED),
        (200, PROMPT, What.LOST),
        (200, [PLACED, {"error": "no"}], What.LOST),
        (200, {"order_id": "1", "error": "no"}, What.LOST),
        (200, {"success": False}, What.TURNED_DOWN),
        (400, {"error": "Bad Request: no bridge", "statusCode": 400}, What.TURNED_DOWN),
        (400, {"error": "reply id not found: 'x'"}, What.DROPPED),
        (404, "<html>", What.TURNED_DOWN),
        (500, {"error": "Please query /accounts first"}, What.TURNED_DOWN),
        (500, {"error": "Timeout waiting for the server"}, What.LOST),
        (500, {"error": "Bad Request: orders"}, What.TURNED_DOWN),
        (500, None, What.LOST),
        (503, {"error": "Service Unavailable"}, What.LOST),
        (502, None, What.LOST),
        (200, None, What.LOST),
        (200, [], What.LOST),
        (200, {}, What.LOST),
        (200, ["x"], What.LOST),
        (200, [PLACED, "x"], What.LOST),
        (200, "Success", What.LOST),
        (200, {"order_id": ""}, What.LOST),
        (200, {"order_id": True}, What.TAKEN),
        (200, [{**ASKED, "id": "../evil"}], What.LOST),
        (204, None, What.LOST),
        (302, None, What.LOST),
    ],
)
def test_each_answer_says_one_thing(status: int, body: object, what: What) -> None:
    """And what says nothing is not taken for a yes or a no."""
    assert read_answer(status, b"" if body is None else json.dumps(body).encode()).what is what


def test_an_answer_tells_ids() -> None:
    """Of all orders of a bracket."""
    verdict = read_answer(200, json.dumps([PLACED, {**PLACED, "order_id": 2}]).encode())

    assert (verdict.order_ids, verdict.status) == (("1234567890", "2"), "Submitted")


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
    question = read_answer(200, json.dumps(asked).encode()).question

    assert question is not None
    assert question.can_be_confirmed is can_be


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (200, b'{"msg":"Request was submitted","order_id":602801486,"conid":-1,"account":null}', What.TAKEN),
        (200, b'{"error":"OrderID 1 doesn\'t exist"}', What.TURNED_DOWN),
        (200, b"Success", What.TAKEN),
        (200, b'"Request was submitted"', What.TAKEN),
        (200, b"", What.LOST),
        (200, b"<html>", What.LOST),
        (503, b"", What.LOST),
        (400, b"{}", What.TURNED_DOWN),
    ],
)
def test_a_cancel_is_answered_in_other_words(status: int, body: bytes, what: What) -> None:
    """Any that is no error will do."""
    assert read_done(status, body).what is what


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
    for read in (read_answer, read_done):
        verdict = read(status, body)
        assert verdict.what in (What.TAKEN, What.ASKED, What.TURNED_DOWN, What.DROPPED, What.LOST)
        assert (verdict.question is not None) == (verdict.what is What.ASKED)
        assert verdict.what is not What.TAKEN or status == 200


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
    assert read_answer(400, body).again is again
