"""The live session token, checked with IBKR's own numbers and at the edges of the encoding."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.oauth.live_session_token import (
    MAX_LIFE,
    MIN_LIFE,
    Group,
    derive_token,
    end_of_life,
    is_confirmed,
    number_bytes,
    token_text,
)
from tests.oauth.vectors import (
    CONSUMER,
    EDGE_SECRET,
    EDGES,
    EXAMPLE_A,
    EXAMPLE_CHALLENGE,
    EXAMPLE_GROUP,
    EXAMPLE_RESPONSE,
    EXAMPLE_SECRET,
    GROUP_14,
    SERVER,
    number_of,
)

NOW = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)


def test_ibkrs_own_example() -> None:
    """With a p that is no prime, and a g above p."""
    shared = EXAMPLE_GROUP.shared_number(EXAMPLE_RESPONSE, EXAMPLE_A)
    token = derive_token(shared, EXAMPLE_SECRET)

    assert EXAMPLE_GROUP.challenge(EXAMPLE_A) == EXAMPLE_CHALLENGE
    assert shared.bit_length() == 2043
    assert token_text(token) == "YBWbLw+9RYP2nWrPQHxHZkBb1aM="
    assert is_confirmed(token, CONSUMER, "543c55477d6cbb0e792d1e4f8111cec7305ba3f4")


@pytest.mark.parametrize(("number", "bits", "size", "token", "signature", "wrong"), EDGES)
def test_the_edges_of_the_encoding(
    number: int, bits: int, size: int, token: str, signature: str, wrong: str | None
) -> None:
    """A sign byte that is missing, and zeros that are there though the number is short, give another token."""
    shared = GROUP_14.shared_number(SERVER, number_of(f"ibkr-bridge client {number}"))
    derived = derive_token(shared, EDGE_SECRET)
    unsigned = shared.to_bytes((shared.bit_length() + 7) // 8, "big")
    others = {token_text(hmac.digest(each, EDGE_SECRET, "sha1")) for each in (unsigned, shared.to_bytes(256, "big"))}

    assert (shared.bit_length(), len(number_bytes(shared))) == (bits, size)
    assert token_text(derived) == token
    assert is_confirmed(derived, CONSUMER, signature)
    assert others - {token} == ({wrong} if wrong is not None else set())
    if wrong is not None:
        assert not is_confirmed(base64.b64decode(wrong), CONSUMER, signature)


@given(st.integers(1, 2**2100))
def test_a_number_is_as_short_as_possible_and_never_negative(number: int) -> None:
    """As Java's BigInteger writes it, with which IBKR computes."""
    written = number_bytes(number)

    assert int.from_bytes(written, "big", signed=True) == number
    assert len(written) == 1 or written[0] or written[1] & 0x80


@given(st.integers(1, 2**256 - 1), st.integers(1, 2**256 - 1), st.binary(min_size=32, max_size=32))
def test_both_sides_derive_the_same(a: int, b: int, secret: bytes) -> None:
    """Whatever numbers they have drawn."""
    ours = GROUP_14.shared_number(GROUP_14.challenge(b), a) if int(GROUP_14.challenge(b), 16) > 1 else None
    theirs = GROUP_14.shared_number(GROUP_14.challenge(a), b) if int(GROUP_14.challenge(a), 16) > 1 else None

    assert ours is None or theirs is None or derive_token(ours, secret) == derive_token(theirs, secret)


@pytest.mark.parametrize(
    "response", ["", "0", "1", "x", "-5", f"{GROUP_14.p - 1:x}", f"{GROUP_14.p:x}", "f" * 3000, "0x12"]
)
def test_an_answer_with_which_everybody_knows_the_result_is_refused(response: str) -> None:
    """And one that is no number."""
    with pytest.raises(ValueError, match="challenge"):
        GROUP_14.shared_number(response, 12345)


@pytest.mark.parametrize("signature", ["", "x", "543c", "543c55477d6cbb0e792d1e4f8111cec7305ba3f5", "é" * 40])
def test_another_signature_confirms_nothing(signature: str) -> None:
    """Upper and lower case are the same."""
    token = base64.b64decode("YBWbLw+9RYP2nWrPQHxHZkBb1aM=")

    assert not is_confirmed(token, CONSUMER, signature)
    assert is_confirmed(token, CONSUMER, "543C55477D6CBB0E792D1E4F8111CEC7305BA3F4")


@pytest.mark.parametrize(
    ("told", "end"),
    [
        (NOW + timedelta(hours=20), NOW + timedelta(hours=20)),  # the end
        (NOW, NOW + MAX_LIFE),  # the time of computation
        (NOW - timedelta(minutes=2), NOW + MAX_LIFE - timedelta(minutes=2)),
        (NOW + timedelta(days=30), NOW + MAX_LIFE),  # never more than a day
        (NOW - timedelta(days=30), NOW + MAX_LIFE),
    ],
)
def test_the_end_is_read_in_both_ways(told: datetime, end: datetime) -> None:
    """IBKR's documents disagree."""
    assert end_of_life(NOW, int(told.timestamp() * 1000)) == end


@given(st.one_of(st.none(), st.text(), st.booleans(), st.floats(), st.integers()))
def test_whatever_is_told_the_end_is_within_a_day(told: object) -> None:
    """And in the future."""
    assert NOW < end_of_life(NOW, told) <= NOW + MAX_LIFE
    assert MIN_LIFE < MAX_LIFE


def test_the_numbers_are_not_shown() -> None:
    """In a traceback, for example."""
    assert str(GROUP_14.p) not in repr(Group(GROUP_14.p, 2))
