"""How a call is written to the wire."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.upstream.gateway.exchange import serialise


def wire(call: Call, cookies: str = "") -> bytes:
    """The bytes of a call."""
    return serialise(call, "localhost:5000", cookies)


def test_a_call_is_written_as_its_parts_are() -> None:
    """The target byte for byte, the headers in their order, and nothing else."""
    call = Call("POST", "/v1/api/x?a=%2F", (("Accept", "*/*"), ("X", "y")), b"{}")

    assert wire(call, "a=b; c=d") == (
        b"POST /v1/api/x?a=%2F HTTP/1.1\r\nHost: localhost:5000\r\nAccept: */*\r\nX: y\r\n"
        b"Cookie: a=b; c=d\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("method", "body", "says"),
    [("GET", b"", False), ("DELETE", b"", False), ("POST", b"", True), ("PUT", b"", True), ("DELETE", b"{}", True)],
)
def test_a_length_is_said_where_there_is_a_body_or_should_be_one(method: str, body: bytes, says: bool) -> None:
    """IBKR answers 411 to a POST without it."""
    assert (b"Content-Length" in wire(Call(method, "/x", body=body))) is says


@pytest.mark.parametrize(
    "call",
    [
        Call("GET", "/x\r\nX-More: 1"),
        Call("GET", "/x", (("A", "b\r\nX-More: 1"),)),
        Call("GET", "/x", (("A\n", "b"),)),
        Call("GET\r", "/x"),
    ],
)
def test_the_end_of_a_line_inside_a_line_is_never_written(call: Call) -> None:
    """It would be a second header, or a second call."""
    with pytest.raises(ValueError, match="line break"):
        wire(call)


def test_a_cookie_with_the_end_of_a_line_is_never_written() -> None:
    """Whoever set it."""
    with pytest.raises(ValueError, match="line break"):
        wire(Call("GET", "/x"), "a=b\r\nX: y")


def test_cookies_go_back_as_they_came() -> None:
    """Bytes that are no UTF-8 too."""
    assert b"Cookie: a=\xff\r\n" in wire(Call("GET", "/x"), "a=\udcff")
