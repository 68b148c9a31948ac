"""IBKR's own words about the session, as one short line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.ibkr_message import MAX_MESSAGE_LENGTH, message_of, shown_message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"awaiting approval","fail":"","prompts":[]}', "awaiting approval"),
        (b'{"fail":"No trading permissions"}', "No trading permissions"),
        (b'{"prompts":["Accept the agreement","Confirm your phone"]}', "Accept the agreement; Confirm your phone"),
        (b'{"prompts":[{"id":"p1","text":"Accept"}],"message":"x"}', "x; Accept"),
        (b'{"fail":{"reason":"locked","details":["call us"]}}', "locked; call us"),
        (b'{"error":{"message":"no bridge","code":400}}', "no bridge"),
        (b'{"prompts":[[[[[[["too deep"]]]]]],true,7]}', "7"),
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
    message = shown_message(json.dumps({"message": "word " * 2000}).encode(), str)

    assert len(message) == MAX_MESSAGE_LENGTH == 300
    assert message.endswith("…")


SECRET = "c0ffee" * 6


def redactor() -> Redactor:
    """One that knows a session id."""
    known = Redactor()
    known.add_secret(SECRET)
    return known


@pytest.mark.parametrize("start", [*range(255, 305), 4090, 65_510])
@pytest.mark.parametrize("form", ['{"message":"%s"}', '{"fail":["%s"]}', "%s", "<html><body>%s</body></html>"])
def test_no_part_of_a_secret_is_shown_wherever_it_stands(start: int, form: str) -> None:
    """A secret that is cut is no longer recognised, so it must be removed before the cut."""
    body = (form % ("x" * start + " " + SECRET + " DU7654321 and so on")).encode()

    message = shown_message(body, redactor().redact)

    assert "c0ffee" not in message
    assert "DU76" not in message
    assert len(message) <= 300


def test_a_character_without_width_does_not_split_an_account_number() -> None:
    """A person would read the number, and the redaction would not see it."""
    assert shown_message("DU76\u200b54321 is locked".encode(), redactor().redact) == "DU*****21 is locked"


MEMBERS_FOR_NOBODY = '"MAC":"98:F2:B3:23:BF:A0","hardware_info":"secret"'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{" + MEMBERS_FOR_NOBODY + ',"message":"' + "m " * 4000 + '"}', "m " * 149 + "m…"),
        ("{" + MEMBERS_FOR_NOBODY + ',"prompts":["' + "p" * 70_000 + '"]}', ""),
        ("\ufeff{" + MEMBERS_FOR_NOBODY, ""),
        (" \x00[{" + MEMBERS_FOR_NOBODY + "}", ""),
        ("<pre>{" + MEMBERS_FOR_NOBODY + "</pre>", ""),
        ("{" + MEMBERS_FOR_NOBODY + ',"x":' + "[" * 3000 + "]" * 3000 + "}", ""),
        ("<p>Closed</p><script>var a = '" + "s" * 9000, "Closed"),
        ('Closed <img alt="' + "a" * 9000, "Closed"),
    ],
)
def test_a_long_or_broken_body_is_not_shown_as_it_came(body: str, message: str) -> None:
    """Its other members identify the machine and the session."""
    assert shown_message(body.encode(), str) == message


@given(st.binary(max_size=600))
def test_no_body_makes_the_reader_raise(body: bytes) -> None:
    """Whatever comes becomes one printable line."""
    assert message_of(body).isprintable() or message_of(body) == ""
