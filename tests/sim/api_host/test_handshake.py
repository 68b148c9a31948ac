"""The life of a live session token."""

from __future__ import annotations

from ibkr_bridge.sim.api_host import ApiHost
from ibkr_bridge.sim.api_host.arithmetic import Group
from tests.clocks import ManualClock
from tests.sim.api_host.direct_client import DirectClient


async def test_a_new_token_ends_the_one_before(anna: DirectClient) -> None:
    await anna.sign_in()
    former = anna.live_session_token
    await anna.sign_in()
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200
    anna.live_session_token = former
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401


async def test_a_token_ends_after_a_day(anna: DirectClient, clock: ManualClock) -> None:
    await anna.sign_in()
    clock.advance(86_399)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200
    clock.advance(1)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401


async def test_a_token_may_die_early(anna: DirectClient, host: ApiHost, clock: ManualClock) -> None:
    host.rules.session_token_life_s = 60
    assert (await anna.sign_in()).status == 200
    clock.advance(60)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401


async def test_the_expiration_may_be_the_time_of_computation(
    anna: DirectClient, host: ApiHost, clock: ManualClock
) -> None:
    host.rules.tells_time_of_computation = True
    assert (await anna.sign_in()).body["live_session_token_expiration"] == int(clock.utc().timestamp() * 1000)


async def test_other_parameters_at_ibkr_give_a_token_that_does_not_fit(anna: DirectClient, host: ApiHost) -> None:
    host.handshake.other_group = Group(p=2**2048 - 1, g=2)
    reply = await anna.sign_in()
    assert reply.status == 200
    assert reply.body["live_session_token_signature"] != anna.token_signature()
