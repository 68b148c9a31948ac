"""What the keeper asks of the Gateway, byte for byte, and how each answer is read. None of it raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ibkr_bridge.calls.messages import Call, OnReleased, Response, noop
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session import session_api as room
from ibkr_bridge.session.preflight import Accounts, is_access_denied
from ibkr_bridge.session.session_api import GatewaySessionApi
from ibkr_bridge.session.state_machine import Observation
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.body_stream import FakeBodyStream
from tests.upstream.gateway.scripted_gateway import PATIENCE, Connection, Request, ScriptedGateway, never_respond

SESSION = '{"authenticated":true,"connected":true,"competing":false}'


def answering(status: int, body: bytes, kind: str = "application/json") -> bytes:
    """An answer as it stands on the wire."""
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def leading_to(url: str) -> AsyncIterator[GatewayClient]:
    """A road, closed in the end."""
    road = GatewayClient(url, CookieStore(None, Bus(), Redactor(), SystemClock()), PATIENCE, tls=False)
    try:
        yield road
    finally:
        await road.close()


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A scripted Gateway."""
    async with ScriptedGateway() as playing:
        yield playing


@pytest.fixture
def late() -> asyncio.Event:
    """Set when a look that was given up was answered after all."""
    return asyncio.Event()


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[GatewayClient]:
    """The road to the scripted Gateway."""
    async with leading_to(gateway.url) as road:
        yield road


@pytest.fixture
async def session_api(client: GatewayClient, late: asyncio.Event) -> GatewaySessionApi:
    """Somebody who goes there."""
    session_api = GatewaySessionApi(client)
    session_api.on_late_check = late.set
    return session_api


def playing(gateway: ScriptedGateway, *answers: bytes) -> None:
    """Let the Gateway give these answers, the last one for ever."""
    left = list(answers)

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(left.pop(0) if len(left) > 1 else left[0])

    gateway.script = script


def said(gateway: ScriptedGateway) -> list[tuple[str, str, bytes]]:
    """What was asked: method, target, body."""
    return [(request.method, request.target, request.body) for request in gateway.requests]


# -- what goes out


@pytest.mark.parametrize(("compete", "word"), [(True, b"true"), (False, b"false")])
async def test_the_session_is_asked_for_in_ibkrs_words(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, compete: bool, word: bytes
) -> None:
    """Without `publish` IBKR answers 500; `compete` decides whether somebody else is thrown out."""
    playing(gateway, answering(200, b"{}"))

    status = await session_api.open_session(compete=compete)

    assert status == 200
    assert said(gateway) == [
        ("POST", "/v1/api/iserver/auth/ssodh/init", b'{"publish": true, "compete": ' + word + b"}"),
    ]
    assert gateway.requests[0].header("Content-Type") == "application/json"


async def test_the_other_calls_go_where_they_should(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """Six calls, no more; each under our own name, as IBKR's edge refuses the nameless."""
    playing(gateway, answering(200, SESSION.encode()))

    await session_api.check_status()
    await session_api.tickle()
    await session_api.run_preflight()
    await session_api.login_is_paper()
    await session_api.log_out()

    assert said(gateway) == [
        ("GET", "/v1/api/iserver/auth/status", b""),
        ("GET", "/v1/api/tickle", b""),
        ("GET", "/v1/api/iserver/accounts", b""),
        ("GET", "/v1/api/portfolio/accounts", b""),
        ("GET", "/v1/api/sso/validate", b""),
        ("POST", "/v1/api/logout", b"{}"),
    ]
    assert all((request.header("User-Agent") or "").startswith("ibkr-bridge/") for request in gateway.requests)


# -- how answers are read


@pytest.mark.parametrize(
    ("status", "body", "saw"),
    [
        (200, SESSION, Observation.SESSION),
        (200, SESSION.replace("}", ',"established":true}'), Observation.SESSION),
        (200, SESSION.replace("}", ',"established":false}'), Observation.ESTABLISHING),
        (200, SESSION.replace('"competing":false', '"competing":true'), Observation.COMPETING),
        (200, '{"authenticated":false,"connected":true}', Observation.LOGIN_ONLY),
        (200, '{"authenticated":false,"connected":false}', Observation.NO_LOGIN),
        (200, '{"error":"no session"}', Observation.NO_LOGIN),
        (401, "", Observation.NO_LOGIN),
        (401, "Unauthorized", Observation.NO_LOGIN),
        (404, "Access Denied", Observation.FORBIDDEN),
        (404, "Access Denied\r\n", Observation.FORBIDDEN),
        (404, "<html>Resource not found</html>", Observation.UNUSABLE_RESPONSE),
        (429, '{"error":"Too many requests"}', Observation.RATE_LIMITED),
        (500, "", Observation.UNUSABLE_RESPONSE),
        (503, "<html></html>", Observation.UNUSABLE_RESPONSE),
        (302, "", Observation.UNUSABLE_RESPONSE),
        (200, "", Observation.UNUSABLE_RESPONSE),
        (200, "[" * 50_000, Observation.UNUSABLE_RESPONSE),
        (200, "1" * 5_000, Observation.UNUSABLE_RESPONSE),
        (200, "[1,2]", Observation.UNUSABLE_RESPONSE),
        (200, '{"a":' + '"' + "x" * 300_000 + '"}', Observation.UNUSABLE_RESPONSE),
    ],
)
async def test_what_a_look_shows(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, status: int, body: str, saw: Observation
) -> None:
    """One word for each answer there is."""
    playing(gateway, answering(status, body.encode()))

    assert await session_api.check_status() is saw


async def test_a_204_is_no_status(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """With the stray end of chunks behind it."""
    playing(gateway, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    assert await session_api.check_status() is Observation.UNUSABLE_RESPONSE


async def test_bytes_that_are_no_text_are_an_observation(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """JSON wants UTF-8; whatever else comes must not crash the keeper."""
    playing(gateway, answering(200, b"\xff\xfe\x00\x80{"), answering(200, b"\x80"), answering(200, b"{\xc3\x28}"))

    assert [await session_api.check_status() for _ in range(3)] == [Observation.UNUSABLE_RESPONSE] * 3


@pytest.mark.parametrize(
    ("ending", "saw"), [("hang_up", Observation.UNUSABLE_RESPONSE), ("never_respond", Observation.TIMEOUT)]
)
async def test_no_answer_is_seen_too(
    gateway: ScriptedGateway,
    session_api: GatewaySessionApi,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    saw: Observation,
) -> None:
    """Broken off is not the same as silent."""
    monkeypatch.setattr(room, "CHECK_TIMEOUT_S", 0.2)

    async def script(_: Request, connection: Connection) -> None:
        await (connection.close() if ending == "hang_up" else never_respond())

    gateway.script = script

    assert await session_api.check_status() is saw


async def test_nobody_there_is_seen_too(unused_tcp_port: int, late: asyncio.Event) -> None:
    """No connection is a fact about the Gateway, not about the session."""
    async with leading_to(f"https://127.0.0.1:{unused_tcp_port}") as road:
        session_api = GatewaySessionApi(road)

        seen = await session_api.check_status()

        assert seen is Observation.NO_CONNECTION
        assert (
            await session_api.open_session(compete=True),
            await session_api.tickle(),
            await session_api.log_out(),
        ) == (0, None, 0)
        assert await session_api.run_preflight() is None
        assert not late.is_set()


async def test_the_last_status_is_kept_for_those_who_ask_in_ibkrs_shape(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """An error page in between does not replace it."""
    playing(
        gateway, answering(200, SESSION.encode()), answering(500, b'{"error":"x"}'), answering(429, b'{"error":"y"}')
    )

    for _ in range(3):
        await session_api.check_status()

    assert session_api.status_body == {"authenticated": True, "connected": True, "competing": False}


# -- a look that was given up


async def test_a_late_answer_is_told(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, late: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It means that the Gateway answers again."""
    monkeypatch.setattr(room, "CHECK_TIMEOUT_S", 0.2)
    go = asyncio.Event()

    async def script(_: Request, connection: Connection) -> None:
        await go.wait()
        await connection.send(answering(200, SESSION.encode()))

    gateway.script = script
    seen = await session_api.check_status()
    before = late.is_set()

    go.set()
    async with asyncio.timeout(PATIENCE):
        await late.wait()

    assert (seen, before) == (Observation.TIMEOUT, False)


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_answer_in_time_wakes_nobody(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, late: asyncio.Event, status: int
) -> None:
    """The keeper would look without end otherwise."""
    playing(gateway, answering(status, b"{}"))

    await session_api.check_status()

    assert not late.is_set()


async def test_an_answer_that_breaks_off_wakes_nobody(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, late: asyncio.Event
) -> None:
    """It was seen already."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.close()

    gateway.script = script

    await session_api.check_status()

    assert not late.is_set()


async def test_a_huge_answer_is_let_go(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, client: GatewayClient
) -> None:
    """Nobody waits for its end, and the next look is a good one."""
    playing(gateway, answering(200, b'{"x":"' + b"x" * 400_000 + b'"}'), answering(200, SESSION.encode()))

    seen = [await session_api.check_status(), await session_api.check_status()]
    async with asyncio.timeout(PATIENCE):
        while client.abandoned:
            await asyncio.sleep(0)

    assert seen == [Observation.UNUSABLE_RESPONSE, Observation.SESSION]


# -- the rest


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'"session"', b'{"error":"no session"}', b"<html>", b"[" * 50_000]
)
async def test_a_tickle_without_a_session_is_none(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, body: bytes
) -> None:
    """Clients read its `session`; what has none is no tickle."""
    playing(gateway, answering(200, body))

    assert await session_api.tickle() is None


async def test_a_tickle_brings_the_session(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """With everything else that stands in it."""
    playing(gateway, answering(200, b'{"session":"abc","ssoExpires":5}'))

    assert await session_api.tickle() == {"session": "abc", "ssoExpires": 5}


async def test_a_tickle_that_was_refused_is_none_whatever_it_says(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """The body of an error may look like one."""
    playing(gateway, answering(500, b'{"session":"abc"}'))

    assert await session_api.tickle() is None


async def test_the_preflight_goes_on_when_its_first_call_fails(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """Without the second the portfolio would stay empty."""
    playing(gateway, answering(500, b""), answering(200, b"[]"))

    accounts = await session_api.run_preflight()

    assert accounts is None
    assert [request.target.rsplit("/api", 1)[1] for request in gateway.requests] == [
        "/iserver/accounts",
        "/portfolio/accounts",
    ]


async def test_the_preflight_reads_the_accounts(sim: Simulator, late: asyncio.Event) -> None:
    """And whether IBKR calls them paper."""
    async with leading_to(sim.url) as road:
        accounts = await GatewaySessionApi(road).run_preflight()

    assert accounts == Accounts(frozenset({"DU1234567", "DU7654321"}), paper=True)


@pytest.mark.parametrize("live", [True, False])
async def test_the_login_tells_what_kind_it_is(late: asyncio.Event, live: bool) -> None:
    """Whatever its accounts are called."""
    async with Simulator(live=live) as sim, leading_to(sim.url) as road:
        assert await GatewaySessionApi(road).login_is_paper() is not live


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b'{"RESULT":false}'), (500, b'{"LOGIN_TYPE":2}'), (429, b'{"LOGIN_TYPE":1}'), (200, b"<html>"), (200, b"")],
)
async def test_a_kind_of_login_that_is_not_told_is_unknown(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, status: int, body: bytes
) -> None:
    """A failure is no evidence, for either."""
    playing(gateway, answering(status, body))

    assert await session_api.login_is_paper() is None


async def test_the_kind_of_login_is_not_waited_for_long(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready is said only after it: two seconds are all it may cost."""
    assert room.TICKLE_TIMEOUT_S == 2.0
    monkeypatch.setattr(room, "TICKLE_TIMEOUT_S", 0.1)
    gateway.script = never_respond

    async with asyncio.timeout(4.0):  # less than the five seconds of a look
        assert await session_api.login_is_paper() is None


@pytest.mark.parametrize(
    ("status", "body", "is_denied"),
    [
        (404, b"Access Denied", True),
        (404, b" Access Denied\n", True),
        (403, b"Access Denied", False),
        (404, b"", False),
    ],
)
def test_the_gateways_own_refusal_is_a_404(status: int, body: bytes, is_denied: bool) -> None:
    """Not the 403 that people look for."""
    assert is_access_denied(status, body) is is_denied


async def test_large_answers_are_let_go() -> None:
    """Whatever was asked: until then they would hold the Gateway's places."""
    given: list[FakeBodyStream] = []

    class Talkative:
        async def send(self, call: Call, *, timeout_s: float | None = None, on_released: OnReleased = noop) -> Response:
            given.append(FakeBodyStream())
            return Response(200, {}, b'{"accounts":["DU1"', given[-1])

    session_api = GatewaySessionApi(Talkative())
    await session_api.check_status()
    told = (await session_api.tickle(), await session_api.run_preflight(), await session_api.login_is_paper())
    await session_api.warm_up_orders()

    assert told == (None, None, None)
    assert [(body_stream.read_count, body_stream.close_count) for body_stream in given] == [(0, 1)] * 6


async def test_the_orders_are_looked_at_beforehand(sim: Simulator) -> None:
    """Their first list is empty, and says so."""
    async with leading_to(sim.url) as road:
        session_api = GatewaySessionApi(road)
        await session_api.warm_up_orders()

    assert [seen.target for seen in sim.gateway_calls("orders")] == ["/v1/api/iserver/account/orders"]
    assert sim.market.world.sessions.brokerage is not None
    assert sim.market.world.sessions.brokerage.orders_requested_at is not None
