"""From a request to its answer, with faults on the way."""

from __future__ import annotations

import asyncio

import aiohttp

from ibkr_bridge.sim.api_host import ApiHost
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import API, DirectClient


async def test_a_held_call_gets_an_empty_503_after_ten_seconds(
    anna: DirectClient, host: ApiHost, clock: ManualClock
) -> None:
    await anna.sign_in()
    anna.registration.market.faults.add("silence", path="/portfolio")
    call = asyncio.create_task(anna.call("GET", "/portfolio/accounts"))
    await clock.wait_for_sleepers(1)
    clock.advance(9)
    assert not call.done()
    clock.advance(1)
    reply = await call
    assert (reply.status, reply.text) == (503, "")


async def test_a_short_delay_stays_within_the_limit(anna: DirectClient, clock: ManualClock) -> None:
    await anna.sign_in()
    anna.registration.market.faults.add("delay", seconds=2)
    call = asyncio.create_task(anna.call("GET", "/portfolio/accounts"))
    await clock.wait_for_sleepers(2)
    clock.advance(2)
    assert (await call).status == 200


async def test_a_fault_of_the_host_hits_every_user_and_one_of_a_user_hits_one(host: ApiHost, connect: Connect) -> None:
    anna, ben = connect(host.register("anna")), connect(host.register("ben"))
    for client in (anna, ben):
        await client.sign_in()
    host.faults.add("status", status=500, times=2)
    assert [(await client.call("GET", "/portfolio/accounts")).status for client in (anna, ben)] == [500, 500]
    ben.registration.market.faults.add("status", status=502)
    assert [(await client.call("GET", "/portfolio/accounts")).status for client in (anna, ben)] == [200, 502]


async def test_a_handshake_can_be_spoilt(anna: DirectClient, host: ApiHost) -> None:
    host.faults.add("status", path="live_session_token", status=503, times=1)
    assert (await anna.sign_in()).status == 503
    assert (await anna.sign_in()).status == 200


async def test_a_held_handshake_ends_with_the_host(anna: DirectClient, host: ApiHost) -> None:
    host.faults.add("silence", path="live_session_token")
    call = asyncio.create_task(anna.sign_in())
    await host.wait_for_calls("live_session_token")
    await host.stop()
    assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], aiohttp.ClientError)
    host.faults.clear()
    await host.start()
    assert (await anna.sign_in()).status == 200


async def test_unknown_pages_are_not_found(anna: DirectClient) -> None:
    await anna.sign_in()
    assert (await anna.send("GET", "/")).status == 404
    assert (await anna.send("POST", f"{API}/oauth/unknown")).status == 404
    assert (await anna.call("GET", "/no/such/call")).status == 404


async def test_a_trace_number_changes_each_time(anna: DirectClient) -> None:
    anna.bend = lambda parameters: parameters.update(oauth_consumer_key="OTHER")
    errors = {(await anna.sign_in()).body["error"] for _ in range(3)}
    assert len(errors) == 3


async def test_a_socket_of_an_unknown_token_is_refused(anna: DirectClient) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    anna.headers |= headers
    assert (await anna.send("GET", f"{API}/ws?oauth_token=0")).status == 401


async def test_a_socket_without_a_live_session_waits_for_one(anna: DirectClient) -> None:
    url = f"{anna.host.url}{API}/ws?oauth_token={anna.registration.access_token}"
    async with anna.session.ws_connect(url) as socket:
        assert "waiting for session" in await socket.receive_str()
