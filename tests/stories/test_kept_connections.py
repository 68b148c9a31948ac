"""Requests on a persistent connection: from the cache, in parts, several at once, and after the key was removed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ibkr_bridge.events import RequestServed
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, READONLY_KEY, Harness, Placement, settings_for, with_timeout
from tests.unlimited import UNLIMITED

META, LIST, LEDGER = "/portfolio/DU1234567/meta", "/iserver/account/orders", "/portfolio/DU1234567/ledger"
ORDER = Placement()


def head(path: str, *lines: str, key: str = KEY) -> bytes:
    """The bytes of a request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"X-Bridge-Key: {key}", *lines, "", ""]).encode()


class Connection:
    """One persistent connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, *parts: bytes) -> None:
        """Send the parts in one write."""
        self._writer.write(b"".join(parts))

    async def receive(self) -> tuple[bytes, dict[str, str], bytes]:
        """Receive one response: status line, headers, body."""
        raw = await with_timeout(self._reader.readuntil(b"\r\n\r\n"))
        status_line, *lines = raw.decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        return (
            status_line.encode(),
            headers,
            await with_timeout(self._reader.readexactly(int(headers["Content-Length"]))),
        )

    async def request(self, *parts: bytes) -> tuple[bytes, dict[str, str], bytes]:
        """Send a request and receive its response."""
        self.send(*parts)
        return await self.receive()


@asynccontextmanager
async def connect(harness: Harness) -> AsyncIterator[Connection]:
    """Open a connection, and abort it when the block ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge with a cache and two keys."""
    settings = settings_for(sim.url, tmp_path / "state", IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    async with Harness(settings, options=ProfileOptions(UNLIMITED.limits)) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


VARYING_HEADERS = {"Date", "X-Request-ID", "Age", "Server-Timing"}


async def test_the_same_bytes_get_the_same_response_with_the_same_headers(harness: Harness) -> None:
    """Only `Age` is added; each request has its own id in the log."""
    async with connect(harness) as connection:
        replies = [await connection.request(head(META)) for _ in range(4)]
    async with connect(harness) as second:
        replies.append(await second.request(head(META)))

    first, (_, headers, _) = replies[0], replies[-1]
    assert {status for status, _, _ in replies} == {b"HTTP/1.1 200 OK"}
    assert {body for _, _, body in replies} == {first[2]}
    assert set(headers) == set(first[1]) | {"Age"}
    same = set(headers) - VARYING_HEADERS - {"X-Bridge-Source"}
    assert {name: headers[name] for name in same} == {name: first[1][name] for name in same}
    assert (headers["X-Bridge-Source"], headers["Age"], headers["Keep-Alive"]) == ("cache", "0", "timeout=70")
    served = [event for event in harness.events_seen if isinstance(event, RequestServed)]
    assert {event.request_id for event in served} == {each["X-Request-ID"] for _, each, _ in replies}
    assert {(event.key, event.route, event.status) for event in served} == {
        ("full", "/portfolio/{accountId}/meta", 200)
    }


async def test_a_key_that_was_removed_is_refused(harness: Harness, sim: Simulator, tmp_path: Path) -> None:
    """Keys are replaced while connections stay open."""
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(META))
        harness.bridge.keys.replace(
            settings_for(sim.url, tmp_path, IBKR_BRIDGE_KEY="another-key-0123456789-0123456789-ab")
        )

        status, _, _ = await connection.request(head(META))

    assert status == b"HTTP/1.1 401 Unauthorized"


async def test_each_key_is_logged_under_its_own_name(harness: Harness) -> None:
    """Both keys may read."""
    async with connect(harness) as connection:
        for key in (KEY, READONLY_KEY, KEY, READONLY_KEY):
            await connection.request(head(META, key=key))
        wrong, _, _ = await connection.request(head(META, key="x" * 40))

    served = [event.key for event in harness.events_seen if isinstance(event, RequestServed)]
    assert (served, wrong) == (["full", "read-only", "full", "read-only", "wrong"], b"HTTP/1.1 401 Unauthorized")


async def test_nothing_is_served_from_the_cache_after_the_session_is_lost(harness: Harness, sim: Simulator) -> None:
    """Its cached responses are no longer valid."""
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(META))
        sim.log_out()
        await harness.post("/gateway/reconnect")

        status, _, _ = await connection.request(head(META))

    assert status == b"HTTP/1.1 503 Service Unavailable"


async def test_even_responses_cached_for_hours_are_not_served_without_a_login(harness: Harness, sim: Simulator) -> None:
    """The cache applies the same session check as the pipeline."""
    pairs = head("/iserver/currency/pairs?currency=USD")
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(pairs)
        sim.log_out()
        await harness.post("/gateway/reconnect")

        status, _, _ = await connection.request(pairs)

    assert status == b"HTTP/1.1 503 Service Unavailable"


async def test_an_invalid_header_does_not_end_the_connection(harness: Harness, sim: Simulator) -> None:
    """A header of the Gateway with other characters than ASCII is not passed on."""
    sim.faults.add("status", path=META, times=1, status=200, body='{"a":1}', headers={"Content-Type": "a; x=\xff"})
    async with connect(harness) as connection:
        replies = [await connection.request(head(META)) for _ in range(3)]

    assert [status for status, _, _ in replies] == [b"HTTP/1.1 200 OK"] * 3


async def test_an_order_invalidates_a_cached_response(harness: Harness) -> None:
    """The next request is sent to IBKR, and its response is cached."""
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(LEDGER))
        await harness.post(ORDER.target, ORDER.body)

        sources = [(await connection.request(head(LEDGER)))[1]["X-Bridge-Source"] for _ in range(2)]

    assert sources == ["gateway", "cache"]


async def test_a_bridge_that_ends_refuses_requests_on_open_connections(harness: Harness) -> None:
    """Each refusal closes its connection."""
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(META))
        harness.bridge.drain.begin()

        status, headers, _ = await connection.request(head(META))

    assert (status, headers["Connection"]) == (b"HTTP/1.1 503 Service Unavailable", "close")


async def test_an_incomplete_head_before_known_bytes_belongs_to_the_next_request(harness: Harness) -> None:
    """The bytes that follow complete that head; they are not taken for another request."""
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(META))
        connection.send(head(META), b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Begun: ")
        await connection.receive()

        status, _, body = await connection.request(head(META))

    assert status.endswith(b"400 Bad Request")  # it has two Host headers
    assert b"DU1234567" not in body


async def test_known_bytes_are_served_in_parts_and_several_at_once(harness: Harness) -> None:
    """TCP does not preserve the borders of messages."""
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(META))
        connection.send(head(META), head(META))
        responses = [await connection.receive() for _ in range(2)]
        connection.send(head(META)[:30])
        await harness.get("/health")
        in_parts = await connection.request(head(META)[30:])

    assert [status for status, _, _ in [*responses, in_parts]] == [b"HTTP/1.1 200 OK"] * 3


async def test_two_requests_in_one_segment_are_not_cached_as_one(harness: Harness) -> None:
    """Otherwise one of them would get no response when they come again."""
    both = head(META) + head(LEDGER)
    async with connect(harness) as connection:
        for _ in range(3):
            connection.send(both)
            bodies = [(await connection.receive())[2] for _ in range(2)]
            assert b"DU1234567" in bodies[0]
            assert b"BASE" in bodies[1]


async def test_a_request_with_a_body_does_not_disturb_the_next_ones(harness: Harness) -> None:
    """Only the parser knows where the body ends."""
    search = b'{"symbol":"AAPL"}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(search)}")
    post = head("/iserver/secdef/search", *lines).replace(b"GET", b"POST", 1)
    async with connect(harness) as connection:
        for _ in range(2):
            await connection.request(head(META))
        await connection.request(post, search)
        for _ in range(2):
            assert (await connection.request(head(META)))[0] == b"HTTP/1.1 200 OK"


async def test_a_client_that_does_not_read_gets_a_limited_number_of_responses(harness: Harness) -> None:
    """Otherwise unsent responses would fill the memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
    connection = Connection(reader, writer)
    for _ in range(2):
        await connection.request(head(META))
    (server_side,) = [
        connection for connection in harness.bridge._connection_limiter.connections if connection.transport is not None
    ]
    server_side.pause_writing()
    before = len([event for event in harness.events_seen if isinstance(event, RequestServed)])

    connection.send(head(META))
    await harness.get("/health")
    writer.transport.abort()

    served = [event for event in harness.events_seen if isinstance(event, RequestServed)]
    assert (
        len(served) - before <= 2
    )  # its own request, whose response waits until it is read, and the request of /health


async def test_every_response_restarts_the_keep_alive_timeout(harness: Harness) -> None:
    """A response from the cache restarts it too."""
    async with connect(harness) as connection:
        await connection.request(head(META))
        (server_side,) = harness.bridge._connection_limiter.connections
        server_side._next_keepalive_close_time = 0.0

        await connection.request(head(META))

        assert server_side._next_keepalive_close_time > asyncio.get_running_loop().time() + 70


async def test_a_request_that_the_parser_refuses_is_refused_each_time(harness: Harness) -> None:
    """Nothing of it is cached."""
    async with connect(harness) as connection:
        connection.send(head(META, "content-length : 3"))
        refused = await with_timeout(connection._reader.read())

    assert re.match(rb"HTTP/1.[01] 400", refused)
