"""Access to streams: whether one may begin, whether its caller may go on reading, and how it ends."""

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
from tests.harness import KEY, READONLY_KEY, settings_for
from tests.profiles.profile_setup import build

OTHER = "another-key-for-tests-0123456789-abcd"


class App:
    """An application with keys, a manual clock and a list of its events."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = ManualClock()
        self.ring = KeyRing(self._settings(KEY), self.clock.utc)
        self.drain = Drain()
        self.events_seen: list[events.Event] = []
        bus = events.Bus()
        bus.subscribe(self.events_seen.append)
        self.app = web.Application()
        self.app[BUS], self.app[CLOCK], self.app[DRAIN] = bus, self.clock, self.drain
        self.app[KEYRING], self.app[PROFILES] = self.ring, ProfileRegistry((build(place).profile,))

    def _settings(self, key: str, reading: str = READONLY_KEY) -> Settings:
        return settings_for("https://127.0.0.1:1", self.place, IBKR_BRIDGE_KEY=key, IBKR_BRIDGE_READONLY_KEY=reading)

    def rotate(self, key: str, reading: str = READONLY_KEY) -> None:
        """Replace the keys."""
        self.ring.replace(self._settings(key, reading))

    def request(self, principal: Principal | None) -> web.Request:
        """A request for a stream by this principal."""
        request = make_mocked_request("GET", "/stream/orders", app=self.app)
        request[REQUEST_CONTEXT] = RequestContext("the-id", 0.0, principal=principal, route="/stream/orders")
        return request

    def key(self, key: str = KEY) -> Principal:
        """The principal of a key."""
        principal = self.ring.find_key(key.encode())
        assert principal is not None
        return principal

    def token(self, seconds: int, key: str = KEY) -> Principal:
        """The principal of a new token of this key."""
        principal = self.ring.find_token(self.ring.issue(self.key(key), TokenRequest(ttl_s=seconds))[0].encode())
        assert principal is not None
        return principal


@pytest.fixture
async def application(tmp_path: Path) -> App:
    """An application with two keys."""
    return App(tmp_path)


async def test_a_key_may_read_until_it_is_rotated(application: App) -> None:
    """A stream may last for weeks, but not longer than its key."""
    check_revocation = revocation_check(application.request(application.key()))
    before = check_revocation()

    application.rotate(OTHER)

    assert (before, check_revocation()) == (None, KEY_ROTATED)


async def test_a_token_may_read_until_it_expires(application: App) -> None:
    """To the second. The reason says that a new token is enough."""
    check_revocation = revocation_check(application.request(application.token(60)))
    reasons: list[str | None] = []

    for seconds in (0.0, 59.9, 0.1):
        await advance(application.clock, seconds)
        reasons.append(check_revocation())

    assert reasons == [None, None, TOKEN_EXPIRED]


async def advance(clock: ManualClock, seconds: float) -> None:
    """Move the clock forward."""
    clock._now += seconds  # nobody sleeps on it here


@pytest.mark.parametrize(
    "rotate", [lambda application: application.rotate(OTHER), lambda application: application.rotate(KEY, OTHER)]
)
async def test_a_token_ends_with_either_of_its_keys(application: App, rotate: Callable[[App], None]) -> None:
    """A change of the key that issued the token ends it, and so does a change of the full key."""
    check_revocation = revocation_check(application.request(application.token(60, READONLY_KEY)))

    rotate(application)

    assert check_revocation() == KEY_ROTATED


async def test_an_expired_token_is_reported_as_expired_although_its_key_has_changed(application: App) -> None:
    """The client needs a new token in both cases."""
    check_revocation = revocation_check(application.request(application.token(60)))
    await advance(application.clock, 60.0)

    application.rotate(OTHER)

    assert check_revocation() == TOKEN_EXPIRED


async def test_a_caller_without_a_principal_may_not_read(application: App) -> None:
    """Every stream needs a key or a token."""
    assert revocation_check(application.request(None))() == KEY_ROTATED


async def test_no_stream_begins_while_the_bridge_ends(application: App) -> None:
    """The drain would wait for it; the next process serves it a second later."""
    request = application.request(application.key())
    check_not_ending(request)
    application.drain.begin(handover=True)

    with pytest.raises(ShuttingDown) as caught:
        check_not_ending(request)

    assert caught.value.retry_after == 1.0


async def test_the_events_of_a_stream_have_id_key_and_route(application: App) -> None:
    """With the profile, and at its end with the reason."""
    request = application.request(application.key())

    publish_opened(request)
    publish_closed(request, KEY_ROTATED)

    assert application.events_seen == [
        events.StreamOpened("the-id", "full", "/stream/orders", profile="main"),
        events.StreamClosed("the-id", "full", "/stream/orders", KEY_ROTATED, profile="main"),
    ]
    assert request[REQUEST_CONTEXT].code == KEY_ROTATED


async def test_a_last_message_that_is_read_leaves_the_connection_open(application: App) -> None:
    """The connection ends as any other."""
    request = application.request(application.key())

    async with closing(request, "slow_client", 5.0):
        pass

    assert [type(event) for event in application.events_seen] == [events.StreamClosed]
    assert request.transport is not None
    request.transport.abort.assert_not_called()  # type: ignore[attr-defined]


async def test_a_client_that_does_not_read_the_last_message_is_disconnected(application: App) -> None:
    """Otherwise the bridge would wait for it for ever."""
    request = application.request(application.key())

    async with closing(request, "slow_client", 0.0):
        await asyncio.Event().wait()

    assert request.transport is not None
    request.transport.abort.assert_called_once()  # type: ignore[attr-defined]


async def test_a_client_that_has_disconnected_before_the_last_message_is_no_error(application: App) -> None:
    """The event is published nevertheless."""
    request = application.request(application.key())

    async with closing(request, "slow_client", 5.0):
        raise ConnectionResetError

    assert [type(event) for event in application.events_seen] == [events.StreamClosed]


async def test_an_error_of_the_bridge_in_the_last_message_is_raised(application: App) -> None:
    """Only errors of the connection are ignored."""
    with pytest.raises(ZeroDivisionError):
        async with closing(application.request(application.key()), "slow_client", 5.0):
            raise ZeroDivisionError


async def test_a_stream_uses_the_hub_of_its_profile(application: App) -> None:
    """Each profile has its own hub."""
    assert hub_of(application.request(application.key())) is application.app[PROFILES].default.streaming.hub


async def test_a_request_of_another_server_has_no_stream(application: App) -> None:
    """Streams are written directly, which only the bridge's own connections support."""
    with pytest.raises(RuntimeError):
        connection_of(application.request(application.key()))
