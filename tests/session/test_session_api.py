"""The calls of the keeper to the Gateway, byte for byte, and how each response is read. No response raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ibkr_bridge.calls.messages import Call, OnReleased, Response, noop
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session import session_api as module
from ibkr_bridge.session.gateway_session_api import GatewaySessionApi
from ibkr_bridge.session.preflight import Accounts, PreflightOutcome, is_access_denied
from ibkr_bridge.session.session_api import OpeningResponse, PreflightResult
from ibkr_bridge.session.state_machine import Observation
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from tests.body_stream import FakeBodyStream
from tests.upstream.gateway.scripted_gateway import TEST_TIMEOUT_S, Connection, Request, ScriptedGateway, never_respond

SESSION = '{"authenticated":true,"connected":true,"competing":false}'


def raw_response(status: int, body: bytes, kind: str = "application/json") -> bytes:
    """The bytes of a response."""
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def open_client(url: str) -> AsyncIterator[GatewayClient]:
    """A client of the Gateway at this address; it is closed at the end."""
    client = GatewayClient(url, CookieStore(None, Bus(), Redactor(), SystemClock()), TEST_TIMEOUT_S, tls=False)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    """A scripted Gateway."""
    async with ScriptedGateway() as running:
        yield running


@pytest.fixture
def late_check() -> asyncio.Event:
    """Set when a check that timed out gets a late response."""
    return asyncio.Event()


@pytest.fixture
async def client(gateway: ScriptedGateway) -> AsyncIterator[GatewayClient]:
    """A client of the scripted Gateway."""
    async with open_client(gateway.url) as client:
        yield client


@pytest.fixture
async def session_api(client: GatewayClient, late_check: asyncio.Event) -> GatewaySessionApi:
    """The session's calls, sent to the scripted Gateway."""
    session_api = GatewaySessionApi(client)
    session_api.on_late_check = late_check.set
    return session_api


def script_responses(gateway: ScriptedGateway, *responses: bytes) -> None:
    """Let the Gateway send these responses in order, the last one repeatedly."""
    remaining = list(responses)

    async def script(_: Request, connection: Connection) -> None:
        await connection.send(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    gateway.script = script


def sent_calls(gateway: ScriptedGateway) -> list[tuple[str, str, bytes]]:
    """The method, target and body of each call that the Gateway received."""
    return [(request.method, request.target, request.body) for request in gateway.requests]


# -- the calls


@pytest.mark.parametrize(("compete", "json_value"), [(True, b"true"), (False, b"false")])
async def test_the_session_is_opened_with_the_body_that_ibkr_expects(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, compete: bool, json_value: bytes
) -> None:
    """Without `publish` IBKR answers 500; `compete` decides whether another program loses its session."""
    script_responses(gateway, raw_response(200, b"{}"))

    response = await session_api.open_session(compete=compete)

    assert response == OpeningResponse(200)
    assert sent_calls(gateway) == [
        ("POST", "/v1/api/iserver/auth/ssodh/init", b'{"publish": true, "compete": ' + json_value + b"}"),
    ]
    assert gateway.requests[0].header("Content-Type") == "application/json"


async def test_each_method_sends_its_calls(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """Six calls, all with our own User-Agent, since IBKR's edge refuses calls without one."""
    script_responses(gateway, raw_response(200, SESSION.encode()))

    await session_api.check_status()
    await session_api.tickle()
    await session_api.run_preflight()
    await session_api.login_is_paper()
    await session_api.log_out()

    assert sent_calls(gateway) == [
        ("GET", "/v1/api/iserver/auth/status", b""),
        ("GET", "/v1/api/tickle", b""),
        ("GET", "/v1/api/iserver/accounts", b""),
        ("GET", "/v1/api/portfolio/accounts", b""),
        ("GET", "/v1/api/sso/validate", b""),
        ("POST", "/v1/api/logout", b"{}"),
    ]
    assert all((request.header("User-Agent") or "").startswith("ibkr-bridge/") for request in gateway.requests)


# -- how responses are read


@pytest.mark.parametrize(
    ("status", "body", "observation"),
    [
        (200, SESSION, Observation.SESSION),
        (200, SESSION.replace("}", ',"established":true}'), Observation.SESSION),
        (200, SESSION.replace("}", ',"established":false}'), Observation.ESTABLISHING),
        (200, SESSION.replace('"competing":false', '"competing":true'), Observation.COMPETING),
        (200, '{"authenticated":false,"connected":true}', Observation.LOGIN_ONLY),
        (200, '{"authenticated":false,"connected":false}', Observation.UNCLEAR),
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
async def test_each_response_to_a_check_is_an_observation(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, status: int, body: str, observation: Observation
) -> None:
    """Every kind of response has one."""
    script_responses(gateway, raw_response(status, body.encode()))

    assert await session_api.check_status() is observation


async def test_a_204_is_an_unusable_response(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """The Gateway sends the end of a chunked body after it."""
    script_responses(gateway, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    assert await session_api.check_status() is Observation.UNUSABLE_RESPONSE


async def test_a_body_that_is_not_utf_8_is_an_unusable_response(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """JSON must be UTF-8; other bytes must not crash the keeper."""
    script_responses(
        gateway, raw_response(200, b"\xff\xfe\x00\x80{"), raw_response(200, b"\x80"), raw_response(200, b"{\xc3\x28}")
    )

    assert [await session_api.check_status() for _ in range(3)] == [Observation.UNUSABLE_RESPONSE] * 3


@pytest.mark.parametrize(
    ("ending", "observation"), [("close", Observation.UNUSABLE_RESPONSE), ("never_respond", Observation.TIMEOUT)]
)
async def test_a_check_without_a_response_is_an_observation(
    gateway: ScriptedGateway,
    session_api: GatewaySessionApi,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    observation: Observation,
) -> None:
    """A closed connection and silence are different observations."""
    monkeypatch.setattr(module, "CHECK_TIMEOUT_S", 0.2)

    async def script(_: Request, connection: Connection) -> None:
        await (connection.close() if ending == "close" else never_respond())

    gateway.script = script

    assert await session_api.check_status() is observation


async def test_a_port_without_a_listener_is_an_observation(unused_tcp_port: int, late_check: asyncio.Event) -> None:
    """The refused connection says something about the Gateway, not about the session."""
    async with open_client(f"https://127.0.0.1:{unused_tcp_port}") as client:
        session_api = GatewaySessionApi(client)

        observation = await session_api.check_status()

        assert observation is Observation.NO_CONNECTION
        assert (
            await session_api.open_session(compete=True),
            await session_api.tickle(),
            await session_api.log_out(),
        ) == (OpeningResponse(0), None, 0)
        assert (await session_api.run_preflight()).outcome is PreflightOutcome.FAILED
        assert await session_api.is_login_alive() is None
        assert not late_check.is_set()


async def test_the_last_status_is_kept_in_the_form_of_ibkr(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """An error in between does not replace it."""
    script_responses(
        gateway,
        raw_response(200, SESSION.encode()),
        raw_response(500, b'{"error":"x"}'),
        raw_response(429, b'{"error":"y"}'),
    )

    for _ in range(3):
        await session_api.check_status()

    assert session_api.status_body == {"authenticated": True, "connected": True, "competing": False}


async def test_the_words_and_the_hint_are_those_of_the_last_check(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, unused_tcp_port: int
) -> None:
    """Before the first check nothing is known; without a response IBKR says nothing."""
    at_first = (session_api.status_message, session_api.status_body, session_api.problem_hint)
    script_responses(gateway, raw_response(200, SESSION.replace("}", ',"message":"approve it"}').encode()))
    await session_api.check_status()
    words = session_api.status_message
    async with open_client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        session_api._upstream = client
        await session_api.check_status()

    assert at_first == ("", {}, "")
    assert words == "approve it"
    assert (session_api.status_message, session_api.problem_hint) == ("", GatewayUnreachable.hint)


# -- a check that timed out


async def test_a_late_response_to_a_check_is_reported(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, late_check: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late response shows that the Gateway answers again."""
    monkeypatch.setattr(module, "CHECK_TIMEOUT_S", 0.2)
    may_respond = asyncio.Event()

    async def script(_: Request, connection: Connection) -> None:
        await may_respond.wait()
        await connection.send(raw_response(200, SESSION.encode()))

    gateway.script = script
    observation = await session_api.check_status()
    is_set_before = late_check.is_set()

    may_respond.set()
    async with asyncio.timeout(TEST_TIMEOUT_S):
        await late_check.wait()

    assert (observation, is_set_before) == (Observation.TIMEOUT, False)


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_a_response_in_time_is_not_reported_as_late(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, late_check: asyncio.Event, status: int
) -> None:
    """Otherwise each check would cause the next one at once."""
    script_responses(gateway, raw_response(status, b"{}"))

    await session_api.check_status()

    assert not late_check.is_set()


async def test_a_closed_connection_is_not_reported_as_late(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, late_check: asyncio.Event
) -> None:
    """The result of the check already shows it."""

    async def script(_: Request, connection: Connection) -> None:
        await connection.close()

    gateway.script = script

    await session_api.check_status()

    assert not late_check.is_set()


async def test_a_large_response_to_a_check_is_closed(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, client: GatewayClient
) -> None:
    """The check does not wait for its end, and the next check succeeds."""
    script_responses(
        gateway, raw_response(200, b'{"x":"' + b"x" * 400_000 + b'"}'), raw_response(200, SESSION.encode())
    )

    observations = [await session_api.check_status(), await session_api.check_status()]
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while client.abandoned:
            await asyncio.sleep(0)

    assert observations == [Observation.UNUSABLE_RESPONSE, Observation.SESSION]


# -- the other calls


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'"session"', b'{"error":"no session"}', b"<html>", b"[" * 50_000]
)
async def test_a_tickle_without_a_session_is_none(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, body: bytes
) -> None:
    """Clients read its `session`, so a response without one is useless."""
    script_responses(gateway, raw_response(200, body))

    assert await session_api.tickle() is None


async def test_a_tickle_returns_the_session(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """The result also has all other members of the response."""
    script_responses(gateway, raw_response(200, b'{"session":"abc","ssoExpires":5}'))

    assert await session_api.tickle() == {"session": "abc", "ssoExpires": 5}


async def test_a_refused_tickle_is_none(gateway: ScriptedGateway, session_api: GatewaySessionApi) -> None:
    """The body of an error may look like a tickle."""
    script_responses(gateway, raw_response(500, b'{"session":"abc"}'))

    assert await session_api.tickle() is None


async def test_the_preflight_goes_on_when_its_first_call_fails(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """Without the second call the portfolio would stay empty."""
    script_responses(gateway, raw_response(500, b""), raw_response(200, b"[]"))

    result = await session_api.run_preflight()

    assert result == PreflightResult(PreflightOutcome.FAILED)
    assert [request.target.rsplit("/api", 1)[1] for request in gateway.requests] == [
        "/iserver/accounts",
        "/portfolio/accounts",
    ]


@pytest.mark.parametrize(
    ("status", "body", "outcome", "call_count"),
    [
        (400, b'{"error":"Bad Request: no bridge"}', PreflightOutcome.REFUSED, 1),
        (200, b'{"error":"no bridge"}', PreflightOutcome.REFUSED, 1),
        (200, b'{"error":"try later"}', PreflightOutcome.FAILED, 2),
        (200, b'["DU1"]', PreflightOutcome.FAILED, 2),
        (503, b'{"accounts":["DU1"]}', PreflightOutcome.FAILED, 2),
        (200, b'{"accounts":[]}', PreflightOutcome.WORKED, 2),
    ],
)
async def test_a_preflight_without_accounts_shows_what_became_of_it(
    gateway: ScriptedGateway,
    session_api: GatewaySessionApi,
    status: int,
    body: bytes,
    outcome: PreflightOutcome,
    call_count: int,
) -> None:
    """A refused session needs no second call. An empty list names no accounts, but the call worked."""
    script_responses(gateway, raw_response(status, body), raw_response(200, b'[{"id":"DU2"}]'))

    assert await session_api.run_preflight() == PreflightResult(outcome)
    assert len(gateway.requests) == call_count


@pytest.mark.parametrize(
    ("tickle", "validate", "is_alive"),
    [
        ((200, b'{"session":"abc"}'), None, True),
        ((401, b""), None, False),
        ((503, b""), (200, b'{"RESULT":true}'), True),
        ((200, b"{}"), (401, b""), False),
        ((503, b""), (503, b""), None),
    ],
)
async def test_a_login_is_proved_by_a_tickle_or_else_by_validate(
    gateway: ScriptedGateway,
    session_api: GatewaySessionApi,
    tickle: tuple[int, bytes],
    validate: tuple[int, bytes] | None,
    is_alive: bool | None,
) -> None:
    """IBKR allows one /sso/validate a minute, so it is sent only if the tickle shows nothing."""
    script_responses(gateway, raw_response(*tickle), raw_response(*(validate or tickle)))

    assert await session_api.is_login_alive() is is_alive
    paths = ["/v1/api/tickle"] if validate is None else ["/v1/api/tickle", "/v1/api/sso/validate"]
    assert [request.target for request in gateway.requests] == paths


async def test_a_request_for_the_session_is_at_work_until_it_is_answered(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at a time would end each other's session, even if the first was given up here."""
    monkeypatch.setattr(module, "OPEN_TIMEOUT_S", 0.1)
    may_respond = asyncio.Event()

    async def script(_: Request, connection: Connection) -> None:
        await may_respond.wait()
        await connection.send(raw_response(200, b"{}"))

    gateway.script = script
    before = session_api.is_opening
    response = await session_api.open_session(compete=True)
    while_unanswered = session_api.is_opening
    may_respond.set()
    async with asyncio.timeout(TEST_TIMEOUT_S):
        while session_api.is_opening:
            await asyncio.sleep(0)

    assert (before, response, while_unanswered) == (False, OpeningResponse(0), True)


async def test_ibkrs_words_about_a_request_for_the_session_are_returned(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """A person may have to approve something."""
    script_responses(gateway, raw_response(500, b'{"error":"try later"}'))

    assert await session_api.open_session(compete=False) == OpeningResponse(500, "try later")


async def test_the_status_of_a_log_out_and_the_response_to_a_call_are_returned(
    gateway: ScriptedGateway, session_api: GatewaySessionApi
) -> None:
    """The keeper's caller sees whether IBKR accepted the log-out."""
    script_responses(gateway, raw_response(202, b"{}"), raw_response(500, b"no"))

    status = await session_api.log_out()
    response = await session_api.send(Call("POST", "/v1/api/x", body=b"{}", is_change=True))

    assert status == 202
    assert response is not None
    assert (response.status, response.body) == (500, b"no")


async def test_the_preflight_reads_the_accounts(sim: Simulator, late_check: asyncio.Event) -> None:
    """It also reads whether IBKR calls them paper accounts."""
    async with open_client(sim.url) as client:
        result = await GatewaySessionApi(client).run_preflight()

    accounts = Accounts(frozenset({"DU1234567", "DU7654321"}), paper=True, selected="DU1234567")
    assert result == PreflightResult(PreflightOutcome.WORKED, accounts)


@pytest.mark.parametrize("live", [True, False])
async def test_the_login_shows_whether_it_is_paper(late_check: asyncio.Event, live: bool) -> None:
    """The names of its accounts do not matter."""
    async with Simulator(live=live) as sim, open_client(sim.url) as client:
        assert await GatewaySessionApi(client).login_is_paper() is not live


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b'{"RESULT":false}'), (500, b'{"LOGIN_TYPE":2}'), (429, b'{"LOGIN_TYPE":1}'), (200, b"<html>"), (200, b"")],
)
async def test_a_login_without_a_type_is_unknown(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, status: int, body: bytes
) -> None:
    """A failed call is evidence for neither kind."""
    script_responses(gateway, raw_response(status, body))

    assert await session_api.login_is_paper() is None


async def test_reading_the_kind_of_login_has_a_short_timeout(
    gateway: ScriptedGateway, session_api: GatewaySessionApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is ready only after it, so it may take two seconds at most."""
    assert module.TICKLE_TIMEOUT_S == 2.0
    monkeypatch.setattr(module, "TICKLE_TIMEOUT_S", 0.1)
    gateway.script = never_respond

    async with asyncio.timeout(4.0):  # less than the timeout of a check, which is 5 s
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
def test_the_refusal_of_the_gateway_itself_is_a_404(status: int, body: bytes, is_denied: bool) -> None:
    """The Gateway answers `Access Denied` with 404, not with 403."""
    assert is_access_denied(status, body) is is_denied


async def test_large_responses_are_closed() -> None:
    """Each call closes them, since they would hold slots of the Gateway."""
    body_streams: list[FakeBodyStream] = []

    class LargeResponses:
        async def send(self, call: Call, *, timeout_s: float | None = None, on_released: OnReleased = noop) -> Response:
            body_streams.append(FakeBodyStream())
            return Response(200, {}, b'{"accounts":["DU1"', body_streams[-1])

    session_api = GatewaySessionApi(LargeResponses())
    await session_api.check_status()
    preflight = await session_api.run_preflight()
    results = (await session_api.tickle(), preflight.accounts, await session_api.login_is_paper())
    await session_api.warm_up_orders()

    assert results == (None, None, None)
    assert [(body_stream.read_count, body_stream.close_count) for body_stream in body_streams] == [(0, 1)] * 6


async def test_the_preflight_fetches_the_orders_once(sim: Simulator) -> None:
    """The first list of orders is empty, so the preflight fetches it once."""
    async with open_client(sim.url) as client:
        session_api = GatewaySessionApi(client)
        await session_api.warm_up_orders()

    assert [seen.target for seen in sim.gateway_calls("orders")] == ["/v1/api/iserver/account/orders"]
    assert sim.market.world.sessions.brokerage is not None
    assert sim.market.world.sessions.brokerage.orders_requested_at is not None
