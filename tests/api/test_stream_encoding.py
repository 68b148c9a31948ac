"""Encoding events as frames and Server-Sent Events, and writing them to a connection."""

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
from tests.harness import with_timeout


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
def test_a_frame_has_the_shortest_form_of_its_length(size: int, head: bytes) -> None:
    """RFC 6455 demands it; frames of a server have no mask."""
    assert websocket_frame(b"x" * size) == head + b"x" * size


def test_json_has_no_spaces_and_no_line_breaks() -> None:
    """A line break would split an event."""
    assert compact_json({"a": [1, "x\ny", None], "b": True}) == b'{"a":[1,"x\\ny",null],"b":true}'


@pytest.mark.parametrize("non_finite", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_json_lacks_is_null_at_any_depth(non_finite: float) -> None:
    """Browsers refuse a text with `Infinity`; the other numbers are unchanged."""
    value = {"a": non_finite, "b": [1.5, non_finite, {"c": non_finite, "d": "x"}], "e": 2}

    assert json.loads(compact_json(value)) == {"a": None, "b": [1.5, None, {"c": None, "d": "x"}], "e": 2}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_any_value_becomes_one_line_of_strict_json(value: object) -> None:
    """Websockets and Server-Sent Events both depend on it."""

    def refuse(text: str) -> None:
        raise AssertionError(text)

    encoded = compact_json(value)

    json.loads(encoded, parse_constant=refuse)
    assert b"\n" not in encoded
    assert b"\r" not in encoded


def test_a_server_sent_event_has_name_id_and_data_in_this_order() -> None:
    """It ends with an empty line. A missing name or id is left out."""
    assert sse_event({"a": 1}) == b'data: {"a":1}\n\n'
    assert sse_event({"a": 1}, "7") == b'id: 7\ndata: {"a":1}\n\n'
    assert sse_event({"a": 1}, "7", "gap") == b'event: gap\nid: 7\ndata: {"a":1}\n\n'


def test_a_websocket_gets_the_message_and_sse_gets_the_rows() -> None:
    """Of the same event."""
    event = StreamEvent({"topic": "sor"}, (("1", {"a": 1}), ("2", {"b": 2})), "fresh")

    assert WEBSOCKET_ENCODING.encode(event) == websocket_frame(b'{"topic":"sor"}')
    assert SSE_ENCODING.encode(event) == (
        b'event: fresh\nid: 1\ndata: {"a":1}\n\nevent: fresh\nid: 2\ndata: {"b":2}\n\n'
    )


def test_an_event_without_content_for_an_encoding_has_no_bytes() -> None:
    """An empty frame would be a message too."""
    assert WEBSOCKET_ENCODING.encode(StreamEvent({}, (("1", {"a": 1}),))) == b""
    assert SSE_ENCODING.encode(StreamEvent({"topic": "sor"})) == b""


class Peers:
    """A connection of the bridge and the reader at its other end."""

    def __init__(self, connection: ClientConnection, reader: asyncio.StreamReader) -> None:
        self.connection = connection
        self.reader = reader


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    """An open connection."""
    loop = asyncio.get_running_loop()

    async def never(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server, limiter = web.Server(never), ConnectionLimiter(Bus())
    listening = await loop.create_server(lambda: ClientConnection(server, limiter, loop), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    while not limiter.connections:
        await asyncio.sleep(0)
    yield Peers(limiter.connections[0], reader)
    writer.close()
    listening.close()
    await server.shutdown(1.0)


async def test_bytes_are_written_unchanged_or_as_a_chunk(peers: Peers) -> None:
    """A websocket has its own frames; an HTTP response without a length has chunks."""
    ConnectionSink(peers.connection, lambda _: None, chunked=False).write(b"plain")
    ConnectionSink(peers.connection, lambda _: None, chunked=True).write(b"x" * 26)

    assert await with_timeout(peers.reader.readexactly(5 + 32)) == b"plain1a\r\n" + b"x" * 26 + b"\r\n"


async def test_a_sink_is_writable_only_between_head_and_end(peers: Peers) -> None:
    """An event before the head would be read as part of it."""
    reasons: list[str] = []
    sink = ConnectionSink(peers.connection, reasons.append, chunked=False)
    before = sink.is_writable
    sink.is_open = True
    between = sink.is_writable
    sink.close("slow_client")

    assert (before, between, sink.is_writable) == (False, True, False)
    assert reasons == ["slow_client"]


async def test_unsent_bytes_are_counted_and_make_a_sink_unwritable(peers: Peers) -> None:
    """The count shows whether a client is slow or stuck."""
    sink = ConnectionSink(peers.connection, lambda _: None, chunked=False)
    sink.is_open = True
    empty = sink.unsent_bytes

    while sink.is_writable:  # until the buffers of the system are full
        sink.write(bytes(1 << 20))

    assert empty == 0
    assert sink.unsent_bytes > 0


async def test_a_lost_connection_is_not_writable(peers: Peers) -> None:
    """The bridge may write once more before it notices."""
    sink = ConnectionSink(peers.connection, lambda _: None, chunked=True)
    sink.is_open = True
    peers.connection.abort()

    sink.write(b"lost")
    while peers.connection.transport is not None:
        await asyncio.sleep(0)
    sink.write(b"lost")

    assert not sink.is_writable
    assert sink.unsent_bytes == 0
