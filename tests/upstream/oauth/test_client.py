"""The client of IBKR's Web API: every call is signed, a read survives the end of a token, a change is sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.upstream.oauth.client import ApiClient, DeferredRelease
from tests.harness import with_timeout
from tests.oauth.credentials import ACCESS_TOKEN
from tests.upstream.gateway.scripted_gateway import Connection, Request, never_respond, respond_ok
from tests.upstream.oauth.scripted_api import ScriptedApi, new_access, new_api_client, new_http, response

READ = Call("GET", "/v1/api/iserver/marketdata/snapshot?conids=265598&fields=31,84", request_headers(()))
CHANGE = Call("POST", "/v1/api/iserver/account/DU1/orders", request_headers(()), b"{}", is_change=True)


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """A far side that answers signed calls with `OK`."""
    scripted = ScriptedApi(respond_ok)
    async with scripted.server:
        yield scripted


@pytest.fixture
async def client(api: ScriptedApi) -> AsyncIterator[ApiClient]:
    """Its client."""
    new_client = new_api_client(api)
    yield new_client
    await new_client.close()


async def send(client: ApiClient, call: Call = READ) -> Response:
    """Send a call."""
    return await with_timeout(client.send(call))


async def test_calls_are_signed_with_one_token(api: ScriptedApi, client: ApiClient) -> None:
    """Each has a nonce of its own; the query is not signed, and no cookie is sent."""
    responses = [await send(client, call) for call in (READ, CHANGE, READ)]

    assert [each.status for each in responses] == [200] * 3
    assert (api.handshakes, api.refused, len(set(api.nonces))) == (1, 0, 3)
    assert [each.header("Cookie") for each in api.server.requests] == [None] * 4
    assert [each.header("Host") for each in api.server.requests] == [f"127.0.0.1:{api.server.port}"] * 4


async def test_a_post_without_a_body_has_its_length(api: ScriptedApi, client: ApiClient) -> None:
    """IBKR answers 411 to a POST without it, the handshake included."""
    await send(client, Call("POST", "/v1/api/tickle", request_headers(())))

    assert [each.header("Content-Length") for each in api.server.requests] == ["0", "0"]


async def test_a_read_is_sent_again_after_a_401(api: ScriptedApi, client: ApiClient) -> None:
    """The token had ended early; its caller notices nothing."""
    await send(client)
    api.tokens.clear()

    assert (await send(client)).status == 200
    assert (api.handshakes, api.refused) == (2, 1)


async def test_many_reads_that_meet_the_end_of_a_token_make_one_new_one(api: ScriptedApi, client: ApiClient) -> None:
    """Two tokens could end each other."""
    await send(client)
    api.tokens.clear()

    responses = await with_timeout(asyncio.gather(*(send(client) for _ in range(8))))

    assert {each.status for each in responses} == {200}
    assert api.handshakes == 2


async def test_a_change_is_never_sent_twice(api: ScriptedApi, client: ApiClient) -> None:
    """Its caller gets the 401, which shows that nothing read it; after the next read there is a new token."""
    await send(client)
    api.tokens.clear()

    assert (await send(client, CHANGE)).status == 401
    assert ([each.target for each in api.calls].count(CHANGE.target), api.handshakes) == (1, 1)
    await send(client)
    assert (await send(client, CHANGE)).status == 200
    assert api.handshakes == 2


async def test_a_stale_session_is_replaced_as_well(api: ScriptedApi, client: ApiClient) -> None:
    """IBKR answers 410 once the outer session is over."""
    statuses = iter((410, 200))

    async def answer(_: Request, connection: Connection) -> None:
        await connection.send(response(next(statuses)))

    api.answer = answer

    assert (await send(client)).status == 200
    assert api.handshakes == 2


async def test_a_refusal_that_stays_does_not_make_token_after_token(api: ScriptedApi, client: ApiClient) -> None:
    """It concerns the call, and every further token could harm others."""

    async def refuse(_: Request, connection: Connection) -> None:
        await connection.send(response(401))

    api.answer = refuse

    for _ in range(5):
        assert (await send(client)).status == 401
    assert api.handshakes == 2


async def test_a_401_now_and_then_is_noticed_by_no_read(api: ScriptedApi, client: ApiClient) -> None:
    """Each read is sent once more at most; only the first one makes another token."""
    count = 0

    async def refuse_each_third(_: Request, connection: Connection) -> None:
        nonlocal count
        count += 1
        await connection.send(response(401 if count % 3 == 0 else 200))

    api.answer = refuse_each_third

    assert [(await send(client)).status for _ in range(12)] == [200] * 12
    assert (api.handshakes, count) == (2, 17)


@pytest.mark.parametrize("call", [READ, CHANGE], ids=["read", "change"])
async def test_without_access_nothing_is_sent_and_the_slot_is_free(
    api: ScriptedApi, client: ApiClient, call: Call
) -> None:
    """The error says so; the state of the session says why."""
    api.rules.handshake_refusals = [response(401, {"error": "id: 1, error: invalid consumer"})]
    released: list[bool] = []

    with pytest.raises(GatewayUnreachable, match="no access"):
        await with_timeout(client.send(call, on_released=lambda: released.append(True)))

    assert (api.calls, released) == ([], [True])


async def test_a_release_is_reported_once_after_both_sendings(api: ScriptedApi, client: ApiClient) -> None:
    """The call holds its slot until the second sending is answered."""
    await send(client)
    api.tokens.clear()
    released: list[int] = []

    await with_timeout(client.send(READ, on_released=lambda: released.append(api.handshakes)))

    assert released == [2]


async def test_errors_name_the_api_and_no_token(api: ScriptedApi, client: ApiClient) -> None:
    """A person looks at the right place, and a log has no secret."""
    await send(client)
    api.answer = never_respond

    with pytest.raises(GatewayTimeout) as found:
        await client.send(READ, timeout_s=0.05)

    assert str(found.value) == "127.0.0.1 did not answer in time"
    assert "Gateway" not in f"{found.value} {found.value.hint}"


async def test_the_websocket_is_opened_with_token_and_session(api: ScriptedApi) -> None:
    """The token stands in the address, which no error shows."""
    client = new_api_client(api, session_id="abcdef0123")

    with pytest.raises(GatewayProtocolError) as found:
        async with client.open_stream():
            pass

    [request] = api.calls
    assert request.target == f"/v1/api/ws?oauth_token={ACCESS_TOKEN}"
    assert (request.header("Cookie"), bool(request.header("User-Agent"))) == ("api=abcdef0123", True)
    assert ACCESS_TOKEN not in f"{found.value!r} {found.value.__cause__!r}"
    await client.close()


async def test_a_mismatch_is_never_used(api: ScriptedApi) -> None:
    """IBKR, or somebody in between, has derived another token."""
    api.rules.mismatch = True
    http = new_http(api)
    access = new_access(api, http, SystemClock(), Bus())
    client = new_api_client(api, access, http)

    with pytest.raises(GatewayUnreachable):
        await send(client)

    assert access.problem is not None
    assert (access.problem.refusal, access.current, api.calls) == (Refusal.MISMATCH, None, [])
    await client.close()


def test_a_deferred_release_waits_for_the_decision() -> None:
    """Whichever comes first."""
    released: list[int] = []
    first, second = DeferredRelease(lambda: released.append(1)), DeferredRelease(lambda: released.append(2))

    first()
    first.open()
    second.open()
    second()

    assert released == [1, 2]
