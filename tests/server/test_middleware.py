"""The middlewares of every request: its id, its log line, and the form of errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ibkr_bridge import events
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import Busy
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import (
    BUS,
    DRAIN,
    KEYRING,
    OWN_ROUTES,
    PROFILES,
    RECENT_REQUESTS,
    REDACTOR,
    REQUEST_CONTEXT,
    REQUEST_SHARES,
    SETTINGS,
)
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.middleware import middlewares
from ibkr_bridge.server.recent_requests import RecentRequests
from ibkr_bridge.server.request_shares import RequestShares
from ibkr_bridge.server.response_headers import add_headers
from ibkr_bridge.server.routing import OwnRoutes
from tests.harness import KEY, Harness, settings_for

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Client = TestClient[web.Request, web.Application]
ROUTES = OwnRoutes(
    {"/things/{id}": {"GET": Effect.READ}, "/up": {"GET": Effect.READ}},
    open_paths=frozenset({"/up"}),
    websockets=frozenset(),
    token_in_query=frozenset(),
)


class AppUnderTest:
    """An application with one handler behind the middlewares of the bridge, and the events that it publishes."""

    def __init__(self, handler: Handler) -> None:
        settings, self.drain, self.events_seen = settings_for("https://127.0.0.1:1", Path("/unused")), Drain(), []
        bus, redactor = events.Bus(), Redactor()
        bus.subscribe(self.events_seen.append)
        redactor.add_secret(KEY, permanent=True)
        self.app = web.Application(middlewares=middlewares())
        self.app[SETTINGS], self.app[BUS], self.app[REDACTOR] = settings, bus, redactor
        self.app[REQUEST_SHARES] = RequestShares()
        self.app[PROFILES] = ProfileRegistry((cast(Profile, SimpleNamespace(name="main", settings=settings)),))
        self.app[RECENT_REQUESTS] = RecentRequests(SystemClock())
        self.app[KEYRING], self.app[DRAIN], self.app[OWN_ROUTES] = KeyRing(settings), self.drain, ROUTES
        self.app.router.add_get("/things/{id}", handler)
        self.app.router.add_get("/up", handler)

    events_seen: list[events.Event]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        """Run the application and yield a client with the key."""
        async with TestClient(TestServer(self.app), headers={"X-Bridge-Key": KEY}) as client:
            yield client

    def lines(self) -> list[events.RequestServed]:
        """The log lines about requests."""
        return [event for event in self.events_seen if isinstance(event, events.RequestServed)]

    def failures(self) -> list[events.RequestFailed]:
        """The events about bugs of the bridge."""
        return [event for event in self.events_seen if isinstance(event, events.RequestFailed)]


async def send_request_id(request: web.Request) -> web.StreamResponse:
    """A handler that succeeds."""
    return web.Response(text=request[REQUEST_CONTEXT].request_id)


async def fail(request: web.Request) -> web.StreamResponse:
    """A handler with a bug, whose error message contains a secret."""
    raise ZeroDivisionError("the secret words of a bug")


async def test_a_request_has_one_log_line_with_its_route_and_not_its_path() -> None:
    """Paths contain account numbers; the key is named by its label."""
    app = AppUnderTest(send_request_id)

    async with app.connect() as client, client.get("/things/DU1234567?x=1") as reply:
        name = await reply.text()

    (line,) = app.lines()
    assert (line.request_id, line.key, line.method, line.route) == (name, "full", "GET", "/things/{id}")
    assert (line.status, line.source, line.code) == (200, "bridge", None)
    assert line.ms >= 0


async def test_the_callers_own_id_is_kept_unless_it_holds_a_secret() -> None:
    """A key in the wrong header must not be logged."""
    app = AppUnderTest(send_request_id)

    async with app.connect() as client:
        async with client.get("/things/1", headers={"X-Request-ID": "mine-7"}) as reply:
            same = await reply.text()
        async with client.get("/things/1", headers={"X-Request-ID": KEY}) as reply:
            replaced = await reply.text()

    assert same == "mine-7"
    assert KEY not in replaced
    assert [line.request_id for line in app.lines()] == ["mine-7", replaced]


async def test_a_request_with_a_wrong_key_is_logged_too() -> None:
    """The user of the bridge wants to see refusals."""
    app = AppUnderTest(send_request_id)

    async with app.connect() as client, client.get("/things/1", headers={"X-Bridge-Key": "wrong"}) as reply:
        body = await reply.json()

    (line,) = app.lines()
    assert (reply.status, body["code"]) == (401, "invalid_key")
    assert (line.key, line.status, line.code, line.request_id) == ("wrong", 401, "invalid_key", body["request_id"])


async def test_a_request_without_a_key_is_told_apart_from_one_with_a_wrong_key(harness: Harness) -> None:
    """The first is an app without its setting, the second one with an old key."""
    for key in (None, "an old key"):
        await harness.get("/session", key=key)

    lines = [event for event in harness.events_seen if isinstance(event, events.RequestServed)]
    assert [(line.key, line.code, line.wait_ms) for line in lines] == [
        ("none", "invalid_key", None),
        ("wrong", "invalid_key", None),
    ]


async def test_an_error_of_the_bridge_becomes_a_problem_response() -> None:
    """Handlers only raise it."""

    async def busy(request: web.Request) -> web.StreamResponse:
        raise Busy("all slots are taken", retry_after=2.0)

    app = AppUnderTest(busy)
    async with app.connect() as client, client.get("/things/1") as reply:
        body = await reply.json(content_type="application/problem+json")

    assert (reply.status, reply.headers["Retry-After"], body["code"]) == (503, "2", "busy")
    assert app.lines()[0].code == "busy"
    assert not app.failures()


async def test_a_bug_shows_its_caller_the_id_and_the_log_the_place() -> None:
    """Its message may repeat what was sent, so neither shows it."""
    app = AppUnderTest(fail)

    async with app.connect() as client, client.get("/things/1") as reply:
        text, body = await reply.text(), await reply.json(content_type="application/problem+json")

    (failure,) = app.failures()
    assert (reply.status, body["code"]) == (500, "internal")
    assert failure.request_id == body["request_id"]
    assert failure.error == "ZeroDivisionError"
    assert "fail" in failure.places
    assert "secret" not in text + str(failure)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (web.HTTPNotFound, 400, "bad_request"),
        (web.HTTPBadRequest, 400, "bad_request"),
        (web.HTTPInternalServerError, 500, "internal"),
    ],
)
async def test_an_error_of_aiohttp_becomes_a_problem_response_too(
    error: type[web.HTTPException], status: int, code: str
) -> None:
    """All errors have the same form."""

    async def raise_error(request: web.Request) -> web.StreamResponse:
        raise error(text="a page of the library")

    async with AppUnderTest(raise_error).connect() as client, client.get("/things/1") as reply:
        body = await reply.json(content_type="application/problem+json")

    assert (reply.status, body["code"]) == (status, code)
    assert "page" not in str(body)


async def test_a_response_that_was_cut_gets_no_error_appended() -> None:
    """The caller would take the error for a part of the body."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"123")
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    app = AppUnderTest(cut)
    async with app.connect() as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/things/1") as reply:
                await reply.read()

    assert [line.status for line in app.lines()] == [499]
    assert not app.failures()


async def test_a_request_is_counted_until_it_ends_in_any_way() -> None:
    """The end of the bridge waits for all counted requests."""
    counts: list[int] = []

    async def count_and_fail(request: web.Request) -> web.StreamResponse:
        counts.append(request.app[DRAIN].in_flight)
        raise ZeroDivisionError

    app = AppUnderTest(count_and_fail)
    async with app.connect() as client:
        for _ in range(2):
            async with client.get("/things/1"):
                pass

    assert counts == [1, 1]
    assert app.drain.in_flight == 0


async def test_a_draining_bridge_serves_only_its_open_routes() -> None:
    """Monitors can watch the end; all other requests get a 503."""
    app = AppUnderTest(send_request_id)
    app.drain.begin()

    async with app.connect() as client:
        async with client.get("/up") as up:
            pass
        async with client.get("/things/1") as other:
            body = await other.json(content_type="application/problem+json")

    assert (up.status, other.status, body["code"]) == (200, 503, "shutting_down")


async def test_on_delivered_is_called_when_the_response_has_reached_its_caller() -> None:
    """An order whose response was delivered need not be replayed."""
    results: list[bool] = []

    async def register_callback(request: web.Request) -> web.StreamResponse:
        request[REQUEST_CONTEXT].on_delivered = results.append
        return web.Response(text="an answer")

    app = AppUnderTest(register_callback)
    async with app.connect() as client, client.get("/things/1") as reply:
        text = await reply.text()

    assert (text, results) == ("an answer", [True])
    assert [line.status for line in app.lines()] == [200]


async def test_a_probe_that_found_all_well_is_a_debug_line(harness: Harness) -> None:
    """A monitor asks every few seconds, and its lines hide the others. One that failed is logged as before."""
    await harness.get("/health", key=None)
    await harness.get("/health/x", key=None)
    await harness.get("/session")

    levels = {event.route: event.level for event in harness.events_seen if isinstance(event, events.RequestServed)}
    assert (levels["/health"], levels["/session"]) == ("debug", "info")
    assert set(levels.values()) == {"debug", "info"}


async def test_a_line_says_how_long_it_waited_and_how_long_ibkr_took(harness: Harness) -> None:
    """Of the whole time; a slow bridge and a slow IBKR look the same otherwise."""
    await harness.get("/portfolio/accounts")

    line = next(event for event in harness.events_seen if isinstance(event, events.RequestServed) and event.upstream_ms)
    assert line.wait_ms is not None
    assert line.ms >= (line.upstream_ms or 0.0) > 0


@pytest.mark.parametrize("error", [Busy("later"), ZeroDivisionError()])
async def test_an_error_after_the_head_of_a_response_cuts_it_off(error: Exception) -> None:
    """A second response within the first would be read as a part of it."""

    async def begin_and_fail(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"first")
        raise error

    app = AppUnderTest(begin_and_fail)
    app.app.on_response_prepare.append(add_headers)
    async with app.connect() as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/things/1") as reply:
                await reply.read()

    assert reply.status == 200
    assert [line.status for line in app.lines()] == [499]
