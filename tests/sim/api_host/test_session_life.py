"""How sessions end at the public host."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from ibkr_bridge.sim.api_host import ApiHost
from tests.clocks import ManualClock
from tests.sim.api_host.direct_client import DirectClient

INIT = {"publish": True, "compete": True}


@pytest.fixture
async def ready(anna: DirectClient, clock: ManualClock) -> DirectClient:
    """Anna with a brokerage session."""
    await anna.sign_in()
    await anna.call("POST", "/iserver/auth/ssodh/init", json=INIT)
    clock.advance(1)
    return anna


async def is_authenticated(client: DirectClient) -> bool:
    return bool((await client.call("GET", "/iserver/auth/status")).body["authenticated"])


async def test_without_a_tickle_the_brokerage_session_ends_and_the_rest_stays(
    ready: DirectClient, clock: ManualClock
) -> None:
    clock.advance(320)
    assert await is_authenticated(ready)
    clock.advance(10)
    assert not await is_authenticated(ready)
    assert (await ready.call("GET", "/portfolio/accounts")).status == 200


async def test_tickles_keep_the_brokerage_session(ready: DirectClient, clock: ManualClock) -> None:
    for _ in range(20):
        clock.advance(300)
        assert (await ready.call("POST", "/tickle")).status == 200
    assert await is_authenticated(ready)


async def test_other_calls_may_keep_it_too(ready: DirectClient, host: ApiHost, clock: ManualClock) -> None:
    host.rules.only_tickles_keep_alive = False
    for _ in range(5):
        clock.advance(200)
        await ready.call("GET", "/portfolio/accounts")
    assert await is_authenticated(ready)


@pytest.mark.parametrize(("zone", "hours"), [("America/New_York", 12), ("Europe/Zurich", 6)])
async def test_midnight_of_the_region_ends_the_brokerage_session(
    ready: DirectClient, host: ApiHost, clock: ManualClock, zone: str, hours: int
) -> None:
    host.rules.region = ZoneInfo(zone)
    host.rules.idle_life_s = 1e9
    await ready.sign_in()
    clock.advance(hours * 3600 - 2)
    assert await is_authenticated(ready)
    clock.advance(1)
    assert not await is_authenticated(ready)
    assert (await ready.call("GET", "/portfolio/accounts")).status == 200


async def test_midnight_may_end_the_live_session_token_as_well(
    anna: DirectClient, host: ApiHost, clock: ManualClock
) -> None:
    host.rules.midnight_ends_session_token = True
    await anna.sign_in()
    clock.advance(12 * 3600)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401
    await anna.sign_in()
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200


async def test_a_logout_ends_the_session_and_not_the_tokens(ready: DirectClient) -> None:
    assert (await ready.call("POST", "/logout")).body == {"status": True}
    assert (await ready.call("POST", "/iserver/auth/ssodh/init", json=INIT)).status == 401
    assert (await ready.sign_in()).status == 200
    assert not await is_authenticated(ready)


async def test_after_a_logout_iserver_may_be_gone(ready: DirectClient, host: ApiHost) -> None:
    host.rules.is_gone_after_logout = True
    await ready.call("POST", "/logout")
    assert (await ready.call("POST", "/iserver/auth/ssodh/init", json=INIT)).status == 410
    assert (await ready.call("GET", "/portfolio/accounts")).status == 401


@pytest.mark.parametrize("outlives", [True, False])
async def test_whether_the_brokerage_session_outlives_the_token_is_a_switch(
    ready: DirectClient, host: ApiHost, *, outlives: bool
) -> None:
    host.rules.brokerage_outlives_session_token = outlives
    await ready.sign_in()
    assert await is_authenticated(ready) == outlives


async def test_whether_a_second_token_ends_the_first_is_a_switch(ready: DirectClient, host: ApiHost) -> None:
    host.rules.second_token_ends_first = False
    first = ready.live_session_token
    await ready.sign_in()
    assert await is_authenticated(ready)
    ready.live_session_token = first
    assert await is_authenticated(ready)


async def test_portfolio_calls_need_no_brokerage_session_and_never_compete(anna: DirectClient) -> None:
    anna.registration.market.start_competing()
    await anna.sign_in()
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200
    account = anna.registration.world.accounts[0]
    assert (await anna.call("GET", f"/portfolio/{account}/summary")).body
    assert anna.registration.world.sessions.is_competing
    assert (await anna.call("GET", "/iserver/accounts")).status == 400


async def test_a_session_can_be_established_late(anna: DirectClient, clock: ManualClock) -> None:
    anna.registration.world.sessions.establish_delay_s = 30
    await anna.sign_in()
    await anna.call("POST", "/iserver/auth/ssodh/init", json=INIT)
    clock.advance(1)
    body = (await anna.call("GET", "/iserver/auth/status")).body
    assert (body["authenticated"], body["established"]) == (True, False)
    clock.advance(30)
    assert (await anna.call("GET", "/iserver/auth/status")).body["established"]


async def test_a_session_can_be_refused(anna: DirectClient) -> None:
    anna.registration.market.faults.add("no-dh-token", times=1)
    await anna.sign_in()
    reply = await anna.call("POST", "/iserver/auth/ssodh/init", json=INIT)
    assert (reply.status, reply.body) == (500, {"error": "failed to generate sso dh token"})
    assert (await anna.call("POST", "/iserver/auth/ssodh/init", json=INIT)).status == 200


async def test_every_third_call_can_be_refused(anna: DirectClient, host: ApiHost) -> None:
    await anna.sign_in()
    host.rules.refuse_every = 3
    statuses = [(await anna.call("GET", "/portfolio/accounts")).status for _ in range(6)]
    assert statuses == [200, 200, 401, 200, 200, 401]


async def test_a_tickle_may_say_nothing_about_the_login(anna: DirectClient) -> None:
    await anna.sign_in()
    assert "ssoExpires" in (await anna.call("POST", "/tickle")).body
    anna.registration.world.has_short_tickle = True
    assert set((await anna.call("POST", "/tickle")).body) == {"session", "hmds", "iserver"}


async def test_validate_is_not_for_this_road(anna: DirectClient, host: ApiHost) -> None:
    await anna.sign_in()
    assert (await anna.call("GET", "/sso/validate")).status == 401
    host.rules.validate_is_for_oauth2 = False
    assert (await anna.call("GET", "/sso/validate")).status == 200
