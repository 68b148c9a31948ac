"""Quotes, `smd`: complete first, then changes; ended by time, by a command, by a call, or by too many lines."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from ibkr_bridge.sim import FastClock, Simulator
from ibkr_bridge.sim.market.feeds.quotes import EMPTY_UPDATE_EVERY, QUOTE_TTL_S
from ibkr_bridge.sim.market.instruments import SMALL_COMPANIES
from ibkr_bridge.sim.market.lines import MAX_LINES, MarketDataLines
from ibkr_bridge.sim.market.quote_calls import COMPUTED_DELAY_S, FIRST_PRICE_DELAY_S
from ibkr_bridge.sim.market.stream import QUOTE_INTERVAL_S, Stream
from tests.clocks import ManualClock
from tests.contract.sockets import Socket
from tests.sim.market.conftest import Listen
from tests.sim.market.stream_client import AAPL, ES, IBM, StreamClient
from tests.sim.wire import Wire, connect

API = "/v1/api/iserver"
ALWAYS = {"topic", "conid", "conidEx", "_updated"}
FULL = ALWAYS | {"server_id", "6119", "6509"}


def smd(target: str, *fields: str) -> str:
    """The command that opens a quote."""
    return f"smd+{target}+{json.dumps({'fields': fields or ('31', '84', '86')})}"


async def receive_while_time_passes(
    client: StreamClient, clock: ManualClock, seconds: float, every: float = QUOTE_INTERVAL_S
) -> list[dict[str, object]]:
    """The messages that are sent while time moves by so many seconds, without heartbeats."""
    messages = []
    for _ in range(round(seconds / every)):
        clock.advance(every)
        messages += await client.receive_pending()
    return [message for message in messages if "hb" not in message]


async def lived(wire: Wire, clock: ManualClock, seconds: float) -> None:
    """Let time pass while the login is kept alive."""
    while seconds > 0:
        step = min(seconds, 300.0)
        clock.advance(step)
        await wire.call("GET", "/v1/api/tickle")
        seconds -= step


@pytest.mark.parametrize("target", [AAPL, f"{AAPL}@ARCA"])
async def test_the_first_message_is_complete(client: StreamClient, target: str) -> None:
    """Its topic is the request's name; fields that do not exist are left out."""
    message = await client.request(smd(target, "31", "55", "84", "99999"))

    assert set(message) == FULL | {"31", "55", "84"}
    assert (message["topic"], message["conid"], message["conidEx"]) == (f"smd+{target}", int(AAPL), target)
    assert re.fullmatch(r"\d+\.\d\d", message["31"])


async def test_later_messages_have_the_changed_fields(client: StreamClient, clock: ManualClock) -> None:
    """They have no other fields, and each has another price than before."""
    fields = await client.request(smd(AAPL, "31", "55", "7741"))

    updates = await receive_while_time_passes(client, clock, 5)

    assert len(updates) > 5
    for update in updates:
        assert set(update) == ALWAYS | {"31"}
        assert update["31"] != fields["31"]
        fields |= update


async def test_computed_fields_come_later(client: StreamClient, clock: ManualClock) -> None:
    """Snapshots behave the same way."""
    first = await client.request(smd(AAPL, "7283"))

    updates = await receive_while_time_passes(client, clock, COMPUTED_DELAY_S + QUOTE_INTERVAL_S)

    assert "7283" not in first
    assert [set(update) for update in updates] == [ALWAYS | {"7283"}]


async def test_some_updates_are_empty(client: StreamClient, clock: ManualClock) -> None:
    """Such an update does not even name the contract."""
    await client.request(smd(AAPL))

    updates = await receive_while_time_passes(client, clock, EMPTY_UPDATE_EVERY * QUOTE_INTERVAL_S)

    assert [set(each) for each in updates if "conid" not in each] == [{"topic", "_updated"}]


async def test_a_quote_ends_after_fifteen_minutes_without_a_message(
    client: StreamClient, stream: Stream, clock: ManualClock, wire: Wire
) -> None:
    """Other feeds go on."""
    await client.request(smd(AAPL))
    await lived(wire, clock, QUOTE_TTL_S - 1)
    await client.receive_pending()
    await client.request(smd(IBM))
    await client.receive_pending()

    clock.advance(1)

    assert {message["topic"] for message in await receive_while_time_passes(client, clock, 5)} == {f"smd+{IBM}"}
    assert stream.subscriptions == [f"smd+{IBM}"]


async def test_a_repeated_request_replaces_the_quote_and_prolongs_it(
    client: StreamClient, stream: Stream, clock: ManualClock, wire: Wire
) -> None:
    """It is streamed once, with the fields of the last request."""
    await client.request(smd(AAPL, "31"))
    await lived(wire, clock, QUOTE_TTL_S - 1)
    await client.receive_pending()
    again = await client.request(smd(AAPL, "31", "84"))
    await lived(wire, clock, QUOTE_TTL_S - 10)
    await client.receive_pending()

    assert set(again) == FULL | {"31", "84"}
    assert stream.subscriptions == [f"smd+{AAPL}"]
    assert await receive_while_time_passes(client, clock, 6 * QUOTE_INTERVAL_S)


async def test_an_ended_quote_is_silent(client: StreamClient, clock: ManualClock) -> None:
    """It ends at once, without a response."""
    await client.request(smd(AAPL))
    client.send(f"umd+{AAPL}+{{}}")
    await client.receive_pending()

    assert await receive_while_time_passes(client, clock, 5) == []


async def test_a_quote_needs_one_of_a_hundred_lines(client: StreamClient, wire: Wire) -> None:
    """Snapshots count too. A quote beyond the limit gets no response until a line is released."""
    conids = ",".join(str(conid) for conid in SMALL_COMPANIES[:40])
    await wire.call("GET", f"{API}/marketdata/snapshot?conids={conids}&fields=31")
    client.send(*(smd(str(conid)) for conid in SMALL_COMPANIES[:MAX_LINES]))
    assert len(await client.receive_pending()) == MAX_LINES

    client.send(smd(AAPL))
    nothing = await client.receive_pending()
    client.send(f"umd+{SMALL_COMPANIES[0]}+{{}}", smd(AAPL))

    assert nothing == []
    assert [message["topic"] for message in await client.receive_pending()] == [f"smd+{AAPL}"]


async def test_lines_outlive_their_socket(listen: Listen, stream: Stream, clock: ManualClock, wire: Wire) -> None:
    """They stay open until their time is over. A new request for the same contracts finds them open."""
    first = await listen()
    first.send(*(smd(str(conid)) for conid in SMALL_COMPANIES[:MAX_LINES]))
    await first.receive_pending()
    first.socket.wire.abort()
    await stream.wait_for_sockets(0)
    client = await listen()

    client.send(smd(AAPL), smd(str(SMALL_COMPANIES[0])))
    message = await client.receive_pending()
    await lived(wire, clock, QUOTE_TTL_S)
    client.send(smd(AAPL))

    assert [message["topic"] for message in message] == [f"smd+{SMALL_COMPANIES[0]}"]
    assert f"smd+{AAPL}" in [message["topic"] for message in await client.receive_pending()]


async def test_a_line_that_only_a_call_opened_is_released_too(client: StreamClient, wire: Wire) -> None:
    """The command that ends a quote releases it."""
    path = f"{API}/marketdata/unsubscribe"
    await wire.call("GET", f"{API}/marketdata/snapshot?conids={AAPL}&fields=31")

    client.send(f"umd+{AAPL}+{{}}")
    await client.receive_pending()

    assert (await wire.call("POST", path, {"conid": int(AAPL)})).json() == {"error": "unknown"}


async def test_a_line_that_two_sockets_stream_stays(listen: Listen, stream: Stream, clock: ManualClock) -> None:
    """It stays open when one of them ends the quote."""
    one, other = await listen(), await listen()
    await one.request(smd(AAPL))
    await other.request(smd(AAPL))

    one.send(f"umd+{AAPL}+{{}}")
    await one.receive_pending()

    assert await receive_while_time_passes(one, clock, 2) == []
    assert stream.subscriptions == [f"smd+{AAPL}"]
    assert len(await other.receive_pending()) > 2


@pytest.mark.parametrize(
    ("method", "path", "left"), [("POST", "unsubscribe", [f"smd+{IBM}"]), ("GET", "unsubscribeall", [])]
)
async def test_calls_close_quotes_too(
    listen: Listen, stream: Stream, wire: Wire, clock: ManualClock, method: str, path: str, left: list[str]
) -> None:
    """They end on every socket without a message. A snapshot right afterwards does not bring them back."""
    one, other = await listen(), await listen()
    for client in (one, other):
        await client.request(smd(AAPL))
    await other.request(smd(IBM))

    await wire.call(method, f"{API}/marketdata/{path}", {"conid": int(AAPL)} if method == "POST" else None)
    await wire.call("GET", f"{API}/marketdata/snapshot?conids={AAPL}&fields=31")

    assert stream.subscriptions == left
    assert await receive_while_time_passes(one, clock, 2) == []
    assert {message["topic"] for message in await other.receive_pending()} <= set(left)


async def test_a_derivative_is_not_quoted_before_it_was_searched_for(client: StreamClient, wire: Wire) -> None:
    """Each session needs a new search."""
    client.send(smd(ES))
    before = await client.receive_pending()
    await wire.call("GET", f"{API}/secdef/search?symbol=ES")

    assert before == []
    assert (await client.request(smd(ES)))["conid"] == int(ES)


async def test_a_snapshot_finds_a_streamed_line_filled(client: StreamClient, wire: Wire, clock: ManualClock) -> None:
    """Snapshot and stream use the same line."""
    await client.request(smd(AAPL))
    clock.advance(2 * FIRST_PRICE_DELAY_S)

    [row] = (await wire.call("GET", f"{API}/marketdata/snapshot?conids={AAPL}&fields=31")).json()

    assert "31" in row


def test_lines_of_snapshots_have_no_end() -> None:
    """Lines of the stream have an end, which a request can only move to a later time."""
    lines = MarketDataLines()
    lines.open_line(1, 0.0)
    lines.open_line(2, 0.0, 10.0)
    lines.open_line(2, 1.0, 5.0)

    lines.open_line(3, 9.0)
    assert 2 in lines
    lines.open_line(3, 10.0)

    assert (1 in lines, 2 in lines) == (True, False)
    assert (lines.close_line(1), lines.close_line(1)) == (True, False)


@pytest.fixture
async def quick() -> AsyncIterator[tuple[Simulator, StreamClient]]:
    """A simulator in real time, with ten quotes."""
    async with Simulator(clock=FastClock(), quote_interval_s=60) as sim:
        client = await StreamClient(Socket(await connect(sim))).open()
        client.send(*(smd(str(conid)) for conid in SMALL_COMPANIES[:10]))
        await client.receive_pending()
        yield sim, client
        client.socket.wire.abort()


async def test_each_quote_has_its_interval(clock: ManualClock) -> None:
    """The interval is in seconds of the simulator's clock."""
    async with Simulator(clock=clock, quote_interval_s=7) as sim:
        client = await StreamClient(Socket(await connect(sim))).open()
        await client.request(smd(AAPL))

        updates = [len(await receive_while_time_passes(client, clock, 7, 3.5)) for _ in range(3)]
        client.socket.wire.abort()

    assert updates == [1, 1, 1]


async def test_a_rate_is_kept_over_all_quotes(clock: ManualClock) -> None:
    """Twenty messages a second over four quotes are five for each, and each has another price."""
    async with Simulator(clock=clock) as sim:
        sim.market.stream.rate = 20
        client = await StreamClient(Socket(await connect(sim))).open()
        client.send(*(smd(str(conid)) for conid in SMALL_COMPANIES[:4]))
        await client.receive_pending()
        await receive_while_time_passes(client, clock, 0.5, 0.05)  # until all have found their place
        updates = await receive_while_time_passes(client, clock, 2, 0.05)
        client.socket.wire.abort()

    prices = [update["31"] for update in updates if update["conid"] == SMALL_COMPANIES[0]]
    assert (len(updates), len(prices)) == (40, 10)
    assert all(one != other for one, other in pairwise(prices))
    assert all(set(update) == ALWAYS | {"31", "84", "86"} for update in updates)


async def test_a_rate_is_kept_in_real_time(quick: tuple[Simulator, StreamClient]) -> None:
    """A thousand messages arrive within a few seconds."""
    sim, client = quick
    sim.market.stream.rate = 1000
    client.send(*(smd(str(conid)) for conid in SMALL_COMPANIES[:10]))

    times = [(await client.receive())["_updated"] for _ in range(1000)]

    assert 0 < times[-1] - times[0] < 5000
