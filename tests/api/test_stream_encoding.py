"""How events are written to a connection: frames, Server-Sent Events, chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.api.stream_encoding import (
    SSE_ENCODING,
    WEBSOCKET_ENCODING,
    ConnectionSink,
    compact_json,
    sse_event,
    websocket_frame,
)
from ibkr_bridge.events import Bus
from ibkr_bridge.server.connection import ClientConnection, ConnectionLimiter
from ibkr_bridge.streaming.subscriber import StreamEvent
from tests.harness import within


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_tells_its_length_in_as_many_bytes_as_it_takes(size: int, head: bytes) -> None:
    """RFC 6455 demands the shortest form; a server's frames have no mask."""
    assert websocket_frame(b"x" * size) == head + b"x" * size


def test_json_has_no_blanks_and_no_line_ends() -> None:
    """A line end would cut an event in two."""
    assert compact_json({"a": [1, "x\ny", None], "b": True}) == b'{"a":[1,"x\\ny",null],"b":true}'


@pytest.mark.parametrize("odd", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_number_in_json_is_null_wherever_it_stands(odd: float) -> None:
    """Browsers refuse the whole text for one `Infinity`; the numbers beside it stay."""
    told = {"a": odd, "b": [1.5, odd, {"c": odd, "d": "x"}], "e": 2}

    assert json.loads(compact_json(told)) == {"a": None, "b": [1.5, None, {"c": None, "d": "x"}], "e": 2}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_whatever_is_told_is_one_line_of_real_json(told: object) -> None:
    """Both kinds of readers depend on it."""

    def refuse(text: str) -> None:
        raise AssertionError(text)

    written = compact_json(told)

    json.loads(written, parse_constant=refuse)
    assert b"\n" not in written
    assert b"\r" not in written


def test_an_event_of_the_standard_has_name_number_and_data_in_this_order() -> None:
    """And ends with an empty line; what it has not is left out."""
    assert sse_event({"a": 1}) == b'data: {"a":1}\n\n'
    assert sse_event({"a": 1}, "7") == b'id: 7\ndata: {"a":1}\n\n'
    assert sse_event({"a": 1}, "7", "gap") == b'event: gap\nid: 7\ndata: {"a":1}\n\n'


def test_a_websocket_gets_ibkrs_message_and_a_page_its_rows() -> None:
    """The same event, in the words of each."""
    event = StreamEvent({"topic": "sor"}, (("1", {"a": 1}), ("2", {"b": 2})), "fresh")

    assert WEBSOCKET_ENCODING.encode(event) == websocket_frame(b'{"topic":"sor"}')
    assert SSE_ENCODING.encode(event) == (
        b'event: fresh\nid: 1\ndata: {"a":1}\n\nevent: fresh\nid: 2\ndata: {"b":2}\n\n'
    )


def test_what_is_nothing_for_a_kind_of_connection_is_no_bytes() -> None:
    """An empty frame would be a message."""
    assert WEBSOCKET_ENCODING.encode(StreamEvent({}, (("1", {"a": 1}),))) == b""
    assert SSE_ENCODING.encode(StreamEvent({"topic": "sor"})) == b""


class Line:
    """One connection of the bridge's own, and who reads at its other end."""

    def __init__(self, connection: ClientConnection, reader: asyncio.StreamReader) -> None:
        self.connection = connection
        self.reader = reader


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A connection that stands."""
    loop = asyncio.get_running_loop()

    async def never(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server, limiter = web.Server(never), ConnectionLimiter(Bus())
    listening = await loop.create_server(lambda: ClientConnection(server, limiter, loop), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    while not limiter.connections:
        await asyncio.sleep(0)
    yield Line(limiter.connections[0], reader)
    writer.close()
    listening.close()
    await server.shutdown(1.0)


async def test_bytes_go_out_as_they_are_or_in_a_chunk(line: Line) -> None:
    """A websocket has frames of its own; an HTTP reply without a length has chunks."""
    ConnectionSink(line.connection, lambda _: None, chunked=False).write(b"plain")
    ConnectionSink(line.connection, lambda _: None, chunked=True).write(b"x" * 26)

    assert await within(line.reader.readexactly(5 + 32)) == b"plain1a\r\n" + b"x" * 26 + b"\r\n"


async def test_nothing_may_be_written_before_the_head_and_after_the_end(line: Line) -> None:
    """An event before the head would be taken for it."""
    reasons: list[str] = []
    sink = ConnectionSink(line.connection, reasons.append, chunked=False)
    before = sink.is_writable
    sink.is_open = True
    between = sink.is_writable
    sink.close("slow_client")

    assert (before, between, sink.is_writable) == (False, True, False)
    assert reasons == ["slow_client"]


async def test_what_has_not_left_is_counted_and_stops_the_writing(line: Line) -> None:
    """By that a slow reader is known from a stuck one."""
    sink = ConnectionSink(line.connection, lambda _: None, chunked=False)
    sink.is_open = True
    empty = sink.unsent_bytes

    while sink.is_writable:  # until neither the system nor the other end takes more
        sink.write(bytes(1 << 20))

    assert empty == 0
    assert sink.unsent_bytes > 0


async def test_a_connection_that_has_gone_takes_nothing_and_says_so(line: Line) -> None:
    """Its reader may be written to once more before anybody has heard of it."""
    sink = ConnectionSink(line.connection, lambda _: None, chunked=True)
    sink.is_open = True
    line.connection.abort()

    sink.write(b"into the void")
    while line.connection.transport is not None:
        await asyncio.sleep(0)
    sink.write(b"into the void")

    assert not sink.is_writable
    assert sink.unsent_bytes == 0
