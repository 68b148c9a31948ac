"""Properties of the parser: no bytes from a client confuse it."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as some

from ibkr_bridge.sim.gateway.wire import Head, Refusal, encode_head, parse_head

TOKEN = some.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", min_size=1, max_size=20)
VALUE = some.text(some.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


@given(some.binary(max_size=300))
@example(b"GET / HTTP/1.1\r\n x\r\n\r\n")
@example(b"\r\n\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n")
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    """It returns a head, a refusal, or None for more bytes."""
    parsed = parse_head(data)

    assert parsed is None or isinstance(parsed, Refusal | tuple)
    if isinstance(parsed, tuple):
        assert parsed[0].content_length >= 0


@given(some.lists(some.tuples(TOKEN, VALUE), max_size=8), some.binary(max_size=20))
def test_a_written_head_is_read_back(headers: list[tuple[str, str]], rest: bytes) -> None:
    """Repeated headers stay repeated and in order; the body is not touched."""
    parsed_headers = tuple((f"X-{name}", value) for name, value in headers)  # none that has a meaning of its own
    head = encode_head("GET /a?b HTTP/1.1", parsed_headers)

    parsed = parse_head(head + rest)

    assert parsed == (Head("GET", "/a?b", "HTTP/1.1", parsed_headers), len(head))


@given(some.integers(0, 60))
def test_an_incomplete_head_is_waited_for(cut: int) -> None:
    """The network can cut it anywhere."""
    head = b"GET /v1/api/tickle HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n"

    parsed = parse_head(head[:cut])

    assert (parsed is None) == (cut < len(head))
