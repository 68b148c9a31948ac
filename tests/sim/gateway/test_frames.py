"""WebSocket frames as the Gateway reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.sim.gateway.frames import (
    BINARY,
    CLOSE,
    CONTINUED,
    MAX_FRAME_BYTES,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameTooLongError,
    close_frame,
    encode_frame,
    encode_handshake,
    is_websocket_request,
    parse_frame,
)
from ibkr_bridge.sim.gateway.wire import Head


def head(method: str = "GET", **headers: str) -> Head:
    """A request for a socket, or one that resembles it."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", **headers}
    return Head(
        method, "/v1/api/ws", "HTTP/1.1", tuple((name.replace("_", "-"), text) for name, text in upgrade.items())
    )


@pytest.mark.parametrize(
    ("request_head", "is_request"),
    [
        (head(), True),
        (head(Upgrade="WebSocket", Connection="keep-alive, upgrade"), True),
        (head(Sec_WebSocket_Version="7"), True),
        (head("POST"), False),
        (head(Upgrade="h2c"), False),
        (head(Connection="close"), False),
    ],
)
def test_a_socket_is_requested_by_two_headers_and_get(request_head: Head, is_request: bool) -> None:
    """The Gateway accepts any version."""
    assert is_websocket_request(request_head) is is_request


def test_the_handshake_answers_the_key_as_the_standard_does() -> None:
    """The key is the example of RFC 6455; there are no extensions and subprotocols."""
    response = encode_handshake(head(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="))

    assert response.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert b"Extensions" not in response


@pytest.mark.parametrize(
    ("bytes_", "frame"),
    [
        (b"\x81\x05Hello", Frame(TEXT, b"Hello")),
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Frame(TEXT, b"Hello")),
        (b"\x89\x00", Frame(PING)),
        (b"\x01\x03Hel", Frame(TEXT, b"Hel")),
        (b"\x80\x02lo", Frame(CONTINUED, b"lo")),
    ],
)
def test_the_examples_of_the_standard_are_read(bytes_: bytes, frame: Frame) -> None:
    """They are masked or not; each fragment is a message of its own here."""
    assert parse_frame(bytes_ + b"rest") == (frame, len(bytes_))


@given(some.sampled_from([CONTINUED, TEXT, BINARY, CLOSE, PING, PONG]), some.binary(max_size=300), some.binary())
def test_a_written_frame_is_read_back(kind: int, payload: bytes, rest: bytes) -> None:
    """The bytes after the frame are not touched."""
    written = encode_frame(Frame(kind, payload))

    assert parse_frame(written + rest) == (Frame(kind, payload), len(written))


@given(some.integers(0, 200))
def test_an_incomplete_frame_is_waited_for(cut: int) -> None:
    """The network can cut it anywhere."""
    written = encode_frame(Frame(TEXT, b"x" * 150))

    assert (parse_frame(written[:cut]) is None) == (cut < len(written))


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536])
def test_every_form_of_the_length_is_read_back(size: int) -> None:
    """The sizes are those at which one form of the length ends and the next begins."""
    written = encode_frame(Frame(BINARY, bytes(size)))

    frame = parse_frame(written)

    assert frame is not None
    assert len(frame[0].payload) == size


def test_a_frame_that_is_too_large_is_refused_before_it_has_arrived() -> None:
    """The Gateway ends such a connection as soon as it has read the length."""
    with pytest.raises(FrameTooLongError):
        parse_frame(b"\x81\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8, "big"))


@given(some.binary(max_size=40))
def test_no_bytes_crash_the_reader(bytes_: bytes) -> None:
    """It returns a frame or None, or raises that the frame is too large."""
    try:
        frame = parse_frame(bytes_)
    except FrameTooLongError:
        return

    assert frame is None or frame[1] <= len(bytes_)


def test_a_close_frame_has_a_code_and_no_reason() -> None:
    """The Gateway never sends a reason."""
    assert close_frame(1001) == Frame(CLOSE, b"\x03\xe9")
    assert [Frame(kind).is_data for kind in (CONTINUED, TEXT, BINARY, CLOSE, PING, PONG)] == [True] * 3 + [False] * 3
