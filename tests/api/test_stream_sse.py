"""Server-Sent Events: what may be asked for, and how a stream begins and ends."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge import events
from ibkr_bridge.api.stream_sse import DEFAULT_FIELDS
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import MAX_FIELDS
from tests.harness import KEY, Harness, within
from tests.stream_clients import stream

AAPL, IBM = 265598, 8314


async def up(harness: Harness) -> Harness:
    """A harness whose stream is fresh."""
    await harness.wait_for_events(events.FeedUp)
    return harness


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?conids=",
        "?conids=,,",
        "?conids=AAPL",
        "?conids=265598;8314",
        "?conids=-1",
        "?conids=265598&fields=last",
        "?conids=265598&fields=31,-84",
        "?conids=" + ",".join(str(number) for number in range(1, MAX_MARKET_DATA_LINES + 2)),
        "?conids=265598&fields=" + ",".join(["31"] * (MAX_FIELDS + 1)),
    ],
)
async def test_what_is_no_list_of_contracts_and_fields_is_refused(harness: Harness, query: str) -> None:
    """Before a stream has begun: in the middle of one nothing could be said."""
    reply = await harness.get(f"/stream/quotes{query}")

    assert (reply.status, reply.code) == (400, "bad_request")


async def test_lists_may_be_repeated_and_hold_the_same_twice(harness: Harness, sim: Simulator) -> None:
    """IBKR is asked once for each contract."""
    async with stream(await up(harness), f"/stream/quotes?conids={AAPL},{AAPL}&conids={IBM}&fields=31") as quotes:
        await sim.market.stream.has_heard(f'smd+{IBM}+{{"fields":["31"]}}')
        told = await quotes.next()

    asked = [text for text in sim.market.stream.heard if text.startswith("smd")]
    assert told.data["conid"] in (AAPL, IBM)
    assert sorted(asked) == sorted(f'smd+{conid}+{{"fields":["31"]}}' for conid in (AAPL, IBM))


async def test_without_fields_the_usual_ones_are_asked_for(harness: Harness, sim: Simulator) -> None:
    """Last price, bid and ask with their sizes are what most pages show."""
    async with stream(await up(harness), f"/stream/quotes?conids={AAPL}"):
        fields = ",".join(f'"{field}"' for field in DEFAULT_FIELDS)
        await within(sim.market.stream.has_heard(f'smd+{AAPL}+{{"fields":[{fields}]}}'))


async def test_a_stream_of_the_session_begins_with_the_state_and_tells_each_change(
    harness: Harness, sim: Simulator
) -> None:
    """A page can show at once how it is."""
    async with stream(await up(harness), "/stream/session") as session:
        first = await session.next()
        sim.log_out()
        await harness.wait_until(SessionState.SIGNED_OUT)
        later = await session.until(lambda told: "signed_out" in str(told.data))

    assert "ready" in str(first.data)
    assert later[-1].number != first.number


async def test_an_older_client_gets_a_stream_without_chunks(harness: Harness) -> None:
    """HTTP/1.0 knows none: the end of the connection is the end of the stream."""
    await up(harness)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"GET /stream/session HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n".encode())

    head = await within(reader.readuntil(b"\r\n\r\n"))
    body = await within(reader.readuntil(b"data: "))
    writer.close()

    assert b"chunked" not in head.lower()
    assert b"keep-alive" not in head.lower()
    assert body.startswith(b"retry: 3000\n\n")


async def test_an_ending_bridge_says_why_the_stream_ends(harness: Harness) -> None:
    """A browser connects again by itself, and its page may say what is going on meanwhile."""
    async with stream(await up(harness), "/stream/session") as session:
        await session.next()
        ending = asyncio.create_task(harness.finish())
        last = await session.next("end")
        with pytest.raises(EOFError):
            await session.next()
        await within(ending)

    assert last.data == {"reason": "shutting_down"}
    (closed,) = await harness.wait_for_events(events.StreamClosed)
    assert isinstance(closed, events.StreamClosed)
    assert (closed.route, closed.reason) == ("/stream/session", "shutting_down")


async def test_who_leaves_is_forgotten(harness: Harness, sim: Simulator) -> None:
    """IBKR is told when nobody wants a contract any more."""
    await up(harness)
    async with stream(harness, f"/stream/quotes?conids={AAPL}&fields=31") as quotes:
        await quotes.next()
        assert harness.bridge.drain.in_flight == 1

    async with asyncio.timeout(10):
        while harness.bridge.drain.in_flight:
            await asyncio.sleep(0)
