"""IBKR's own words about the session, as one short line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.session.ibkr_message import MAX_MESSAGE_LENGTH, message_of


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"awaiting approval","fail":"","prompts":[]}', "awaiting approval"),
        (b'{"fail":"No trading permissions"}', "No trading permissions"),
        (b'{"prompts":["Accept the agreement","Confirm your phone"]}', "Accept the agreement; Confirm your phone"),
        (b'{"prompts":[{"text":"Accept"}],"message":"x"}', "x"),
        (b'{"error":"Init failed","message":"Init failed"}', "Init failed"),
        (b'{"message":{"a":1},"fail":7,"error":null}', ""),
        (b'{"authenticated":true,"connected":true}', ""),
        (b"[1,2]", ""),
        (b"", ""),
        (b"Unauthorized\r\n", "Unauthorized"),
        (b"<html><head><style>p{}</style></head><body><h1>Session expired</h1></body></html>", "Session expired"),
        (b'{"message":"line one\\nline two\\u001b[31m red\\u202e"}', "line one line two [31m red"),
        (b"\xff\xfeno text", "\ufffd\ufffdno text"),
    ],
)
def test_the_words_are_found_where_ibkr_writes_them(body: bytes, message: str) -> None:
    """In one line, without control characters, and each text once."""
    assert message_of(body) == message


def test_a_long_text_is_cut() -> None:
    """A page of an error must not fill the log."""
    message = message_of(json.dumps({"message": "m" * 5000}).encode()[:5000] + b'"}')

    assert len(message) <= MAX_MESSAGE_LENGTH == 300
    assert len(message_of(json.dumps({"message": "word " * 100}).encode())) == 300


@given(st.binary(max_size=600))
def test_no_body_makes_the_reader_raise(body: bytes) -> None:
    """Whatever comes becomes one printable line."""
    assert message_of(body).isprintable() or message_of(body) == ""
