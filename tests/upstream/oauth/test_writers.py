"""The bytes of signed calls."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.upstream.oauth.writers import PlainWriter, SignedWriter, signed_base
from tests.clocks import ManualClock
from tests.upstream.oauth.test_access import FakeAccess

NOW = ManualClock().utc()
WRITER = SignedWriter("https://api.ibkr.com", FakeAccess(1, NOW, NOW))


def test_the_address_is_signed_without_its_query() -> None:
    """And sent with it; the host is the one that is signed."""
    raw = WRITER.prepare(Call("GET", "/v1/api/x?a=%2F", (("User-Agent", "u"),)))()

    assert raw == (
        b"GET /v1/api/x?a=%2F HTTP/1.1\r\nAuthorization: GET https://api.ibkr.com/v1/api/x\r\n"
        b"Host: api.ibkr.com\r\nUser-Agent: u\r\n\r\n"
    )


def test_a_call_without_a_user_agent_gets_one() -> None:
    """IBKR's edge answers 403 without it."""
    assert b"\r\nUser-Agent: ibkr-bridge/" in WRITER.prepare(Call("GET", "/x"))()


@pytest.mark.parametrize("target", ["/x\r\nA: b", "/é", "/x\ud800"])
def test_a_target_that_cannot_be_signed_is_refused_before_anything_is_sent(target: str) -> None:
    """In the step of sending nothing may fail."""
    with pytest.raises(ValueError, match=r"line break|codec"):
        WRITER.prepare(Call("GET", target))


@pytest.mark.parametrize(
    ("scheme", "host", "port", "base"),
    [
        ("https", "API.ibkr.com", 443, "https://api.ibkr.com"),
        ("https", "api.ibkr.com", 8443, "https://api.ibkr.com:8443"),
        ("http", "127.0.0.1", 80, "http://127.0.0.1"),
        ("http", "::1", 5000, "http://[::1]:5000"),
    ],
)
def test_the_usual_port_is_left_out(scheme: str, host: str, port: int, base: str) -> None:
    """Both sides must sign the same text."""
    assert signed_base(scheme, host, port) == base


def test_a_plain_call_is_not_signed() -> None:
    """It brings its own header."""
    assert b"Authorization" not in PlainWriter("https://api.ibkr.com").prepare(Call("GET", "/x"))()
