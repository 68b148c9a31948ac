"""The simulated api.ibkr.com: what a signed-in program gets, over real sockets."""

from __future__ import annotations

import ssl
from datetime import timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from ibkr_bridge.sim.api_host import ApiHost
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import API, DirectClient


async def test_a_handshake_gives_a_token_that_the_client_can_check(anna: DirectClient, clock: ManualClock) -> None:
    reply = await anna.sign_in()
    assert reply.status == 200
    assert reply.body["live_session_token_signature"] == anna.token_signature()
    assert reply.body["live_session_token_expiration"] == int((clock.utc().timestamp() + 86400) * 1000)


async def test_a_signed_call_is_answered_by_the_market_of_its_user(anna: DirectClient) -> None:
    await anna.sign_in()
    reply = await anna.call("GET", "/portfolio/accounts")
    assert reply.status == 200
    assert [row["id"] for row in reply.body] == list(anna.registration.world.accounts)


async def test_two_users_have_markets_of_their_own(host: ApiHost, connect: Connect) -> None:
    anna = connect(host.register("anna", "ANNASKEYX", accounts=("DU1",)))
    ben = connect(host.register("ben", "BENSKEYXX", accounts=("DU2",)))
    for client in (anna, ben):
        await client.sign_in()
    assert [row["id"] for row in (await anna.call("GET", "/portfolio/accounts")).body] == ["DU1"]
    assert [row["id"] for row in (await ben.call("GET", "/portfolio/accounts")).body] == ["DU2"]
    await anna.call("POST", "/iserver/auth/ssodh/init", json={"publish": True, "compete": True})
    assert anna.registration.world.sessions.brokerage is not None
    assert ben.registration.world.sessions.brokerage is None


async def test_an_order_goes_through(anna: DirectClient, clock: ManualClock) -> None:
    await anna.sign_in()
    await anna.call("POST", "/iserver/auth/ssodh/init", json={"publish": True, "compete": True})
    clock.advance(1)
    await anna.call("GET", "/iserver/accounts")
    account = anna.registration.world.accounts[0]
    ticket = {"conid": 265598, "orderType": "LMT", "price": 1, "side": "BUY", "quantity": 1, "tif": "DAY"}
    reply = await anna.call("POST", f"/iserver/account/{account}/orders", json={"orders": [ticket]})
    assert reply.status == 200
    assert reply.body[0]["id"] or reply.body[0]["order_id"]


async def test_a_call_before_the_handshake_is_refused(anna: DirectClient) -> None:
    anna.live_session_token = b"x" * 20
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401


async def test_a_call_with_a_wrong_token_is_refused(anna: DirectClient) -> None:
    await anna.sign_in()
    anna.live_session_token = b"x" * 20
    reply = await anna.call("GET", "/portfolio/accounts")
    assert reply.status == 401
    assert reply.body["statusCode"] == 401


async def test_the_log_shows_what_arrived(host: ApiHost, anna: DirectClient) -> None:
    await anna.sign_in()
    await anna.call("GET", "/portfolio/accounts")
    assert [call.method for call in host.calls("oauth")] == ["POST"]
    assert len(await host.wait_for_calls("/portfolio/accounts")) == 1


async def test_the_stream_wants_the_session_of_a_tickle(anna: DirectClient) -> None:
    await anna.sign_in()
    url = f"{anna.host.url}{API}/ws?oauth_token={anna.registration.access_token}"
    async with anna.session.ws_connect(url, headers={"Cookie": "api=guess"}) as socket:
        assert "waiting for session" in await socket.receive_str()
    cookie = (await anna.call("POST", "/tickle")).body["session"]
    async with anna.session.ws_connect(url, headers={"Cookie": f"api={cookie}"}) as socket:
        assert "success" in await socket.receive_str()


async def test_a_client_can_check_the_certificate(clock: ManualClock) -> None:
    async with ApiHost(clock=clock, tls=True) as host:
        trust = ssl.create_default_context(cafile=host.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            anna = DirectClient(host, host.register("anna"), session, clock)
            assert (await anna.sign_in()).status == 200
            assert (await anna.call("GET", "/portfolio/accounts")).status == 200
        async with aiohttp.ClientSession() as suspicious:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await suspicious.get(host.url)


async def test_the_date_of_an_answer_is_ibkrs(anna: DirectClient, host: ApiHost, clock: ManualClock) -> None:
    host.rules.clock_skew_s = 90
    reply = await anna.sign_in()
    assert parsedate_to_datetime(reply.headers["Date"]) == clock.utc() + timedelta(seconds=90)
