"""Requests on a kept connection: answered from the cache, in pieces, in a row, and after the key was taken away."""

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
from tests.harness import KEY, READING, Harness, Placed, settings_for, within
from tests.unlimited import UNLIMITED

META, LIST, LEDGER = "/portfolio/DU1234567/meta", "/iserver/account/orders", "/portfolio/DU1234567/ledger"
ORDER = Placed()


def head(path: str, *lines: str, key: str = KEY) -> bytes:
    """The bytes of a request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"X-Bridge-Key: {key}", *lines, "", ""]).encode()


class Caller:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, *pieces: bytes) -> None:
        """Say something, in one piece."""
        self._writer.write(b"".join(pieces))

    async def hear(self) -> tuple[bytes, dict[str, str], bytes]:
        """One reply: status line, headers, body."""
        raw = await within(self._reader.readuntil(b"\r\n\r\n"))
        first, *lines = raw.decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        return first.encode(), headers, await within(self._reader.readexactly(int(headers["Content-Length"])))

    async def ask(self, *pieces: bytes) -> tuple[bytes, dict[str, str], bytes]:
        """Both."""
        self.send(*pieces)
        return await self.hear()


@asynccontextmanager
async def calling(harness: Harness) -> AsyncIterator[Caller]:
    """Somebody who keeps their connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def harness(sim: Simulator, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge that remembers, with two keys."""
    settings = settings_for(sim.url, tmp_path / "state", IBKR_BRIDGE_READONLY_KEY=READING)
    async with Harness(settings, options=ProfileOptions(UNLIMITED.limits)) as opened:
        await opened.wait_until(SessionState.READY)
        yield opened


CHANGING = {"Date", "X-Request-ID", "Age", "Server-Timing"}


async def test_the_same_bytes_get_the_same_reply_in_the_same_words(harness: Harness) -> None:
    """No header more or less; each has its own name in the log."""
    async with calling(harness) as caller:
        replies = [await caller.ask(head(META)) for _ in range(4)]
    async with calling(harness) as another:
        replies.append(await another.ask(head(META)))

    first, (_, again, _) = replies[0], replies[-1]
    assert {status for status, _, _ in replies} == {b"HTTP/1.1 200 OK"}
    assert {body for _, _, body in replies} == {first[2]}
    assert set(again) == set(first[1]) | {"Age"}
    kept = set(again) - CHANGING - {"X-Bridge-Source"}
    assert {name: again[name] for name in kept} == {name: first[1][name] for name in kept}
    assert (again["X-Bridge-Source"], again["Age"], again["Keep-Alive"]) == ("cache", "0", "timeout=70")
    served = [event for event in harness.events_seen if isinstance(event, RequestServed)]
    assert {event.request_id for event in served} == {headers["X-Request-ID"] for _, headers, _ in replies}
    assert {(event.key, event.route, event.status) for event in served} == {
        ("full", "/portfolio/{accountId}/meta", 200)
    }


async def test_a_key_that_was_taken_away_opens_nothing(harness: Harness, sim: Simulator, tmp_path: Path) -> None:
    """Keys are replaced while connections stay."""
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(META))
        harness.bridge.keys.replace(
            settings_for(sim.url, tmp_path, IBKR_BRIDGE_KEY="another-key-0123456789-0123456789-ab")
        )

        status, _, _ = await caller.ask(head(META))

    assert status == b"HTTP/1.1 401 Unauthorized"


async def test_each_key_is_told_under_its_own_name(harness: Harness) -> None:
    """And both may read."""
    async with calling(harness) as caller:
        for key in (KEY, READING, KEY, READING):
            await caller.ask(head(META, key=key))
        wrong, _, _ = await caller.ask(head(META, key="x" * 40))

    served = [event.key for event in harness.events_seen if isinstance(event, RequestServed)]
    assert (served, wrong) == (["full", "read-only", "full", "read-only", "none"], b"HTTP/1.1 401 Unauthorized")


async def test_a_lost_session_is_not_glossed_over(harness: Harness, sim: Simulator) -> None:
    """What was known of it is not told any more."""
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(META))
        sim.log_out()
        await harness.post("/gateway/reconnect")

        status, _, _ = await caller.ask(head(META))

    assert status == b"HTTP/1.1 503 Service Unavailable"


async def test_even_what_is_remembered_for_hours_is_not_told_while_nobody_is_signed_in(
    harness: Harness, sim: Simulator
) -> None:
    """The spot knows what the road knows."""
    pairs = head("/iserver/currency/pairs?currency=USD")
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(pairs)
        sim.log_out()
        await harness.post("/gateway/reconnect")

        status, _, _ = await caller.ask(pairs)

    assert status == b"HTTP/1.1 503 Service Unavailable"


async def test_a_header_that_is_none_does_not_end_the_connection(harness: Harness, sim: Simulator) -> None:
    """What the Gateway sends beyond ASCII stays there."""
    sim.faults.add("status", path=META, times=1, status=200, body='{"a":1}', headers={"Content-Type": "a; x=\xff"})
    async with calling(harness) as caller:
        replies = [await caller.ask(head(META)) for _ in range(3)]

    assert [status for status, _, _ in replies] == [b"HTTP/1.1 200 OK"] * 3


async def test_an_order_makes_the_answer_another_one(harness: Harness) -> None:
    """It is asked for anew, and from then on that one is told."""
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(LEDGER))
        await harness.post(ORDER.target, ORDER.body)

        sources = [(await caller.ask(head(LEDGER)))[1]["X-Bridge-Source"] for _ in range(2)]

    assert sources == ["gateway", "cache"]


async def test_a_bridge_that_ends_says_so(harness: Harness) -> None:
    """On the connections it has."""
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(META))
        harness.bridge.drain.begin()

        status, headers, _ = await caller.ask(head(META))

    assert (status, headers["Connection"]) == (b"HTTP/1.1 503 Service Unavailable", "close")


async def test_half_a_head_before_the_known_bytes_is_a_part_of_what_follows(harness: Harness) -> None:
    """The parser has it; whatever comes then belongs to it, and nobody else's request is answered in its place."""
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(META))
        caller.send(head(META), b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Begun: ")
        await caller.hear()

        status, _, body = await caller.ask(head(META))

    assert status.endswith(b"400 Bad Request")  # a Host among its headers, and another one
    assert b"DU1234567" not in body


async def test_known_bytes_in_pieces_or_in_a_row_are_as_good_as_ever(harness: Harness) -> None:
    """TCP has no messages."""
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(META))
        caller.send(head(META), head(META))
        row = [await caller.hear() for _ in range(2)]
        caller.send(head(META)[:30])
        await harness.get("/health")
        pieces = await caller.ask(head(META)[30:])

    assert [status for status, _, _ in [*row, pieces]] == [b"HTTP/1.1 200 OK"] * 3


async def test_two_requests_in_one_segment_are_not_learned_as_one(harness: Harness) -> None:
    """Else one of them would be forgotten when they come again."""
    both = head(META) + head(LEDGER)
    async with calling(harness) as caller:
        for _ in range(3):
            caller.send(both)
            bodies = [(await caller.hear())[2] for _ in range(2)]
            assert b"DU1234567" in bodies[0]
            assert b"BASE" in bodies[1]


async def test_a_body_before_leaves_the_connection_to_the_parser(harness: Harness) -> None:
    """Where it ends the parser knows; here nobody guesses."""
    search = b'{"symbol":"AAPL"}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(search)}")
    post = head("/iserver/secdef/search", *lines).replace(b"GET", b"POST", 1)
    async with calling(harness) as caller:
        for _ in range(2):
            await caller.ask(head(META))
        await caller.ask(post, search)
        for _ in range(2):
            assert (await caller.ask(head(META)))[0] == b"HTTP/1.1 200 OK"


async def test_who_does_not_read_is_not_written_to_for_ever(harness: Harness) -> None:
    """Our memory is not theirs to fill."""
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port, limit=1024)
    caller = Caller(reader, writer)
    for _ in range(2):
        await caller.ask(head(META))
    (connection,) = [
        connection for connection in harness.bridge._connection_limiter.connections if connection.transport is not None
    ]
    connection.pause_writing()
    before = len([event for event in harness.events_seen if isinstance(event, RequestServed)])

    caller.send(head(META))
    await harness.get("/health")
    writer.transport.abort()

    served = [event for event in harness.events_seen if isinstance(event, RequestServed)]
    assert len(served) - before <= 2  # its own one, which waits until it is read, and the look at our health


async def test_a_kept_connection_rests_as_long_as_ever(harness: Harness) -> None:
    """Each reply on the spot begins its rest anew."""
    async with calling(harness) as caller:
        await caller.ask(head(META))
        (connection,) = harness.bridge._connection_limiter.connections
        connection._next_keepalive_close_time = 0.0

        await caller.ask(head(META))

        assert connection._next_keepalive_close_time > asyncio.get_running_loop().time() + 70


async def test_what_the_parser_refuses_is_refused_each_time(harness: Harness) -> None:
    """Nothing is learned of it."""
    async with calling(harness) as caller:
        caller.send(head(META, "content-length : 3"))
        refused = await within(caller._reader.read())

    assert re.match(rb"HTTP/1.[01] 400", refused)
