"""What IBKR's answer to a read means if it is not a good one."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.reads import Subject
from ibkr_bridge.translation.refusals import refusal_of


def no_redaction(text: str) -> str:
    """The text itself."""
    return text


@pytest.mark.parametrize(
    ("status", "body", "subject", "code"),
    [
        (500, b'{"error":"No symbol found"}', Subject.INSTRUMENT, "instrument_not_found"),
        (500, b'{"error":"Contract not found"}', Subject.INSTRUMENT, "instrument_not_found"),
        (400, b'{"error":"Bad Request: no such conid"}', Subject.INSTRUMENT, "instrument_not_found"),
        (200, b'{"error":"no contracts retrieved"}', Subject.INSTRUMENT, "instrument_not_found"),
        (404, b"", Subject.INSTRUMENT, "instrument_not_found"),
        (400, b'{"error":"Bad Request: invalid account"}', Subject.ACCOUNT, "account_not_found"),
        (404, b"<html>", Subject.ORDER, "order_not_found"),
        (500, b'{"error":"No symbol found"}', Subject.NOTHING, "upstream_error"),
        (503, b'{"error":"Service not found"}', Subject.INSTRUMENT, "upstream_error"),
        (500, b'{"error":"Chart data unavailable"}', Subject.INSTRUMENT, "upstream_error"),
        (200, b'{"error":"unavailable"}', Subject.INSTRUMENT, "upstream_error"),
        (200, b'{"success":false}', Subject.ACCOUNT, "upstream_error"),
        (502, b"<html>down</html>", Subject.ACCOUNT, "upstream_error"),
        (401, b"", Subject.ACCOUNT, "upstream_refused"),
        (403, b'{"error":"no permission"}', Subject.INSTRUMENT, "upstream_refused"),
    ],
)
def test_the_words_decide(status: int, body: bytes, subject: Subject, code: str) -> None:
    """The same status means different things."""
    refusal = refusal_of(status, body, subject, no_redaction)

    assert refusal is not None
    assert refusal.code == code


@pytest.mark.parametrize("body", [b"[]", b'{"a":1}', b'{"error":null,"amount":{}}', b""])
def test_a_good_answer_is_no_refusal(body: bytes) -> None:
    """Some good answers have a member `error`."""
    assert refusal_of(200, body, Subject.ACCOUNT, no_redaction) is None


def test_words_are_redacted_and_pages_are_not_shown() -> None:
    """An account number or a page for people never reaches a caller."""
    refusal = refusal_of(500, b'{"error":"failed for DU1234567"}', Subject.NOTHING, lambda _: "redacted")
    page = refusal_of(500, b"<html>secret</html>", Subject.NOTHING, no_redaction)

    assert refusal is not None
    assert page is not None
    assert (refusal.detail, page.detail) == ("IBKR answered 500: redacted", "IBKR answered 500")
