"""What IBKR's refusals mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.oauth.refusals import Refusal, refusal_of, words_of


def error(text: str, status: int = 401) -> bytes:
    """A body as IBKR sends it; the number is another one each time."""
    return json.dumps({"error": f"id: 4711, error: {text}", "statusCode": status}).encode()


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (401, error("invalid consumer"), Refusal.INACTIVE),
        (401, error("Invalid Consumer"), Refusal.INACTIVE),
        (401, error("LST failed, Invalid signature"), Refusal.INVALID_SIGNATURE),
        (401, error("Invalid signature"), Refusal.UNAUTHORIZED),
        (401, error("LST failed, error: No access secret key found for a1b2"), Refusal.SECRET_LOST),
        (401, error("LST failed, error: "), Refusal.SECRET_LOST),
        (401, error("LST failed, error: something new"), Refusal.UNAUTHORIZED),
        (401, b"", Refusal.UNAUTHORIZED),
        (401, b"not authenticated", Refusal.UNAUTHORIZED),
        (403, b" <HTML>Access Denied Reference #18.9</HTML>", Refusal.BLOCKED),
        (403, b'{"error":"no permission"}', Refusal.FORBIDDEN),
        (410, b"", Refusal.STALE),
        (411, b"", Refusal.NO_LENGTH),
        (429, b"", Refusal.RATE_LIMITED),
        (500, error("failed to generate sso dh token", 500), Refusal.NO_DH_TOKEN),
        (503, b"", Refusal.UNAVAILABLE),
        (200, b"{}", None),
        (404, b"", None),
        (400, b'{"error":"no bridge"}', None),
    ],
)
def test_a_refusal_by_status_and_text(status: int, body: bytes, refusal: Refusal | None) -> None:
    """Only a text that is known decides; everything else has the general meaning of its status."""
    assert refusal_of(status, body) is refusal


@given(st.integers(100, 599), st.binary(max_size=300))
def test_no_body_breaks_the_reading(status: int, body: bytes) -> None:
    """It comes from the network."""
    refusal_of(status, body)


def test_the_number_in_front_is_left_out() -> None:
    """It means nothing to a person."""
    assert words_of(error("invalid consumer")) == "invalid consumer"
    assert words_of(b"plain text") == "plain text"
