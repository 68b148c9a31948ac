"""Server-Sent Events: the parameters, and how a stream begins and ends."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge import events
from ibkr_bridge.api.stream_sse import DEFAULT_FIELDS
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import MAX_FIELDS
from tests.harness import KEY, Harness, with_timeout
from tests.stream_clients import open_sse

AAPL, IBM = 265598, 8314


async def with_feed(harness: Harness) -> Harness:
    """The harness once its feed is up."""
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
async def test_wrong_contracts_and_fields_are_refused(harness: Harness, query: str) -> None:
    """Before the stream begins, since a stream could not report it."""
    reply = await harness.get(f"/stream/quotes{query}")

    assert (reply.status, reply.code) == (400, "bad_request")


async def test_a_contract_may_be_named_twice(harness: Harness, sim: Simulator) -> None:
    """IBKR gets one subscription for each contract."""
    async with open_sse(
        await with_feed(harness), f"/stream/quotes?conids={AAPL},{AAPL}&conids={IBM}&fields=31"
    ) as quotes:
        await sim.market.stream.wait_for_message(f'smd+{IBM}+{{"fields":["31"]}}')
        event = await quotes.receive()

    subscriptions = [text for text in sim.market.stream.received if text.startswith("smd")]
    assert event.data["conid"] in (AAPL, IBM)
    assert sorted(subscriptions) == sorted(f'smd+{conid}+{{"fields":["31"]}}' for conid in (AAPL, IBM))


async def test_without_fields_the_default_ones_are_requested(harness: Harness, sim: Simulator) -> None:
    """Last price, bid and ask with their sizes."""
    async with open_sse(await with_feed(harness), f"/stream/quotes?conids={AAPL}"):
        fields = ",".join(f'"{field}"' for field in DEFAULT_FIELDS)
        await with_timeout(sim.market.stream.wait_for_message(f'smd+{AAPL}+{{"fields":[{fields}]}}'))


async def test_a_stream_of_the_session_has_the_state_and_each_change(harness: Harness, sim: Simulator) -> None:
    """A page can show the state at once."""
    async with open_sse(await with_feed(harness), "/stream/session") as session:
        first = await session.receive()
        sim.log_out()
        await harness.wait_until_checked(SessionState.SIGNED_OUT)
        later = await session.receive_until(lambda event: "signed_out" in str(event.data))

    assert "ready" in str(first.data)
    assert later[-1].id != first.id


async def test_an_older_client_gets_a_stream_without_chunks(harness: Harness) -> None:
    """HTTP/1.0 has no chunks; the end of the connection is the end of the stream."""
    await with_feed(harness)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(f"GET /stream/session HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Bridge-Key: {KEY}\r\n\r\n".encode())

    head = await with_timeout(reader.readuntil(b"\r\n\r\n"))
    body = await with_timeout(reader.readuntil(b"data: "))
    writer.close()

    assert b"chunked" not in head.lower()
    assert b"keep-alive" not in head.lower()
    assert body.startswith(b"retry: 3000\n\n")


async def test_a_stopping_bridge_says_why_the_stream_ends(harness: Harness) -> None:
    """A browser reconnects by itself; its page can show the reason meanwhile."""
    async with open_sse(await with_feed(harness), "/stream/session") as session:
        await session.receive()
        ending = asyncio.create_task(harness.finish())
        last = await session.receive("end")
        with pytest.raises(EOFError):
            await session.receive()
        await with_timeout(ending)

    assert last.data == {"reason": "shutting_down"}
    (closed,) = await harness.wait_for_events(events.StreamClosed)
    assert isinstance(closed, events.StreamClosed)
    assert (closed.route, closed.reason) == ("/stream/session", "shutting_down")


async def test_a_client_that_disconnects_is_removed(harness: Harness, sim: Simulator) -> None:
    """Its request ends, so the drain does not wait for it."""
    await with_feed(harness)
    async with open_sse(harness, f"/stream/quotes?conids={AAPL}&fields=31") as quotes:
        await quotes.receive()
        assert harness.bridge.drain.in_flight == 1

    async with asyncio.timeout(10):
        while harness.bridge.drain.in_flight:
            await asyncio.sleep(0)
