"""Those who read streams: whether they may go on, and what is said when they may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge import events
from ibkr_bridge.api.stream_access import (
    KEY_ROTATED,
    TOKEN_EXPIRED,
    check_not_ending,
    closing,
    connection_of,
    hub_of,
    publish_closed,
    publish_opened,
    revocation_check,
)
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import ShuttingDown
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.server.app_keys import BUS, CLOCK, DRAIN, KEYRING, PROFILES, REQUEST_CONTEXT
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing, Principal
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.tokens import TokenRequest
from tests.clocks import ManualClock
from tests.harness import KEY, READING, settings_for
from tests.profiles.built import build

OTHER = "another-key-for-tests-0123456789-abcd"


class Door:
    """What a stream finds at the door: keys, a clock that stands, and an ear for events."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = ManualClock()
        self.ring = KeyRing(self._settings(KEY), self.clock.utc)
        self.drain = Drain()
        self.heard: list[events.Event] = []
        bus = events.Bus()
        bus.subscribe(self.heard.append)
        self.app = web.Application()
        self.app[BUS], self.app[CLOCK], self.app[DRAIN] = bus, self.clock, self.drain
        self.app[KEYRING], self.app[PROFILES] = self.ring, ProfileRegistry((build(place).profile,))

    def _settings(self, key: str, reading: str = READING) -> Settings:
        return settings_for("https://127.0.0.1:1", self.place, IBKR_BRIDGE_KEY=key, IBKR_BRIDGE_READONLY_KEY=reading)

    def rotate(self, key: str, reading: str = READING) -> None:
        """Other keys open from now on."""
        self.ring.replace(self._settings(key, reading))

    def request(self, principal: Principal | None) -> web.Request:
        """A stream of somebody who has shown this."""
        request = make_mocked_request("GET", "/stream/orders", app=self.app)
        request[REQUEST_CONTEXT] = RequestContext("the-id", 0.0, principal=principal, route="/stream/orders")
        return request

    def key(self, key: str = KEY) -> Principal:
        """Who has this key."""
        found = self.ring.find_key(key.encode())
        assert found is not None
        return found

    def token(self, seconds: int, key: str = KEY) -> Principal:
        """Who has a token that was asked for with this key."""
        found = self.ring.find_token(self.ring.issue(self.key(key), TokenRequest(ttl_s=seconds))[0].encode())
        assert found is not None
        return found


@pytest.fixture
async def door(tmp_path: Path) -> Door:
    """A door of two keys."""
    return Door(tmp_path)


async def test_a_key_may_go_on_until_it_is_rotated(door: Door) -> None:
    """A stream may last for weeks, and must not outlive its key."""
    ask = revocation_check(door.request(door.key()))
    before = ask()

    door.rotate(OTHER)

    assert (before, ask()) == (None, KEY_ROTATED)


async def test_a_token_may_go_on_until_its_time_is_over(door: Door) -> None:
    """To the second, and its reader learns that it is enough to ask for another."""
    ask = revocation_check(door.request(door.token(60)))
    found: list[str | None] = []

    for seconds in (0.0, 59.9, 0.1):
        await advance(door.clock, seconds)
        found.append(ask())

    assert found == [None, None, TOKEN_EXPIRED]


async def advance(clock: ManualClock, seconds: float) -> None:
    """Let time pass by hand."""
    clock._now += seconds  # nobody sleeps on it here


@pytest.mark.parametrize("rotate", [lambda door: door.rotate(OTHER), lambda door: door.rotate(KEY, OTHER)])
async def test_a_token_ends_with_either_of_its_keys(door: Door, rotate: Callable[[Door], None]) -> None:
    """Whoever changes a key wants all out that it let in, and those whom the other key vouched for."""
    ask = revocation_check(door.request(door.token(60, READING)))

    rotate(door)

    assert ask() == KEY_ROTATED


async def test_a_token_that_is_over_says_so_although_its_key_has_changed_too(door: Door) -> None:
    """Another token is what its reader has to get either way."""
    ask = revocation_check(door.request(door.token(60)))
    await advance(door.clock, 60.0)

    door.rotate(OTHER)

    assert ask() == TOKEN_EXPIRED


async def test_who_has_shown_nothing_may_not_read(door: Door) -> None:
    """No stream is open to all."""
    assert revocation_check(door.request(None))() == KEY_ROTATED


async def test_no_stream_begins_while_the_bridge_ends(door: Door) -> None:
    """The end would wait for it; the successor has it a second later."""
    request = door.request(door.key())
    check_not_ending(request)
    door.drain.begin(handover=True)

    with pytest.raises(ShuttingDown) as caught:
        check_not_ending(request)

    assert caught.value.retry_after == 1.0


async def test_the_log_names_a_stream_by_id_key_and_route(door: Door) -> None:
    """At its beginning and at its end, with the profile and the reason."""
    request = door.request(door.key())

    publish_opened(request)
    publish_closed(request, KEY_ROTATED)

    assert door.heard == [
        events.StreamOpened("the-id", "full", "/stream/orders", profile="main"),
        events.StreamClosed("the-id", "full", "/stream/orders", KEY_ROTATED, profile="main"),
    ]
    assert request[REQUEST_CONTEXT].code == KEY_ROTATED


async def test_a_farewell_that_is_taken_leaves_the_connection_alone(door: Door) -> None:
    """It ends in its own way."""
    request = door.request(door.key())

    async with closing(request, "slow_client", 5.0):
        pass

    assert [type(event) for event in door.heard] == [events.StreamClosed]
    assert request.transport is not None
    request.transport.abort.assert_not_called()  # type: ignore[attr-defined]


async def test_who_does_not_take_the_farewell_in_time_is_left(door: Door) -> None:
    """A reader that has stopped reading would be waited for for ever."""
    request = door.request(door.key())

    async with closing(request, "slow_client", 0.0):
        await asyncio.Event().wait()

    assert request.transport is not None
    request.transport.abort.assert_called_once()  # type: ignore[attr-defined]


async def test_who_has_gone_before_the_farewell_is_no_error(door: Door) -> None:
    """It is said to nobody, and the log has its line."""
    request = door.request(door.key())

    async with closing(request, "slow_client", 5.0):
        raise ConnectionResetError

    assert [type(event) for event in door.heard] == [events.StreamClosed]


async def test_a_bug_in_the_farewell_is_not_hidden(door: Door) -> None:
    """Only what the other end does is forgiven."""
    with pytest.raises(ZeroDivisionError):
        async with closing(door.request(door.key()), "slow_client", 5.0):
            raise ZeroDivisionError


async def test_a_stream_is_read_at_the_profile_of_its_key(door: Door) -> None:
    """The hub is the profile's own."""
    assert hub_of(door.request(door.key())) is door.app[PROFILES].main.streaming.hub


async def test_a_request_through_another_door_has_no_stream(door: Door) -> None:
    """Streams are written past the library, to connections that know how."""
    with pytest.raises(RuntimeError):
        connection_of(door.request(door.key()))
