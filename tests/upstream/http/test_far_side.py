"""The bytes that a call becomes."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.upstream.http.far_side import serialise


def serialise_call(call: Call, cookies: str = "") -> bytes:
    """The bytes of a call to `localhost:5000`."""
    return serialise(call, "localhost:5000", (("Cookie", cookies),) if cookies else ())


def test_a_call_is_serialised_without_additions() -> None:
    """The target is written byte for byte, the headers in their order, and nothing else is added."""
    call = Call("POST", "/v1/api/x?a=%2F", (("Accept", "*/*"), ("X", "y")), b"{}")

    assert serialise_call(call, "a=b; c=d") == (
        b"POST /v1/api/x?a=%2F HTTP/1.1\r\nHost: localhost:5000\r\nAccept: */*\r\nX: y\r\n"
        b"Cookie: a=b; c=d\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("method", "body", "has_length"),
    [("GET", b"", False), ("DELETE", b"", False), ("POST", b"", True), ("PUT", b"", True), ("DELETE", b"{}", True)],
)
def test_a_body_and_every_post_and_put_have_a_length(method: str, body: bytes, has_length: bool) -> None:
    """IBKR answers 411 to a POST without it."""
    assert (b"Content-Length" in serialise_call(Call(method, "/x", body=body))) is has_length


@pytest.mark.parametrize(
    "call",
    [
        Call("GET", "/x\r\nX-More: 1"),
        Call("GET", "/x", (("A", "b\r\nX-More: 1"),)),
        Call("GET", "/x", (("A\n", "b"),)),
        Call("GET\r", "/x"),
    ],
)
def test_a_call_with_a_line_break_is_never_serialised(call: Call) -> None:
    """A line break would start a second header, or a second call."""
    with pytest.raises(ValueError, match="line break"):
        serialise_call(call)


def test_a_cookie_with_a_line_break_is_never_serialised() -> None:
    """It does not matter who set the cookie."""
    with pytest.raises(ValueError, match="line break"):
        serialise_call(Call("GET", "/x"), "a=b\r\nX: y")


def test_cookies_are_written_byte_for_byte() -> None:
    """Bytes that are not UTF-8 are written unchanged too."""
    assert b"Cookie: a=\xff\r\n" in serialise_call(Call("GET", "/x"), "a=\udcff")
