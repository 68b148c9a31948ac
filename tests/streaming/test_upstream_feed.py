"""IBKR's socket in a time moved by hand: when it is opened, believed, given up, and opened again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ibkr_bridge import events
from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.upstream_feed import (
    CONNECT_TIMEOUT_S,
    RECONNECT_DELAYS_S,
    SILENCE_TIMEOUT_S,
    TIC_INTERVAL_S,
    UpstreamFeed,
)
from tests.clocks import ManualClock
from tests.harness import TEST_TIMEOUT_S


class Line:
    """A socket to IBKR that a test speaks on."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._coming: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def receive(self) -> bytes | None:
        """See `feed.Socket`."""
        return await self._coming.get()

    async def send(self, text: str) -> None:
        """See `feed.Socket`."""
        self.said.append(text)

    def comes(self, *messages: dict[str, Any] | bytes | None) -> None:
        """IBKR says this; None ends the socket."""
        for message in messages:
            self._coming.put_nowait(json.dumps(message).encode() if isinstance(message, dict) else message)


class World:
    """A feed, and all that it touches."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        self.lines: list[Line] = []
        self.events_seen: list[events.Event] = []
        self.doubts = self.looks = 0
        self.refuses = False
        self.while_opening: Callable[[], None] = lambda: None
        bus = events.Bus()
        bus.subscribe(self.events_seen.append)
        self.feed = UpstreamFeed("main", self.opening, self.hub, self, self.clock, bus)

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[Line]:
        """Opens a socket."""
        if self.refuses:
            self.lines.append(Line())
            raise GatewayUnreachable("nobody is there")
        self.while_opening()
        self.lines.append(Line())
        yield self.lines[-1]

    def request_check(self) -> None:
        """See `feed.Session`."""
        self.doubts += 1

    async def check_now(self) -> None:
        """See `feed.Session`."""
        self.looks += 1

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let everybody work, in no time at all, until this holds."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while not holds():
                await asyncio.sleep(0)

    async def line(self, number: int) -> Line:
        """So many sockets have been opened; the latest."""
        await self.until(lambda: len(self.lines) == number)
        return self.lines[-1]

    async def pass_(self, seconds: float) -> None:
        """So much time passes, and everybody does what that brings."""
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
        """How sockets ended that should not have."""
        return [event for event in self.events_seen if isinstance(event, events.FeedLost)]


SUCCESS = {"topic": "system", "success": "somebody"}
BEAT = {"topic": "system", "hb": 1}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A feed at work; the session is not ready yet."""
    made = World()
    keeping = asyncio.create_task(made.feed.run_loop())
    yield made
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def opened(world: World) -> Line:
    """The first socket, believed."""
    world.feed.on_session_change("ready", ready=True)
    line = await world.line(1)
    line.comes(SUCCESS)
    await world.until(lambda: world.hub.source.is_fresh)
    return line


async def test_nothing_is_opened_before_the_session_is_ready(world: World) -> None:
    """A socket that is opened earlier is never told anything by IBKR."""
    await world.pass_(100)
    assert world.lines == []

    await opened(world)


async def test_an_open_socket_proves_nothing(world: World) -> None:
    """Only IBKR's own word does; without it another one is tried."""
    world.feed.on_session_change("ready", ready=True)
    line = await world.line(1)
    line.comes({"message": "waiting for session"}, BEAT)
    await world.pass_(CONNECT_TIMEOUT_S - 1)
    before = world.hub.source.is_fresh, len(world.lost)
    await world.pass_(1.5)

    assert before == (False, 0)
    assert [event.reason for event in world.lost] == ["stream_timeout"]
    assert line.said == []


async def test_ibkr_hears_from_us_twice_a_minute_at_least(world: World) -> None:
    """As long as it speaks itself."""
    line = await opened(world)
    for _ in range(12):
        line.comes(BEAT)
        await world.pass_(10)

    assert 4 <= line.said.count("tic") <= 120 / TIC_INTERVAL_S
    assert world.lost == []


async def test_a_deaf_socket_is_given_up(world: World) -> None:
    """Its last word counts, whatever it was."""
    line = await opened(world)
    await world.pass_(SILENCE_TIMEOUT_S - 1)
    line.comes(b"\xff")
    await world.pass_(SILENCE_TIMEOUT_S - 1)
    kept = len(world.lost)
    await world.pass_(2)

    assert (kept, [event.reason for event in world.lost]) == (0, ["stream_timeout"])
    assert world.hub.source.reason == "stream_timeout"
    assert world.doubts == 1


async def test_pauses_grow(world: World) -> None:
    """While opening fails; a session that is opened again ends the waiting at once."""
    world.refuses = True
    world.feed.on_session_change("ready", ready=True)
    await world.pass_(sum(RECONNECT_DELAYS_S) + 61)
    pauses = [event.next_try_s for event in world.lost]
    count = len(world.lines)

    world.refuses = False
    world.feed.on_session_change("brokerage_lost", ready=False)
    world.feed.on_session_change("ready", ready=True)

    assert pauses[: len(RECONNECT_DELAYS_S) + 2] == [
        *RECONNECT_DELAYS_S,
        RECONNECT_DELAYS_S[-1],
        RECONNECT_DELAYS_S[-1],
    ]
    assert {event.reason for event in world.lost} == {"gateway_unreachable"}
    await world.line(count + 1)


async def test_a_lost_session_makes_the_keeper_look_first(world: World) -> None:
    """A socket that is opened before it has would look well, and bring nothing."""
    line = await opened(world)
    line.comes({"topic": "sts", "args": {"authenticated": False}})
    await world.until(lambda: not world.hub.source.is_fresh)

    assert world.doubts >= 1
    await world.until(lambda: world.looks == 1)
    await world.pass_(RECONNECT_DELAYS_S[0])
    assert len(world.lines) == 2


@pytest.mark.parametrize("args", [{"authenticated": True}, {"message": ""}, {}, [], "x", None, {"competing": False}])
async def test_other_words_about_the_session_change_nothing(world: World, args: Any) -> None:
    """IBKR sends seven of them with each greeting."""
    line = await opened(world)
    line.comes({"topic": "sts", "args": args}, BEAT)
    await world.pass_(5)

    assert world.hub.source.is_fresh
    assert world.doubts == 0


async def test_a_socket_of_another_session_is_not_believed(world: World) -> None:
    """The session was lost while it was opened, and may be open again by now."""

    def lose_and_reopen() -> None:
        world.while_opening = lambda: None
        world.feed.on_session_change("brokerage_lost", ready=False)
        world.feed.on_session_change("ready", ready=True)

    world.while_opening = lose_and_reopen
    world.feed.on_session_change("ready", ready=True)
    line = await world.line(1)
    line.comes(SUCCESS)
    second = await world.line(2)
    is_fresh = world.hub.source.is_fresh
    second.comes(SUCCESS)
    await world.until(lambda: world.hub.source.is_fresh)

    assert is_fresh is False
    assert world.feed.opened_count == 1


async def test_success_of_a_session_that_is_lost_is_not_told(world: World) -> None:
    """Readers would hear `fresh` while nothing comes."""
    world.feed.on_session_change("ready", ready=True)
    line = await world.line(1)
    world.feed.on_session_change("brokerage_lost", ready=False)
    line.comes(SUCCESS)
    await world.pass_(1)

    assert (world.hub.source.is_fresh, world.hub.source.reason) == (False, "brokerage_lost")


async def test_what_nobody_foresaw_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message must not end the daemon; the log says where it was."""
    line = await opened(world)

    def fail(_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(world.hub, "on_message", fail)
    line.comes({"topic": "sor"}, BEAT)
    await world.pass_(1)
    (event,) = [event for event in world.events_seen if isinstance(event, events.FeedMessageFailed)]

    assert (event.error, "secret" in event.places) == ("KeyError", False)
    assert world.hub.source.is_fresh


async def test_a_flood_leaves_a_breath_for_others(world: World) -> None:
    """However much has come already."""
    line = await opened(world)
    breaths = 0

    async def breathe() -> None:
        nonlocal breaths
        while world.hub.replay_buffer.number < 5000:
            breaths += 1
            await asyncio.sleep(0)

    line.comes(*({"topic": "act", "args": {}} for _ in range(100)), *[BEAT] * 5000, {"topic": "ntf", "args": "last"})
    world.hub.replay_buffer.number = 0
    breathing = asyncio.create_task(breathe())
    await world.until(line._coming.empty)
    world.hub.replay_buffer.number = 5000
    await breathing

    assert breaths > 50
