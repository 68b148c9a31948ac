"""The feed on a manual clock: when the websocket is opened, counts as connected, is closed, and is opened again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.streaming.clock_skew import MIN_HEARTBEATS
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.upstream_feed import (
    CONNECT_TIMEOUT_S,
    RECONNECT_DELAYS_S,
    SILENCE_TIMEOUT_S,
    TIC_INTERVAL_S,
    UpstreamFeed,
)
from tests.clocks import ManualClock
from tests.harness import TEST_TIMEOUT_S
from tests.streaming.readers import RecordingEncoding, WritableSink


class FakeSocket:
    """A websocket to IBKR whose other end is the test."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def receive(self) -> bytes | None:
        """See `StreamSocket`."""
        return await self._messages.get()

    async def send(self, text: str) -> None:
        """See `StreamSocket`."""
        self.commands.append(text)

    @property
    def has_unread_messages(self) -> bool:
        """Whether the feed has not yet read all messages."""
        return not self._messages.empty()

    def send_from_ibkr(self, *messages: dict[str, Any] | bytes | None) -> None:
        """Send these messages to the feed; None ends the websocket."""
        for message in messages:
            self._messages.put_nowait(json.dumps(message).encode() if isinstance(message, dict) else message)


class FeedHarness:
    """A feed, its hub, the websockets that it opens, and the session that it checks."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        self.sockets: list[FakeSocket] = []
        self.events_seen: list[events.Event] = []
        self.requested_checks = self.awaited_checks = 0
        self.is_unreachable = False
        self.while_opening: Callable[[], None] = lambda: None
        bus = events.Bus()
        bus.subscribe(self.events_seen.append)
        self.feed = UpstreamFeed("main", self.open_socket, self.hub, self, self.clock, bus)

    @asynccontextmanager
    async def open_socket(self) -> AsyncIterator[FakeSocket]:
        """Open a websocket, or fail while `is_unreachable` is set."""
        if self.is_unreachable:
            self.sockets.append(FakeSocket())
            raise GatewayUnreachable("the Gateway does not run")
        self.while_opening()
        self.sockets.append(FakeSocket())
        yield self.sockets[-1]

    def request_check(self) -> None:
        """See `SessionChecker`."""
        self.requested_checks += 1

    async def check_now(self) -> None:
        """See `SessionChecker`."""
        self.awaited_checks += 1

    async def run_until(self, holds: Callable[[], bool]) -> None:
        """Let all tasks run until a condition holds; the clock stands still."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while not holds():
                await asyncio.sleep(0)

    async def wait_for_socket(self, number: int) -> FakeSocket:
        """Wait until so many websockets have been opened, and return the latest."""
        await self.run_until(lambda: len(self.sockets) == number)
        return self.sockets[-1]

    async def advance(self, seconds: float) -> None:
        """Move the clock from alarm to alarm, and let all tasks run after each step."""
        while seconds > 0:
            for _ in range(20):
                await asyncio.sleep(0)
            step = min(seconds, max(self.clock.next_alarm, 0.0) if self.clock._alarms else seconds)
            self.clock.advance(step)
            seconds -= step or 1e-6
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def lost(self) -> list[events.FeedLost]:
        """The published events about websockets that ended while the session was ready."""
        return [event for event in self.events_seen if isinstance(event, events.FeedLost)]


SUCCESS = {"topic": "system", "success": "somebody"}
HEARTBEAT = {"topic": "system", "hb": 1}


@pytest.fixture
async def harness() -> AsyncIterator[FeedHarness]:
    """A running feed; the session is not ready yet."""
    harness = FeedHarness()
    task = asyncio.create_task(harness.feed.run_loop())
    yield harness
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def connect(harness: FeedHarness) -> FakeSocket:
    """Make the session ready and connect the first websocket to IBKR."""
    harness.feed.on_session_change("ready", ready=True)
    socket = await harness.wait_for_socket(1)
    socket.send_from_ibkr(SUCCESS)
    await harness.run_until(lambda: harness.hub.source.is_fresh)
    return socket


async def test_nothing_is_opened_before_the_session_is_ready(harness: FeedHarness) -> None:
    """IBKR never sends anything on a websocket that is opened earlier."""
    await harness.advance(100)
    assert harness.sockets == []

    await connect(harness)


async def test_an_open_websocket_does_not_count_as_connected(harness: FeedHarness) -> None:
    """The Gateway accepts it without IBKR. If the message `success` does not come in time, another one is opened."""
    harness.feed.on_session_change("ready", ready=True)
    socket = await harness.wait_for_socket(1)
    socket.send_from_ibkr({"message": "waiting for session"}, HEARTBEAT)
    await harness.advance(CONNECT_TIMEOUT_S - 1)
    before = harness.hub.source.is_fresh, len(harness.lost)
    await harness.advance(1.5)

    assert before == (False, 0)
    assert [event.reason for event in harness.lost] == ["stream_timeout"]
    assert socket.commands == []


async def test_a_tic_is_sent_at_least_twice_a_minute(harness: FeedHarness) -> None:
    """IBKR wants one a minute. Messages of IBKR do not replace it."""
    socket = await connect(harness)
    for _ in range(12):
        socket.send_from_ibkr(HEARTBEAT)
        await harness.advance(10)

    assert 4 <= socket.commands.count("tic") <= 120 / TIC_INTERVAL_S
    assert harness.lost == []


async def test_heartbeats_show_the_difference_of_the_clocks(harness: FeedHarness) -> None:
    """Only while the websocket is open: afterwards nothing is known."""
    socket = await connect(harness)
    for _ in range(MIN_HEARTBEATS):
        behind = harness.clock.utc() - timedelta(minutes=5)
        socket.send_from_ibkr({"topic": "system", "hb": int(behind.timestamp() * 1000)})
        await harness.advance(10)
    while_open = harness.feed.clock_skew.seconds
    socket.send_from_ibkr(None)
    await harness.run_until(lambda: len(harness.lost) == 1)

    assert while_open == 300.0
    assert harness.feed.clock_skew.seconds is None


async def test_a_silent_websocket_is_closed(harness: FeedHarness) -> None:
    """The time counts from the last message of any kind, even from one that cannot be parsed."""
    socket = await connect(harness)
    await harness.advance(SILENCE_TIMEOUT_S - 1)
    socket.send_from_ibkr(b"\xff")
    await harness.advance(SILENCE_TIMEOUT_S - 1)
    lost_before = len(harness.lost)
    await harness.advance(2)

    assert (lost_before, [event.reason for event in harness.lost]) == (0, ["stream_timeout"])
    assert harness.hub.source.reason == "stream_timeout"
    assert harness.requested_checks == 1


async def test_the_pauses_between_failed_attempts_grow(harness: FeedHarness) -> None:
    """A Gateway that is down must not get a request every moment. A reopened session ends the pause at once."""
    harness.is_unreachable = True
    harness.feed.on_session_change("ready", ready=True)
    await harness.advance(sum(RECONNECT_DELAYS_S) + 61)
    pauses = [event.next_try_s for event in harness.lost]
    count = len(harness.sockets)

    harness.is_unreachable = False
    harness.feed.on_session_change("brokerage_lost", ready=False)
    harness.feed.on_session_change("ready", ready=True)

    assert pauses[: len(RECONNECT_DELAYS_S) + 2] == [
        *RECONNECT_DELAYS_S,
        RECONNECT_DELAYS_S[-1],
        RECONNECT_DELAYS_S[-1],
    ]
    assert {event.reason for event in harness.lost} == {"gateway_unreachable"}
    await harness.wait_for_socket(count + 1)


async def test_after_a_lost_session_the_keeper_checks_before_the_next_websocket_is_opened(harness: FeedHarness) -> None:
    """A websocket of the lost session would connect, and IBKR would send nothing on it."""
    socket = await connect(harness)
    socket.send_from_ibkr({"topic": "sts", "args": {"authenticated": False}})
    await harness.run_until(lambda: not harness.hub.source.is_fresh)

    assert harness.requested_checks >= 1
    await harness.run_until(lambda: harness.awaited_checks == 1)
    await harness.advance(RECONNECT_DELAYS_S[0])
    assert len(harness.sockets) == 2


@pytest.mark.parametrize("args", [{"authenticated": True}, {"message": ""}, {}, [], "x", None, {"competing": False}])
async def test_other_messages_about_the_session_do_not_end_the_feed(harness: FeedHarness, args: Any) -> None:
    """IBKR sends seven of them at the start of each websocket."""
    socket = await connect(harness)
    socket.send_from_ibkr({"topic": "sts", "args": args}, HEARTBEAT)
    await harness.advance(5)

    assert harness.hub.source.is_fresh
    assert harness.requested_checks == 0


async def test_a_websocket_of_an_earlier_session_is_replaced(harness: FeedHarness) -> None:
    """The session was lost and reopened while the websocket was being opened; IBKR would send nothing on it."""

    def lose_and_reopen() -> None:
        harness.while_opening = lambda: None
        harness.feed.on_session_change("brokerage_lost", ready=False)
        harness.feed.on_session_change("ready", ready=True)

    harness.while_opening = lose_and_reopen
    harness.feed.on_session_change("ready", ready=True)
    socket = await harness.wait_for_socket(1)
    socket.send_from_ibkr(SUCCESS)
    second = await harness.wait_for_socket(2)
    is_fresh = harness.hub.source.is_fresh
    second.send_from_ibkr(SUCCESS)
    await harness.run_until(lambda: harness.hub.source.is_fresh)

    assert is_fresh is False
    assert harness.feed.opened_count == 1


async def test_success_after_the_session_was_lost_is_ignored(harness: FeedHarness) -> None:
    """Subscribers would get `fresh` although IBKR sends nothing."""
    harness.feed.on_session_change("ready", ready=True)
    socket = await harness.wait_for_socket(1)
    harness.feed.on_session_change("brokerage_lost", ready=False)
    socket.send_from_ibkr(SUCCESS)
    await harness.advance(1)

    assert (harness.hub.source.is_fresh, harness.hub.source.reason) == (False, "brokerage_lost")


async def test_an_unexpected_error_in_a_message_is_logged(
    harness: FeedHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message must not end the daemon. The log names the places of the error, without the text of the message."""
    socket = await connect(harness)

    def fail(_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(harness.hub, "on_message", fail)
    socket.send_from_ibkr({"topic": "sor"}, HEARTBEAT)
    await harness.advance(1)
    (event,) = [event for event in harness.events_seen if isinstance(event, events.FeedMessageFailed)]

    assert (event.error, "secret" in event.places) == ("KeyError", False)
    assert harness.hub.source.is_fresh


async def test_other_tasks_run_while_thousands_of_messages_are_read(harness: FeedHarness) -> None:
    """Reading a message that has arrived already does not wait, so without pauses no other task would run."""
    socket = await connect(harness)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while harness.hub.replay_buffer.number < 5000:
            turns += 1
            await asyncio.sleep(0)

    socket.send_from_ibkr(
        *({"topic": "act", "args": {}} for _ in range(100)), *[HEARTBEAT] * 5000, {"topic": "ntf", "args": "last"}
    )
    harness.hub.replay_buffer.number = 0
    counting = asyncio.create_task(count_turns())
    await harness.run_until(lambda: not socket.has_unread_messages)
    harness.hub.replay_buffer.number = 5000
    await counting

    assert turns > 50


async def test_a_request_that_ends_the_websocket_makes_the_others_wait_no_longer(harness: FeedHarness) -> None:
    """One caller's chart says nothing of IBKR: the pause stays the first one, however often it happens."""
    socket = await connect(harness)
    for number in range(4):
        subscriber = Subscriber(WritableSink(), RecordingEncoding())
        harness.hub.add_subscriber(subscriber)
        harness.hub.subscribe(subscriber, Subscribe(Topic(TopicKind.HISTORY, str(number)), {"period": "5y"}))
        socket.send_from_ibkr(None)
        await harness.run_until(lambda number=number: len(harness.lost) == number + 1)  # type: ignore[misc]
        harness.hub.remove_subscriber(subscriber)
        await harness.advance(RECONNECT_DELAYS_S[0])
        socket = await harness.wait_for_socket(number + 2)
        socket.send_from_ibkr(SUCCESS)
        await harness.run_until(lambda: harness.hub.source.is_fresh)

    assert {event.next_try_s for event in harness.lost} == {RECONNECT_DELAYS_S[0]}
