"""Several usernames at one host, and one username on two roads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.api_host import ApiHost, make_keys, usual_keys
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import DirectClient


@pytest.fixture
async def gateway(clock: ManualClock) -> AsyncIterator[Simulator]:
    async with Simulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
async def anna(host: ApiHost, connect: Connect, gateway: Simulator) -> DirectClient:
    """Anna is signed in at a Gateway as well."""
    client = connect(host.register("anna", beside=gateway.market.world))
    await client.sign_in()
    return client


async def status(client: DirectClient) -> tuple[Any, Any]:
    body = (await client.call("GET", "/iserver/auth/status")).body
    return body["authenticated"], body["competing"]


async def request_session(client: DirectClient, clock: ManualClock, *, compete: bool) -> None:
    await client.call("POST", "/iserver/auth/ssodh/init", json={"publish": True, "compete": compete})
    clock.advance(1)


async def test_a_direct_line_takes_the_session_from_the_gateway(
    anna: DirectClient, gateway: Simulator, clock: ManualClock
) -> None:
    sessions = gateway.market.world.sessions
    assert sessions.is_authenticated(clock.now())
    await request_session(anna, clock, compete=False)
    assert await status(anna) == (False, True)
    assert sessions.is_authenticated(clock.now())
    await request_session(anna, clock, compete=True)
    assert await status(anna) == (True, False)
    assert sessions.is_competing
    sessions.open_brokerage(clock.now(), compete=True)
    assert await status(anna) == (False, True)


async def test_a_lost_session_is_free_for_the_other_road(
    anna: DirectClient, gateway: Simulator, clock: ManualClock
) -> None:
    await request_session(anna, clock, compete=False)
    gateway.lose_brokerage()
    await request_session(anna, clock, compete=False)
    assert await status(anna) == (True, False)


async def test_both_roads_show_the_same_accounts_and_orders(anna: DirectClient, gateway: Simulator) -> None:
    assert anna.registration.world.book is gateway.market.world.book
    assert anna.registration.world.accounts == gateway.market.world.accounts


async def test_a_consumer_key_is_stored_in_upper_case(host: ApiHost) -> None:
    assert host.register("anna", "lowercase").consumer_key == "LOWERCASE"


async def test_a_consumer_key_belongs_to_one_set_of_keys(host: ApiHost) -> None:
    host.register("anna")
    with pytest.raises(ValueError, match="other keys"):
        host.register("ben", keys=make_keys())


async def test_public_halves_are_enough(host: ApiHost, connect: Connect) -> None:
    keys = usual_keys()
    files = (keys.signature_public_pem, keys.encryption_public_pem, keys.dhparam_pem)
    shown = host.register_files("carl", "CARLSKEYX", *files)
    with pytest.raises(ValueError, match="made elsewhere"):
        _ = shown.signature_key_pem
    own = connect(host.register("carl", "CARLSKEYX"))
    own.registration = type(shown)(
        shown.username,
        shown.consumer_key,
        shown.access_token,
        shown.access_token_secret,
        keys,
        shown.token,
        shown.market,
    )
    assert (await own.sign_in()).body["live_session_token_signature"] == own.token_signature()


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_file_that_is_none_is_refused(host: ApiHost, position: int) -> None:
    keys = usual_keys()
    files = [keys.signature_public_pem, keys.encryption_public_pem, keys.dhparam_pem]
    files[position] = "no file"
    with pytest.raises(ValueError, match=r"."):
        host.register_files("carl", "CARLSKEYX", *files)


async def test_a_live_user_has_live_accounts_and_the_test_consumer_its_realm(host: ApiHost) -> None:
    live = host.register("anna", "TESTCONS", is_paper=False)
    assert live.realm == "test_realm"
    assert all(account.startswith("U") for account in live.world.accounts)
    assert host.register("ben").realm == "limited_poa"


async def test_a_host_can_follow_the_faults_of_a_gateway(host: ApiHost, connect: Connect, gateway: Simulator) -> None:
    """As when one person triggers a fault for all that the simulator serves."""
    host.follow(gateway.faults)
    ben = connect(host.register("ben"))
    await ben.sign_in()
    gateway.faults.add("status", status=502, times=1)
    assert (await ben.call("GET", "/portfolio/accounts")).status == 502
    gateway.faults.add("competing")
    gateway.faults.add("restart")
    await gateway.wait_for_events()
    assert ben.registration.world.sessions.is_competing
    assert (await ben.call("GET", "/portfolio/accounts")).status == 200
    gateway.faults.add("stream-silent")
    gateway.faults.clear()
