"""What happens around every request: its id, its line in the log, and what errors become."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ibkr_bridge import events
from ibkr_bridge.errors import Busy
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import BUS, DRAIN, KEYRING, OWN_ROUTES, REDACTOR, REQUEST_CONTEXT, SETTINGS
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.middleware import middlewares
from ibkr_bridge.server.routing import OwnRoutes
from tests.harness import KEY, settings_for

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Client = TestClient[web.Request, web.Application]
ROUTES = OwnRoutes(
    {"/things/{id}": {"GET": Effect.READ}, "/up": {"GET": Effect.READ}},
    open_paths=frozenset({"/up"}),
    websockets=frozenset(),
    token_in_query=frozenset(),
)


class Rooms:
    """An application with one handler behind the bridge's middlewares, and what it announced."""

    def __init__(self, handler: Handler) -> None:
        settings, self.drain, self.heard = settings_for("https://127.0.0.1:1", Path("/unused")), Drain(), []
        bus, redactor = events.Bus(), Redactor()
        bus.subscribe(self.heard.append)
        redactor.add_secret(KEY, permanent=True)
        self.app = web.Application(middlewares=middlewares())
        self.app[SETTINGS], self.app[BUS], self.app[REDACTOR] = settings, bus, redactor
        self.app[KEYRING], self.app[DRAIN], self.app[OWN_ROUTES] = KeyRing(settings), self.drain, ROUTES
        self.app.router.add_get("/things/{id}", handler)
        self.app.router.add_get("/up", handler)

    heard: list[events.Event]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Client]:
        """A caller who shows the key."""
        async with TestClient(TestServer(self.app), headers={"X-Bridge-Key": KEY}) as client:
            yield client

    def lines(self) -> list[events.RequestServed]:
        """The lines of the log."""
        return [event for event in self.heard if isinstance(event, events.RequestServed)]

    def failures(self) -> list[events.RequestFailed]:
        """What was told of our own bugs."""
        return [event for event in self.heard if isinstance(event, events.RequestFailed)]


async def fine(request: web.Request) -> web.StreamResponse:
    """All is well."""
    return web.Response(text=request[REQUEST_CONTEXT].request_id)


async def broken(request: web.Request) -> web.StreamResponse:
    """A bug of ours, in whose words something secret stands."""
    raise ZeroDivisionError("the secret words of a bug")


async def test_a_request_has_one_line_which_names_its_route_and_not_its_path() -> None:
    """Account numbers stand in paths, and keys are named by their label."""
    rooms = Rooms(fine)

    async with rooms.open() as client, client.get("/things/DU1234567?x=1") as reply:
        name = await reply.text()

    (line,) = rooms.lines()
    assert (line.request_id, line.key, line.method, line.route) == (name, "full", "GET", "/things/{id}")
    assert (line.status, line.source, line.code) == (200, "bridge", None)
    assert line.ms >= 0


async def test_the_callers_own_id_is_kept_unless_it_holds_a_secret() -> None:
    """Whoever writes the key into the wrong header must not find it in the log."""
    rooms = Rooms(fine)

    async with rooms.open() as client:
        async with client.get("/things/1", headers={"X-Request-ID": "mine-7"}) as reply:
            kept = await reply.text()
        async with client.get("/things/1", headers={"X-Request-ID": KEY}) as reply:
            replaced = await reply.text()

    assert kept == "mine-7"
    assert KEY not in replaced
    assert [line.request_id for line in rooms.lines()] == ["mine-7", replaced]


async def test_who_has_no_key_has_a_line_too() -> None:
    """Refusals are what an owner wants to see."""
    rooms = Rooms(fine)

    async with rooms.open() as client, client.get("/things/1", headers={"X-Bridge-Key": "wrong"}) as reply:
        body = await reply.json()

    (line,) = rooms.lines()
    assert (reply.status, body["code"]) == (401, "invalid_key")
    assert (line.key, line.status, line.code, line.request_id) == ("none", 401, "invalid_key", body["request_id"])


async def test_an_error_of_the_family_becomes_its_problem() -> None:
    """Handlers raise, and know nothing of HTTP."""

    async def busy(request: web.Request) -> web.StreamResponse:
        raise Busy("all slots are taken", retry_after=2.0)

    rooms = Rooms(busy)
    async with rooms.open() as client, client.get("/things/1") as reply:
        body = await reply.json(content_type="application/problem+json")

    assert (reply.status, reply.headers["Retry-After"], body["code"]) == (503, "2", "busy")
    assert rooms.lines()[0].code == "busy"
    assert not rooms.failures()


async def test_a_bug_tells_its_caller_the_id_and_the_log_the_place() -> None:
    """Its words may repeat what was sent, so nobody gets to see them."""
    rooms = Rooms(broken)

    async with rooms.open() as client, client.get("/things/1") as reply:
        text, body = await reply.text(), await reply.json(content_type="application/problem+json")

    (failure,) = rooms.failures()
    assert (reply.status, body["code"]) == (500, "internal")
    assert failure.request_id == body["request_id"]
    assert failure.error == "ZeroDivisionError"
    assert "broken" in failure.places
    assert "secret" not in text + str(failure)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (web.HTTPNotFound, 400, "bad_request"),
        (web.HTTPBadRequest, 400, "bad_request"),
        (web.HTTPInternalServerError, 500, "internal"),
    ],
)
async def test_what_aiohttp_raises_becomes_a_problem_too(
    raised: type[web.HTTPException], status: int, code: str
) -> None:
    """A client meets one form of errors, whoever noticed them."""

    async def refusing(request: web.Request) -> web.StreamResponse:
        raise raised(text="a page of the library")

    async with Rooms(refusing).open() as client, client.get("/things/1") as reply:
        body = await reply.json(content_type="application/problem+json")

    assert (reply.status, body["code"]) == (status, code)
    assert "page" not in str(body)


async def test_a_reply_that_was_cut_on_purpose_stays_cut() -> None:
    """A problem in the middle of somebody else's body would be taken for a part of it."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"123")
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    rooms = Rooms(cut)
    async with rooms.open() as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/things/1") as reply:
                await reply.read()

    assert [line.status for line in rooms.lines()] == [499]
    assert not rooms.failures()


async def test_who_is_inside_is_counted_and_leaves_however_it_ends() -> None:
    """The end of the bridge waits for them, and must not wait for ever."""
    counts: list[int] = []

    async def counting(request: web.Request) -> web.StreamResponse:
        counts.append(request.app[DRAIN].in_flight)
        raise ZeroDivisionError

    rooms = Rooms(counting)
    async with rooms.open() as client:
        for _ in range(2):
            async with client.get("/things/1"):
                pass

    assert counts == [1, 1]
    assert rooms.drain.in_flight == 0


async def test_a_draining_bridge_answers_its_open_routes_alone() -> None:
    """Monitors see it end; everybody else is told when to come back."""
    rooms = Rooms(fine)
    rooms.drain.begin()

    async with rooms.open() as client:
        async with client.get("/up") as up:
            pass
        async with client.get("/things/1") as other:
            body = await other.json(content_type="application/problem+json")

    assert (up.status, other.status, body["code"]) == (200, 503, "shutting_down")


async def test_who_minds_is_told_that_the_reply_reached_its_caller() -> None:
    """An order that was told need not be told again."""
    told: list[bool] = []

    async def minding(request: web.Request) -> web.StreamResponse:
        request[REQUEST_CONTEXT].on_delivered = told.append
        return web.Response(text="an answer")

    rooms = Rooms(minding)
    async with rooms.open() as client, client.get("/things/1") as reply:
        text = await reply.text()

    assert (text, told) == ("an answer", [True])
    assert [line.status for line in rooms.lines()] == [200]
