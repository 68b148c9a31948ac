"""IBKR's end of the websocket: greetings, heartbeats, the brokerage session, and faults."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest, parse_request
from ibkr_bridge.sim.market.stream import HEARTBEAT_INTERVAL_S, Stream
from tests.clocks import ManualClock
from tests.contract.sockets import BINARY, CLOSE, Socket
from tests.sim.conftest import Dial
from tests.sim.market.conftest import Listen
from tests.sim.market.stream_client import AAPL, ECHO, IBM, StreamClient
from tests.sim.wire import Wire, connect

LOST = {"topic": "sts", "args": {"authenticated": False}}
STANDS = {"topic": "sts", "args": {"authenticated": True}}
INIT, OPEN = "/v1/api/iserver/auth/ssodh/init", {"publish": True, "compete": True}
ASKED = [
    f"smd+{AAPL}+{{}}",
    f"smh+{AAPL}+{{}}",
    f"sbd+DU1234567+{AAPL}",
    "sor+{}",
    "str+{}",
    "spl+{}",
    "ssd+DU1234567+{}",
    "sld+DU1234567+{}",
]
NAMES = [text.partition("+{")[0] for text in ASKED]


def messages_of(messages: list[dict[str, Any]], topic: str) -> list[Any]:
    """The `args` of the messages of a topic."""
    return [message["args"] for message in messages if message.get("topic") == topic]


@pytest.mark.parametrize(
    ("text", "feed_request"),
    [
        ('smd+1@ARCA+{"fields":["31"]}', FeedRequest("smd", "1@ARCA", {"fields": ["31"]})),
        ("sbd+DU1+2+ISLAND", FeedRequest("sbd", "DU1+2+ISLAND", {})),
        ('sld+DU1+{"keys":["A+{B}"]}', FeedRequest("sld", "DU1", {"keys": ["A+{B}"]})),
        ("utr", FeedRequest("utr", "", {})),
        ("sor+{}", FeedRequest("sor", "", {})),
        ("sor+{", None),
        ("", FeedRequest("", "", {})),
    ],
)
def test_a_request_has_a_topic_a_target_and_json(text: str, feed_request: FeedRequest | None) -> None:
    """Target and JSON may be left out."""
    assert parse_request(text) == feed_request


async def test_a_socket_is_greeted_with_user_accounts_and_session(client: StreamClient) -> None:
    """They come in this order; each member of the session's status has a message of its own."""
    [accounts] = messages_of(client.greeting, "act")
    session = {key: value for args in messages_of(client.greeting, "sts") for key, value in args.items()}

    assert client.greeting[0] == {"topic": "system", "success": "simulated"}
    assert (accounts["accounts"], accounts["selectedAccount"]) == (["DU1234567", "DU7654321"], "DU1234567")
    assert accounts["isPaper"] is True
    assert (session["authenticated"], session["competing"], session["message"]) == (True, False, "")
    assert all(len(args) == 1 for args in messages_of(client.greeting, "sts"))


async def test_without_a_brokerage_session_there_are_no_accounts(sim: Simulator, listen: Listen) -> None:
    """And the greeting says that nobody is authenticated."""
    sim.lose_brokerage()

    client = await listen()

    assert messages_of(client.greeting, "act") == []
    assert {"authenticated": False} in messages_of(client.greeting, "sts")


async def test_without_a_login_ibkr_waits(clock: ManualClock) -> None:
    """A later login changes nothing: the socket gets no more messages, and its requests are ignored."""
    async with Simulator(clock=clock, logged_in=False) as sim:
        socket = Socket(await connect(sim))
        await socket.open()
        first = json.loads(await socket.receive_payload(BINARY))
        sim.log_in()
        client = StreamClient(socket)
        client.send("sor+{}")

        messages = await client.receive_pending()
        socket.wire.abort()

    assert (first, messages) == ({"message": "waiting for session"}, [])


async def test_a_heartbeat_comes_every_ten_seconds(client: StreamClient, clock: ManualClock) -> None:
    """It has the time of day."""
    beats = []
    for _ in range(3):
        clock.advance(HEARTBEAT_INTERVAL_S)
        beats.append(await client.receive())

    assert {beat["topic"] for beat in beats} == {"system"}
    assert {later["hb"] - sooner["hb"] for sooner, later in pairwise(beats)} == {10_000}


async def test_tic_is_acknowledged_and_the_echo_comes_unchanged(client: StreamClient, stream: Stream) -> None:
    """The echo is not JSON."""
    tic = await client.request("tic")
    client.send(ECHO)

    assert (tic["topic"], tic["alive"]) == ("tic", True)
    assert tic["lastAccessed"] > 0
    assert await client.socket.receive_payload(BINARY) == ECHO.encode()


@pytest.mark.parametrize("text", ["nonsense", "xyz+1+{}", "smd+{}", "smd+x+{}", "smd+1+{", "sor+{", "ssd+DU9+{}", "+"])
async def test_ibkr_ignores_requests_that_it_does_not_understand(
    client: StreamClient, stream: Stream, text: str
) -> None:
    """There is no response."""
    client.send(text)

    assert await client.receive_pending() == []
    assert stream.subscriptions == []


async def test_subscriptions_can_be_read_and_waited_for(listen: Listen, stream: Stream) -> None:
    """They are those of all sockets."""
    first, second = await listen(), await listen()
    first.send(*ASKED)
    second.send("sor+{}")
    await asyncio.wait_for(stream.wait_for_subscriptions(*NAMES, "sor"), 5)

    first.socket.wire.abort()

    await asyncio.wait_for(stream.wait_for_subscriptions("sor"), 5)
    second.send("uor+{}")
    await asyncio.wait_for(stream.wait_until(lambda: not stream.subscriptions), 5)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("usd+DU1234567+{}", {"result": "unsubscribed from summary"}),
        ("uld+DU1234567+{}", {"result": "unsubscribed from ledger"}),
        ("umh+20478", {"message": "Unsubscribed 20478"}),
        (f"umd+{AAPL}+{{}}", None),
        ("ubd+DU1234567", None),
        ("uor+{}", None),
        ("utr", None),
        ("upl+{}", None),
    ],
)
async def test_each_command_that_starts_a_feed_has_one_that_ends_it(
    client: StreamClient, stream: Stream, text: str, answer: dict[str, str] | None
) -> None:
    """Most of the ending commands get no response."""
    client.send(*ASKED)
    await client.receive_pending()

    client.send(text)

    assert await client.receive_pending() == ([answer] if answer else [])
    assert stream.subscriptions == sorted(name for name in NAMES if name[1:3] != text[1:3])


async def test_a_lost_session_is_reported_at_once_and_ends_all_feeds(
    sim: Simulator, client: StreamClient, stream: Stream, clock: ManualClock, wire: Wire
) -> None:
    """A new session does not bring them back: they must be requested again. Heartbeats go on."""
    client.send(*ASKED)
    await client.receive_pending()

    sim.lose_brokerage()
    lost = await client.receive_pending()
    clock.advance(HEARTBEAT_INTERVAL_S)
    [beat] = await client.receive_pending()
    await wire.call("POST", INIT, OPEN)
    before = await client.receive_pending()
    clock.advance(0.2)
    back = await client.receive_pending()
    for _ in range(5):
        clock.advance(1)

    assert (lost, stream.subscriptions, before) == ([LOST], [], [])
    assert "hb" in beat
    assert back[0] == STANDS
    assert [message["topic"] for message in back[1:]] == ["sts", "act"]
    assert await client.receive_pending() == []
    assert (await client.request("sor+{}"))["topic"] == "sor"


async def test_a_competing_program_is_reported(
    sim: Simulator, client: StreamClient, wire: Wire, clock: ManualClock
) -> None:
    """The loss of the session is reported too."""
    sim.start_competing()
    lost = await client.receive_pending()
    await wire.call("POST", INIT, OPEN)
    clock.advance(0.2)

    assert lost == [LOST, {"topic": "sts", "args": {"competing": True}}]
    assert (await client.receive_pending())[:2] == [STANDS, {"topic": "sts", "args": {"competing": False}}]


async def test_the_end_of_the_login_is_reported_as_a_lost_session(sim: Simulator, client: StreamClient) -> None:
    """The socket stays open."""
    sim.log_out()

    assert await client.receive_pending() == [LOST]


async def test_without_the_session_no_feed_starts(
    sim: Simulator, client: StreamClient, stream: Stream, wire: Wire, clock: ManualClock
) -> None:
    """A request is not served while the session is being opened, nor afterwards."""
    sim.lose_brokerage()
    client.send(*ASKED, "usd+DU1234567+{}")
    await wire.call("POST", INIT, OPEN)
    client.send(*ASKED)
    await client.receive_pending()
    clock.advance(0.2)

    assert [message["topic"] for message in await client.receive_pending()] == ["sts", "sts", "act"]
    assert stream.subscriptions == []


async def test_every_socket_is_told_of_a_new_session(sim: Simulator, listen: Listen) -> None:
    """The messages come on all sockets."""
    clients = [await listen() for _ in range(3)]

    sim.lose_brokerage()

    assert [await client.receive_pending() for client in clients] == [[LOST]] * 3


async def test_a_socket_opened_while_the_session_opens_is_told_of_it(
    sim: Simulator, listen: Listen, wire: Wire, clock: ManualClock
) -> None:
    """The messages come once."""
    sim.lose_brokerage()
    await wire.call("POST", INIT, OPEN)
    client = await listen()

    clock.advance(0.2)

    assert {"authenticated": False} in messages_of(client.greeting, "sts")
    assert (await client.receive_pending()).count(STANDS) == 1


async def test_a_muted_stream_sends_nothing_until_cleared(
    sim: Simulator, client: StreamClient, stream: Stream, dial: Dial, clock: ManualClock
) -> None:
    """There are no greetings and no heartbeats, and what was left out is not sent later."""
    sim.faults.add("stream-silent")
    new = StreamClient(Socket(await dial()))
    await new.socket.open()
    await stream.wait_for_sockets(2)
    client.send(f'smd+{AAPL}+{{"fields":["31"]}}', "tic")
    await stream.wait_for_message("tic")
    clock.advance(HEARTBEAT_INTERVAL_S)
    await stream.send_to_all(ECHO)
    silent = await client.receive_until_echo() + await new.receive_until_echo()

    sim.faults.clear("stream-silent")
    clock.advance(0.5)
    [update] = await client.receive_pending()
    clock.advance(HEARTBEAT_INTERVAL_S - 0.5)

    assert silent == []
    assert update["topic"] == f"smd+{AAPL}"
    assert "6509" not in update
    assert [set(message) for message in await new.receive_pending()] == [{"topic", "hb"}]


async def test_a_cut_closes_every_socket(sim: Simulator, listen: Listen, stream: Stream) -> None:
    """New sockets can be opened."""
    clients = [await listen() for _ in range(2)]

    sim.faults.add("stream-cut")
    for client in clients:
        await client.socket.receive_payload(CLOSE)
    await sim.wait_for_events()
    await asyncio.wait_for(stream.wait_for_sockets(0), 5)

    assert (await listen()).greeting


async def test_bytes_that_are_no_text_can_be_sent(client: StreamClient, stream: Stream) -> None:
    """They arrive unchanged."""
    await stream.send_bytes_to_all(b"\xff\x00{")

    assert await client.socket.receive_payload(BINARY) == b"\xff\x00{"


async def test_a_client_that_does_not_read_delays_nobody(
    sim: Simulator, client: StreamClient, dial: Dial, stream: Stream, wire: Wire
) -> None:
    """It delays neither calls nor other sockets."""
    deaf = StreamClient(Socket(await dial()))
    await deaf.open()
    stuck = asyncio.create_task(_flood(stream))
    for _ in range(20):
        assert (await wire.call("GET", "/v1/api/iserver/auth/status")).status == 200
        await client.receive_pending()
    sim.lose_brokerage()

    assert LOST in await client.receive_pending()
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def _flood(stream: Stream) -> None:
    while True:
        await stream.sockets[-1].send_str("x" * 60_000)


async def test_nothing_is_left_running(clock: ManualClock) -> None:
    """All feeds were open."""
    async with Simulator(clock=clock) as sim:
        socket = Socket(await connect(sim))
        client = await StreamClient(socket).open()
        client.send(*ASKED, f"smd+{IBM}+{{}}")
        await client.receive_pending()
        sim.lose_brokerage()

    assert len(asyncio.all_tasks()) == 1
    socket.wire.abort()


async def test_a_silent_topic_is_never_answered_and_all_others_are(
    sim: Simulator, client: StreamClient, stream: Stream
) -> None:
    """A request that came meanwhile is lost: it is not answered when the fault has ended, only a new one is."""
    sim.faults.add("topic-silent", path="spl")
    client.send("spl+{}", "sor+{}")
    during = await client.receive_pending()

    sim.faults.clear("topic-silent")
    after = await client.receive_pending()
    again = await client.request("spl+{}")

    assert [message["topic"] for message in during] == ["sor"]
    assert (after, again["topic"]) == ([], "spl")


async def test_without_a_path_every_topic_is_silent(sim: Simulator, client: StreamClient) -> None:
    """Heartbeats go on: the socket itself looks healthy."""
    sim.faults.add("topic-silent")
    client.send(*ASKED, "tic")

    assert [message["topic"] for message in await client.receive_pending()] == ["tic"]


async def test_a_running_topic_becomes_silent(sim: Simulator, client: StreamClient, clock: ManualClock) -> None:
    """What happens meanwhile is not sent later."""
    await client.request(f'smd+{AAPL}+{{"fields":["31"]}}')
    sim.faults.add("topic-silent", path=f"smd+{AAPL}")
    clock.advance(0.5)
    silent = await client.receive_pending()
    sim.faults.clear("topic-silent")
    clock.advance(0.5)

    assert silent == []
    assert [message["topic"] for message in await client.receive_pending()] == [f"smd+{AAPL}"]
